"""Requests that are let in and those that are not, by a client that speaks ASGI."""
import asyncio
import os
import time

import pytest

from vit_jax.showing import guard


async def inner(scope, receive, send):
  """An application that answers everything."""
  await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'x-inner', b'yes')]})
  await send({'type': 'http.response.body', 'body': b'inner'})


def ask(folder, path, method='GET', headers=None, kind='http'):
  """-> (status, headers, body), or (None, {}, b'') where nothing was sent."""
  sent = []

  async def send(message):
    sent.append(message)
  scope = {'type': kind, 'method': method, 'path': path, 'headers': list((headers or {}).items())}
  asyncio.run(guard.Guard(inner, folder)(scope, None, send))
  if not sent:
    return None, {}, b''
  return sent[0]['status'], dict(sent[0]['headers']), b''.join(message.get('body', b'') for message in sent)


@pytest.fixture
def folder(tmp_path):
  inside = tmp_path / 'inside'
  inside.mkdir()
  (inside / 'picture.png').write_bytes(b'1234567')
  (tmp_path / 'secret').write_text('s')
  (inside / 'link').symlink_to(tmp_path / 'secret')
  return inside


@pytest.mark.parametrize('path', ['/', '/config', '/theme.css', '/assets/index.js', '/static/img/logo.svg',
                                  '/gradio_api/info', '/gradio_api/queue/join', '/gradio_api/queue/data',
                                  '/gradio_api/call/see', '/gradio_api/call/see/0a1b', '/gradio_api/heartbeat/x1'])
def test_what_the_page_needs_is_let_in(folder, path):
  status, headers, body = ask(folder, path)
  assert status == 200 and body == b'inner' and headers[b'x-inner'] == b'yes'
  assert headers.keys() >= guard.HEADERS.keys()


@pytest.mark.parametrize('path', ['/monitoring', '/docs', '/openapi.json', '/gradio_api/proxy=http://example.com/',
                                  '/gradio_api/run/see', '/gradio_api/vibe-edit', '/gradio_api/dev/reload', '/config/x',
                                  '/gradio_api/stream/a/b/1/playlist.m3u8', '/gradio_api/process_recording', ''])
def test_all_else_is_not_there(folder, path):
  status, headers, body = ask(folder, path)
  assert (status, body) == (404, b'There is nothing here.')
  assert headers.keys() >= guard.HEADERS.keys()


@pytest.mark.parametrize(('path', 'status'), [
    ('{folder}/picture.png', 200), ('{folder}/../secret', 403), ('{folder}/link', 403), ('/etc/passwd', 403),
    ('../../../../../../etc/passwd', 403), ('http://example.com/cat.png', 403), ('file:///etc/passwd', 403), ('', 403),
    ('{folder}side/picture.png', 403), ('{folder}/\0', 403),
])
def test_files_of_the_folder_alone_are_read(folder, path, status):
  assert ask(folder, guard.FILE + path.format(folder=folder))[0] == status


@pytest.mark.parametrize(('path', 'length', 'status'), [
    ('/gradio_api/upload', b'20971520', 200), ('/gradio_api/upload', b'21000000', 413),
    ('/gradio_api/upload', None, 411), ('/gradio_api/upload', b'-1', 411),
    ('/gradio_api/queue/join', b'1000', 200), ('/gradio_api/queue/join', b'1000000', 413),
])
def test_what_is_sent_has_a_bounded_length(folder, path, length, status):
  assert ask(folder, path, 'POST', {b'content-length': length} if length else {})[0] == status


def test_a_length_that_does_not_count_is_none(folder):
  headers = {b'content-length': b'1', b'transfer-encoding': b'chunked'}
  assert ask(folder, '/gradio_api/queue/join', 'POST', headers)[0] == 411


@pytest.mark.parametrize(('headers', 'status'), [
    ({b'origin': b'http://evil.example'}, 403), ({b'origin': b'null'}, 403), ({}, 200),
    ({b'origin': b'http://127.0.0.1:7860'}, 200),
    ({b'origin': b'https://demo.example'}, 403),
    ({b'origin': b'https://demo.example', b'x-forwarded-host': b'demo.example'}, 200)])
def test_pages_of_elsewhere_may_not_ask(folder, headers, status):
  headers = {b'content-length': b'10', b'host': b'127.0.0.1:7860', **headers}
  assert ask(folder, '/gradio_api/upload', 'POST', headers)[0] == status


def test_what_was_left_behind_is_deleted(folder):
  (folder / 'old').mkdir()
  (folder / 'old' / 'half.png').write_bytes(b'12')
  (folder / 'new').mkdir()
  long_ago = time.time() - guard.KEPT - 1
  for path in (folder / 'old' / 'half.png', folder / 'old'):
    os.utime(path, (long_ago, long_ago))
  assert guard.stored(folder) == 7 + 1
  assert not (folder / 'old' / 'half.png').exists() and (folder / 'new').exists()
  os.utime(folder / 'old', (long_ago, long_ago))
  guard.stored(folder)
  assert not (folder / 'old').exists()


def test_no_more_is_stored_than_there_is_room_for(folder, monkeypatch):
  assert guard.stored(folder) == 7 + 1  # The link counts as what it leads to.
  headers = {b'content-length': b'10'}
  monkeypatch.setattr(guard, 'MAX_STORED', 8)
  assert ask(folder, '/gradio_api/upload', 'POST', headers)[0] == 200
  monkeypatch.setattr(guard, 'MAX_STORED', 7)
  status, _, body = ask(folder, '/gradio_api/upload', 'POST', headers)
  assert status == 503 and b'try again' in body
  assert ask(folder, '/gradio_api/queue/join', 'POST', headers)[0] == 200


def test_websockets_are_left_alone(folder):
  assert ask(folder, '/', kind='websocket') == (None, {}, b'')
  assert ask(folder, '/', kind='lifespan')[0] == 200
