"""What the demo's server lets in, before Gradio sees it: the page's own requests, of bounded size, and no others.

Gradio can do much that a demo needs not: fetch addresses for a client, relay requests, record, edit its own code. What
is not asked of it cannot go wrong.
"""
import contextlib
import pathlib
import re
import time

# The bytes of a picture, as of most cameras; of all that is stored at a time; and of any other request.
MAX_PICTURE, MAX_STORED, MAX_OTHER = 20 * 2**20, 2**30, 2**18
# Seconds after which an uploaded picture is deleted.
KEPT = 600
# What a form has around a file.
FORM = 2**14

FILE = '/gradio_api/file='
ROUTES = re.compile(r'/(config/?|theme\.css|robots\.txt|favicon\.ico|(static|assets)/.+'
                    r'|gradio_api/(info/?|app_id/?|startup-events|upload|upload_progress|queue/(join|data)'
                    r'|call/\w+(/\w+)?|heartbeat/\w+|cancel|reset/?))?')
# A browser then loads nothing from elsewhere, whatever the page says.
POLICY = ("default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
          "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; worker-src 'self' blob:; "
          "frame-ancestors 'self'; base-uri 'self'; form-action 'self'")
HEADERS = {b'content-security-policy': POLICY.encode(), b'referrer-policy': b'no-referrer',
           b'x-content-type-options': b'nosniff'}


class Guard:
  """ASGI middleware; `folder` is where uploaded pictures are, the only one that files are read from."""

  def __init__(self, app, folder):
    self.app, self.folder = app, pathlib.Path(folder).resolve()

  async def __call__(self, scope, receive, send):
    if scope['type'] != 'http':
      if scope['type'] == 'lifespan':
        await self.app(scope, receive, send)
      return
    wrong = self.refuse(scope['method'], scope['path'], dict(scope['headers']))
    if wrong:
      await answer(send, *wrong)
    else:
      await self.app(scope, receive, with_headers(send))

  def refuse(self, method, path, headers):
    """Why a request is not let in: -> (HTTP status, sentence), or None where it is."""
    if path.startswith(FILE):
      if not self.holds(path.removeprefix(FILE)):
        return 403, 'There is no such file here.'
    elif not ROUTES.fullmatch(path):
      return 404, 'There is nothing here.'
    if method in ('GET', 'HEAD', 'OPTIONS'):
      return None
    origin, hosts = headers.get(b'origin'), (headers.get(b'host'), headers.get(b'x-forwarded-host'))
    if origin is not None and origin.partition(b'://')[2] not in hosts:  # A page of elsewhere, in the same browser.
      return 403, 'Only this page may ask; a proxy before it has to hand on X-Forwarded-Host.'
    length = headers.get(b'content-length', b'')
    if b'transfer-encoding' in headers or not length.isdigit():  # The former would count, and says nothing of a length.
      return 411, 'A request must say how long it is.'
    upload = path == '/gradio_api/upload'
    if int(length) > (MAX_PICTURE + FORM if upload else MAX_OTHER):
      return 413, f'A picture can have {MAX_PICTURE // 2**20} MB at most.' if upload else 'This request is too long.'
    if upload and stored(self.folder) > MAX_STORED:
      return 503, 'There are too many pictures here at the moment; try again in some minutes.'
    return None

  def holds(self, name):
    """Whether a path leads into the folder, links followed."""
    try:
      return pathlib.Path(name).resolve().is_relative_to(self.folder)
    except (OSError, ValueError, RuntimeError):  # Too long, with a zero in it, or links in a circle.
      return False


def stored(folder):
  """The bytes in a folder, once what nobody has touched for KEPT seconds is deleted.

  Gradio deletes the pictures that it was given, and leaves uploads that were broken off, and empty folders.
  """
  total = 0
  for path in sorted(folder.rglob('*'), reverse=True):  # What is in a folder before the folder.
    with contextlib.suppress(OSError):  # It was deleted meanwhile, or is a folder that is not empty.
      about = path.stat()
      old = time.time() - about.st_mtime > KEPT
      if path.is_dir():
        if old:
          path.rmdir()
      elif old:
        path.unlink()
      else:
        total += about.st_size
  return total


def with_headers(send):
  """An ASGI `send` that adds HEADERS to a response."""
  async def sending(message):
    if message['type'] == 'http.response.start':
      message['headers'] = [*message.get('headers', ()), *HEADERS.items()]
    await send(message)
  return sending


async def answer(send, status, text):
  """Sends a whole response."""
  headers = [(b'content-type', b'text/plain; charset=utf-8'), *HEADERS.items()]
  await send({'type': 'http.response.start', 'status': status, 'headers': headers})
  await send({'type': 'http.response.body', 'body': text.encode()})
