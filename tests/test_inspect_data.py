"""The command: what it says and shows of a folder with planted flaws, and one line for each mistake."""
import html.parser
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from configs import finetune_small
from vit_jax import command as command_lib
from vit_jax import inspect_data
from vit_jax import inspect_page
from vit_jax.data import inspect
from vit_jax.data import load
from vit_jax.data import source
from vit_jax.errors import BadInput

ROOT = pathlib.Path(__file__).parent.parent
ODD = 'cats & <b>dögs "猫"'


def command(*flags):
  return subprocess.run([sys.executable, '-m', 'vit_jax.inspect_data', *flags], cwd=ROOT, text=True,
                        capture_output=True, check=False)


def photo(seed):
  """u8[40,56,3] of coloured boxes."""
  rng = np.random.default_rng(seed)
  image = np.tile(rng.integers(0, 256, (1, 1, 3), np.uint8), (40, 56, 1))
  for _ in range(12):
    top, left, height, width = rng.integers(3, 36, 4)
    image[top:top + height, left:left + width] = rng.integers(0, 256, 3)
  return image


@pytest.fixture(scope='module')
def flawed(tmp_path_factory):
  """A folder with a corrupt file, a leak, a picture under two labels, a repeated file and a stray text."""
  folder = tmp_path_factory.mktemp('flawed')
  def save(name, image):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
  for number, class_name in enumerate((ODD, 'eel')):
    for part, count in (('train', 22), ('test', 11)):
      for i in range(count):
        save(f'{part}/{class_name}/{i:02d}.png', photo(1000 * number + 100 * (part == 'test') + i))
  save('test/eel/leak.jpg', photo(1003))
  save('train/eel/cat.png', photo(7))
  save('train/eel/again.png', photo(1011))
  (folder / 'train/eel/broken.jpg').write_bytes(b'\xff\xd8\xff')
  (folder / 'train/eel/notes.txt').write_text('not a picture')
  return folder


@pytest.fixture(scope='module')
def inspected(flawed):
  """What the command does with it: (process, text of the page)."""
  page = flawed.parent / 'page.html'
  done = command(f'--path={flawed}', f'--html={page}', '--strict', f'--cache_dir={flawed.parent / "cache"}')
  return done, page.read_text(encoding='utf-8')


