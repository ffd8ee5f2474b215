"""The demo's server and its page as a person has them, where gradio and a Chromium are installed.

CI, which has no `.[demo_tests]`, leaves them out.
"""
import asyncio
import functools
import io
import json
import pathlib
import signal

import numpy as np
from PIL import Image
import pytest

from vit_jax import predictor
from vit_jax.models import variants

ROOT = pathlib.Path(__file__).parents[2]
NAMES = ('cat', '<b>dog</b>', 'eel')
SIZE = 8


@pytest.fixture(scope='module')
def weights(save_random_weights, tmp_path_factory):
  model = variants.build('small-digits', num_classes=3, image_size=SIZE, hidden_size=16, mlp_dim=32, patch_size=2)
  return save_random_weights(tmp_path_factory.mktemp('weights') / 'toy.safetensors', model, SIZE, NAMES)


def picture(kind='PNG', seed=1, side=SIZE, **options):
  """The bytes of a picture of any colours."""
  file = io.BytesIO()
  pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
  Image.fromarray(pixels).save(file, kind, **options)
  return file.getvalue()


class Client:
  """One visitor: what Gradio's page does, in three requests."""

  def __init__(self, http):
    self.http = http

  async def upload(self, data, name='x.png'):
    answer = await self.http.post('gradio_api/upload', files={'files': (name, data)})
    return answer.json()[0] if answer.status_code == 200 else answer

  async def see(self, path):
    """-> [verdict, bars, maps, nearest] as HTML, or why not: (HTTP status, text)."""
    file = {'path': path, 'meta': {'_type': 'gradio.FileData'}} if path else None
    asked = await self.http.post('gradio_api/call/see', json={'data': [file, 'covering', 1, 1]})
    if asked.status_code != 200:
      return asked.status_code, asked.text
    answer = await self.http.get(f'gradio_api/call/see/{asked.json()["event_id"]}')
    kind, data = (line.partition(': ')[2] for line in answer.text.strip().splitlines()[-2:])
    return json.loads(data)[1:] if kind == 'complete' else (500, data)

  async def ask(self, data, name='x.png'):
    return await self.see(await self.upload(data, name))


async def visit(httpx, address, what):
  """What a visitor gets: `what(Client)` -> its result."""
  # Each request on a connection of its own: the server closes idle ones when it likes.
  options = {'base_url': address, 'timeout': 120, 'trust_env': False, 'headers': {'Connection': 'close'}}
  async with httpx.AsyncClient(**options) as http:
    return await what(Client(http))


def visit_alone(httpx, address, what):
  return asyncio.run(visit(httpx, address, what))


def test_a_picture_is_answered_whatever_its_format(server, httpx, weights):
  address = server[0]
  for kind, name in (('PNG', 'x.png'), ('TIFF', 'x.tif'), ('PPM', 'no ending')):
    asked = functools.partial(Client.ask, data=picture(kind), name=name)
    verdict, bars, maps, nearest = visit_alone(httpx, address, asked)
    pixels = np.asarray(Image.open(io.BytesIO(picture())))
    best = predictor.Predictor.load(weights).answer(pixels[None]).probabilities[0]
    assert page_name(best.argmax()) in verdict and f'{best.max():.1%} sure' in verdict
    assert bars.count('<li>') == 3 and maps.count('<img') == 2 and 'knows no training pictures' in nearest


def page_name(label):
  return NAMES[label].replace('<', '&lt;').replace('>', '&gt;')


def test_what_is_no_picture_is_a_line_on_the_page(server, httpx):
  for data in (b'', b'no picture', picture()[:60]):
    verdict, *rest = visit_alone(httpx, server[0], functools.partial(Client.ask, data=data))
    assert 'I cannot read this' in verdict and 'Traceback' not in verdict and rest == ['', '', '']
  huge = io.BytesIO()
  Image.new('1', (10_000, 10_000)).save(huge, 'PNG')  # Some kilobytes, which would take 400 MB.
  asked = functools.partial(Client.ask, data=huge.getvalue())
  assert '10000×10000 are more than 89,478,485 pixels.' in visit_alone(httpx, server[0], asked)[0]
  assert 'Drop a picture' in visit_alone(httpx, server[0], lambda client: client.see(None))[0]


def test_no_file_of_the_machine_is_read(server, httpx, weights):
  address, _, temporary = server
  folder, = temporary.glob('vit_jax_demo_*')
  uploaded = visit_alone(httpx, address, lambda client: client.upload(picture()))
  assert pathlib.Path(uploaded).is_relative_to(folder)
  stored = sorted(folder.rglob('*'))
  get = lambda path: httpx.get(f'{address}gradio_api/file={path}', trust_env=False)
  assert get(uploaded).content == picture()
  for path in ('/etc/passwd', weights, ROOT / 'setup.py', 'setup.py', f'{folder}/../errors', 'http://example.com/x.png'):
    assert get(path).status_code == 403, path
  for path in ('/etc/passwd', str(weights), 'http://example.com/x.png', f'{address}config'):
    status, text, *_ = visit_alone(httpx, address, functools.partial(Client.see, path=path))
    assert status == 500 and 'root:' not in text, path
  assert sorted(folder.rglob('*')) == stored
  # Nobody tried: where a download fails, Gradio prints how.
  assert 'protected_download' not in (temporary / 'errors').read_text()


def test_other_requests_are_refused(server, httpx):
  address = server[0]
  for path in ('gradio_api/proxy=http://example.com', 'monitoring', 'docs', 'gradio_api/run/see'):
    assert httpx.get(address + path, trust_env=False).status_code == 404
  strange = httpx.get(address, headers={'Host': 'elsewhere.example'}, trust_env=False)
  assert strange.status_code == 400
  whole = httpx.post(f'{address}gradio_api/upload', files={'files': ('x.png', b'0' * (21 * 2**20))}, trust_env=False)
  assert whole.status_code == 413 and '20 MB' in whole.text


def memory(process):
  """MiB that a process has taken at most."""
  status = pathlib.Path(f'/proc/{process.pid}/status').read_text()
  return int(status.split('VmHWM:')[1].split()[0]) / 1024


def test_two_hundred_at_once_are_answered_or_told_to_wait(server, httpx):
  address, process, _ = server
  before = memory(process)

  async def all_at_once():
    return await asyncio.gather(*(
        visit(httpx, address, functools.partial(Client.ask, data=picture(seed=i))) for i in range(200)))
  answers = asyncio.run(all_at_once())
  answered = [answer for answer in answers if isinstance(answer, list)]
  refused = [answer for answer in answers if isinstance(answer, tuple)]
  assert len(answered) + len(refused) == 200 and len(answered) >= 64
  assert all('sure' in verdict for verdict, *_ in answered)
  assert all(status == 503 and 'Queue is full' in text for status, text in refused)
  assert memory(process) - before < 200


@pytest.fixture
def page(browser, server):
  """The demo as a person sees it; all that it asked of others, and all that went wrong in it, must be nothing."""
  address, strange = server[0], []
  shown = browser.new_page()
  note = lambda what: strange.append(what)
  shown.on('request', lambda asked: None if asked.url.startswith((address, 'data:', 'blob:')) else note(asked.url))
  shown.on('response', lambda answer: note(answer.url) if answer.status >= 400 else None)
  shown.on('pageerror', lambda error: note(str(error)))
  shown.on('console', lambda message: note(message.text) if message.type == 'error' else None)
  shown.goto(address)
  shown.get_by_text('Drop a picture, or take one').wait_for()
  yield shown
  shown.close()
  assert not strange


def give(page, tmp_path, data, name='x.png'):
  (tmp_path / name).write_bytes(data)
  page.set_input_files('input[type=file]', tmp_path / name)


def test_the_page_answers_and_its_sliders_move_the_map(page, tmp_path):
  give(page, tmp_path, picture(side=64))
  page.locator('.verdict strong').wait_for()
  assert page.locator('.verdict strong').inner_text() in NAMES
  assert page.locator('.bars li').count() == 3
  assert all(image.get_attribute('alt') for image in page.locator('#maps img').all())
  assert not page.locator('#Layer').is_visible()
  page.get_by_label('Where one head looked').check()
  page.get_by_text('Layer 2, head 1').wait_for()
  first = page.locator('#maps img').nth(1).get_attribute('src')
  page.locator('#Head input[type=range]').fill('3')
  page.get_by_text('Layer 2, head 3').wait_for()
  assert page.locator('#maps img').nth(1).get_attribute('src') != first
  page.locator('#Layer input[type=range]').fill('1')
  page.get_by_text('Layer 1, head 3').wait_for()


def test_the_page_says_what_is_wrong_with_a_file(page, tmp_path):
  give(page, tmp_path, picture()[:60])
  page.locator('.verdict.wrong').wait_for()
  assert page.get_by_role('alert').inner_text().startswith('I cannot read this')
  give_again = picture()
  page.get_by_label('Clear').or_(page.get_by_label('Remove')).first.click()
  page.get_by_text('Drop a picture, or take one').wait_for()
  give(page, tmp_path, give_again, 'y.png')
  page.locator('.verdict:not(.wrong) strong').wait_for()


def test_the_page_fits_a_telephone(page, tmp_path):
  page.set_viewport_size({'width': 360, 'height': 700})
  give(page, tmp_path, picture())
  page.locator('.verdict strong').wait_for()
  assert page.evaluate('document.documentElement.scrollWidth') <= 360


def test_ctrl_c_ends_it_with_one_line_and_no_pictures_left(server):
  _, process, temporary = server
  assert list(temporary.glob('vit_jax_demo_*'))
  process.send_signal(signal.SIGINT)
  assert process.wait(timeout=60) == 130
  assert not list(temporary.glob('vit_jax_demo_*'))
  last = (temporary / 'errors').read_text().splitlines()[-1]
  assert last == 'stopped; the pictures that it was shown are deleted'