class Page(html.parser.HTMLParser):
  """All tags with their attributes, and all text."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.text = [], ''
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))

  def handle_data(self, data):
    self.text += data

  def all(self, tag):
    return [attributes for name, attributes in self.tags if name == tag]


def test_a_screen_says_what_is_wrong(inspected):
  done, _ = inspected
  assert done.stderr == ''
  lines = [' '.join(line.split()) for line in re.sub(r'\n {10}', ' ', done.stdout).splitlines()]
  assert lines[0].startswith('data flawed') and 'pictures of 64×64' in lines[0]
  said = '\n'.join(lines)
  for text in ('wrong 1 file cannot be read: train/eel/broken.jpg',
               'wrong 1 of 23 test pictures (4.35%) is in train too, 0 of them with equal pixels',
               f'wrong 1 picture under two labels, {ODD} and eel (1)',
               'train pictures repeat another one',
               'look 1 file left out: train/eel/notes.txt',
               'pictures smaller than 64 pixels'):
    assert text in said, said
  assert len(lines) < 25


def test_strict_ends_with_status_1(inspected):
  assert inspected[0].returncode == 1


def test_the_page_needs_nothing_else(inspected):
  page = Page(inspected[1])
  assert len(page.all('img')) > 50
  for image in page.all('img'):
    assert image['src'].startswith('data:image/') and image['alt']
  links = [value for _, attributes in page.tags for name, value in attributes.items() if name in ('href', 'srcset')]
  assert links == [] and not page.all('script') and not page.all('link') and 'url(' not in inspected[1]


def test_the_page_shows_the_names_as_they_are(inspected):
  page = Page(inspected[1])
  assert ODD in page.text
  assert not page.all('b') or all('dögs' not in str(attributes) for attributes in page.all('b'))
  assert '<b>dögs' not in inspected[1]
  assert {'train/eel/03.png', 'test/eel/leak.jpg'} <= {image.get('title') for image in page.all('img')}
  assert 'train/eel/broken.jpg' in page.text


def test_the_page_is_for_phones_and_for_the_night(inspected):
  page = Page(inspected[1])
  assert {'name': 'viewport', 'content': 'width=device-width, initial-scale=1'} in page.all('meta')
  assert 'prefers-color-scheme: dark' in inspected[1]
  assert all(drawing['role'] == 'img' and drawing['aria-label'] for drawing in page.all('svg')) and page.all('svg')


def a_set(images, labels, names):
  part = source.Source.whole(images, np.asarray(labels, np.int32))
  return source.DataSet('many', tuple(names), part, part.take(part.rows[:0]), part.take(part.rows[:0]))


def test_the_page_is_bounded():
  count = 500
  images = np.random.default_rng(0).integers(0, 256, (2 * count, 64, 64, 3), np.uint8)
  found = inspect.inspect(a_set(images, np.arange(2 * count) % count, [f'class {i}' for i in range(count)]))
  text = inspect_page.render(found)
  assert len(Page(text).all('img')) <= inspect_page.SHEET_PICTURES
  assert f'{count - inspect_page.MAX_CLASSES} more classes are not shown' in text


def test_many_classes_have_smaller_sheets(monkeypatch):
  images = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), np.uint8)
  found = inspect.inspect(a_set(images, np.arange(300) % 10, '0123456789'))
  assert len(Page(inspect_page.render(found)).all('img')) == 10 * inspect_page.PER_CLASS
  monkeypatch.setattr(inspect_page, 'SHEET_PICTURES', 80)
  assert len(Page(inspect_page.render(found)).all('img')) == 80


def test_many_groups_are_not_all_shown():
  images = np.repeat([np.resize(photo(i), (40, 40, 3)) for i in range(70)], [9] + [2] * 69, axis=0)
  text = inspect_page.render(inspect.inspect(a_set(images, np.arange(len(images)) % 2, 'ab')))
  assert text.count('class="group"') == 2 * inspect_page.MAX_GROUPS  # As repeats, and as having two labels.
  assert '10 more of this kind are not shown' in text and '3 more</small>' in text


def test_bins():
  assert inspect_page.bins(np.array([5, 31, 32, 100, 9000]), (0, 32, 64, 128, np.inf), 'abcd') == [
      ('a', 2), ('b', 1), ('c', 1), ('d', 1)]
  assert inspect_page.bins(np.array([70, 70]), (0, 32, 64, 128, np.inf), 'abcd') == [('c', 2)]


def test_a_folder_too_small_to_be_split_is_looked_at(tmp_path):
  for name in ('cat/1.png', 'dog/1.png', 'dog/2.png'):
    (tmp_path / 'few' / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo(len(list((tmp_path / 'few').rglob('*'))))).save(tmp_path / 'few' / name)
  data, folder, notes = inspect_data.open_data(None, str(tmp_path / 'few'), tmp_path / 'cache')
  found = inspect.inspect(data, folder, notes)
  assert found.parts == ('train',) and found.counts.tolist() == [[1, 2]]
  assert found.wrong and "'cat'" in found.findings[0].text


def test_a_recipe_is_looked_at_as_in_training(tmp_path):
  done = command('--config=configs/digits.py', '--config.data.val_fraction=0.2',
                 f'--html={tmp_path / "digits.html"}', f'--cache_dir={tmp_path}')
  assert done.returncode == 0
  assert done.stdout.startswith('data      digits: 1,') and 'classes   10, train pictures of each: 0 ' in done.stdout
  assert (tmp_path / 'digits.html').exists()


def test_clean_pictures_end_well(tmp_path):
  for name, first in (('cat', 0), ('dog', 100)):
    for part, count in (('train', 22), ('test', 11)):
      for i in range(count):
        path = tmp_path / 'clean' / part / name / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.kron(photo(first + 50 * (part == 'test') + i), np.ones((2, 2, 1), np.uint8))).save(path)
  done = command(f'--path={tmp_path / "clean"}', '--strict', f'--html={tmp_path / "page.html"}',
                 f'--cache_dir={tmp_path}')
  assert done.returncode == 0 and 'good      nothing to complain about' in done.stdout, done.stdout


def test_help_is_readable_and_quick():
  done = command('--help')
  for text in ('python -m vit_jax.inspect_data --path=', '--html:', '--[no]strict:', '--cache_dir:', '--config:'):
    assert text in done.stdout
  assert done.stderr == ''
  big = ('jax', 'tensorflow', 'tensorflow_datasets', 'numpy', 'scipy', 'PIL', 'imagehash', 'jinja2')
  code = f'import sys, vit_jax.inspect_data; print(*[name for name in {big} if name in sys.modules])'
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
  assert done.stdout.split() == []


@pytest.mark.parametrize(('flags', 'message'), [
    ([], 'nothing to inspect; name a folder with --path=… or a recipe with --config=…'),
    (['--path=no_such_folder'], 'no_such_folder does not exist'),
    (['--config=configs/nope.py'], '--config=configs/nope.py does not exist'),
    (['--config=configs/digits.py', '--path=tests'], '--path=tests and --config are two different things'),
    (['--path=tests', '--pth=x'], "Unknown command line flag 'pth'"),
    (['--path=tests', 'x'], "unexpected argument 'x'"),
])
def test_a_mistake_is_one_line(flags, message):
  done = command(*flags)
  assert done.returncode == 2 and message in done.stderr
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1


@pytest.mark.parametrize(('html', 'message'), [
    ('.', 'is a folder; name a file in it'),
    ('no/such/folder/page.html', 'there is no folder'),
])
def test_a_page_that_cannot_be_written_is_refused_before_the_work(html, message, tmp_path):
  with pytest.raises(BadInput, match=message):
    command_lib.writable('html', str(tmp_path / html))


@pytest.mark.skipif(sys.platform != 'linux', reason='names are UTF-8 or refused here')
def test_names_that_are_not_utf8_are_shown(tmp_path):
  for name in (b'cat\xe9/1.png', b'cat\xe9/2.png', b'dog/1.png', b'dog/2.png'):
    path = tmp_path / 'odd' / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo(len(list((tmp_path / 'odd').rglob('*'))))).save(path)
  done = command(f'--path={tmp_path / "odd"}', f'--html={tmp_path / "page.html"}', f'--cache_dir={tmp_path}')
  assert done.returncode == 0 and 'cat\\udce9' in done.stdout, done.stderr
  assert 'cat\\udce9' in (tmp_path / 'page.html').read_text(encoding='utf-8')


def test_the_size_may_be_that_of_weights_and_what_training_leaves_out_is_left_out(small_weights, tmp_path, monkeypatch):
  recipe = finetune_small.get_config()
  recipe.init, recipe.data.name, recipe.data.classes = str(small_weights), 'digits', ()
  asked = {}
  monkeypatch.setattr(load, 'load', lambda name, **options: asked.update(options) or name)
  assert inspect_data.open_data(recipe, None, tmp_path) == ('digits', None, None)
  assert asked['image_size'] == 8 and asked['clear_of'] == ('cifar10', 'tiny_imagenet')
  recipe.init = ''
  with pytest.raises(BadInput, match='starts from weights; name a file'):
    inspect_data.open_data(recipe, None, tmp_path)
