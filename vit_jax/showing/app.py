"""The demo's page in Gradio, and its server: it fetches and sends nothing, and keeps pictures for minutes only."""
import os
import pathlib

import gradio
from gradio import processing_utils
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from vit_jax import paths
from vit_jax.data import picture
from vit_jax.errors import BadInput
from vit_jax.showing import guard
from vit_jax.showing import looking
from vit_jax.showing import page

# Questions that wait for their turn, and browsers whose last picture is remembered.
WAITING, SESSIONS = 64, 256
# Seconds between two looks for pictures that are to be deleted.
LOOK = 60
FONTS = ['ui-sans-serif', 'system-ui', 'sans-serif']  # Those of the reader's machine: none is fetched.
KINDS = {looking.COVERING: 'What mattered, by covering parts', looking.RELEVANCE: 'Relevance, by attention',
         looking.HEAD: 'Where one head looked'}
EMPTY = page.hint('Drop a picture, or take one with the camera.')


async def refuse_download(url, *_, **__):
  """Takes the place of what would fetch an address that a client names as its picture."""
  raise gradio.Error('Only uploaded pictures are answered.', print_exception=False)


class Events:
  """What happens when something on the page changes; each returns what its parts then show."""

  def __init__(self, looker):
    self.looker = looker

  def see(self, path, kind, layer, head):
    """An uploaded file -> (Seen, verdict, bars, maps, nearest)."""
    if path is None:
      return None, EMPTY, '', '', ''
    try:
      data = pathlib.Path(path).read_bytes()
      seen = self.looker.see(data)
    except picture.Unreadable as error:
      return None, page.mistake(f'{str(error).rstrip(".")}.'), '', '', ''
    except OSError:
      return None, page.mistake('It was deleted meanwhile; give it again.'), '', '', ''
    return (seen, page.verdict(self.looker, seen), page.bars(self.looker, seen), self.maps(seen, kind, layer, head),
            page.nearest(self.looker, seen))

  def maps(self, seen, kind, layer, head):
    """The maps of the picture that was seen last; layer and head from 1."""
    return page.maps(self.looker, seen, kind, int(layer) - 1, int(head) - 1) if seen else ''

  def choose(self, seen, kind, layer, head):
    """Another kind of map -> (maps, whether there is a slider for layers, … for heads)."""
    shown = [gradio.update(visible=kind == looking.HEAD and most > 1) for most in self.looker.layers_and_heads]
    return self.maps(seen, kind, layer, head), *shown


def build(looker):
  """The page: -> gradio.Blocks."""
  layers, heads = looker.layers_and_heads
  kinds = [(text, kind) for kind, text in KINDS.items() if looker.explainer or kind == looking.COVERING]
  one_by_one = {'concurrency_id': 'model', 'concurrency_limit': 1}
  events = Events(looker)
  with gradio.Blocks(analytics_enabled=False, title=f'What does {paths.name_of(looker.predictor.path)} see?',
                     delete_cache=(LOOK, guard.KEPT)) as blocks:
    gradio.HTML(page.head(looker.predictor))
    with gradio.Row():
      with gradio.Column(min_width=280):
        upload = gradio.Image(label='Your picture', sources=['upload', 'webcam', 'clipboard'], type='filepath',
                              height=340, image_mode=None, buttons=[], elem_id='upload',
                              alt_text='The picture that you gave')
      with gradio.Column(min_width=280):
        verdict = gradio.HTML(EMPTY, elem_id='verdict')
        bars = gradio.HTML(elem_id='bars')
    gradio.HTML('<h2>Where in the picture?</h2>')
    with gradio.Row():
      with gradio.Column(min_width=280):
        kind = gradio.Radio(kinds, value=looking.COVERING, label='Map', elem_id='kind')
        layer, head = (gradio.Slider(1, max(most, 2), value=first, step=1, label=label, visible=False, elem_id=label)
                       for label, most, first in (('Layer', layers, max(layers, 1)), ('Head', heads, 1)))
        if not looker.explainer:
          gradio.HTML(page.hint('This model has no attention, so that there are no heads to look at.'))
      with gradio.Column(min_width=280, scale=2):
        maps = gradio.HTML(elem_id='maps')
    gradio.HTML('<h2>The nearest training pictures</h2>')
    nearest = gradio.HTML(elem_id='nearest')
    seen = gradio.State()
    # picture.py reads all formats, turns photos upright and says what is wrong; Gradio would read them first, its way.
    upload.preprocess = lambda payload: payload.path if payload else None
    chosen = [kind, layer, head]
    upload.change(events.see, [upload, *chosen], [seen, verdict, bars, maps, nearest], api_name='see', **one_by_one)
    kind.change(events.choose, [seen, *chosen], [maps, layer, head], api_name='choose', **one_by_one)
    gradio.on([layer.change, head.change], events.maps, [seen, *chosen], maps, api_name='maps',
              trigger_mode='always_last', show_progress='hidden', **one_by_one)
  return blocks


def serve(looker, *, host, port, folder, loopback):
  """Starts the server in threads of its own: -> (gradio.Blocks to close, its address); BadInput where it cannot."""
  if pathlib.Path(os.environ.get('GRADIO_TEMP_DIR', '')) != pathlib.Path(folder):
    raise RuntimeError('GRADIO_TEMP_DIR must be set before Gradio is imported')
  processing_utils.async_ssrf_protected_download = refuse_download
  middleware = [Middleware(guard.Guard, folder=folder)]
  if loopback:  # So that no page of elsewhere can ask through a name of its own that leads here (DNS rebinding).
    names = [host, 'localhost', '127.0.0.1', '::1', '[::1]']
    middleware.insert(0, Middleware(TrustedHostMiddleware, allowed_hosts=names))
  blocks = build(looker)
  blocks.queue(max_size=WAITING, api_open=False, default_concurrency_limit=1)
  theme = gradio.themes.Soft(font=FONTS, font_mono=['ui-monospace', 'monospace'])
  try:
    _, address, _ = blocks.launch(
        server_name=f'[{host}]' if ':' in host else host, server_port=port, prevent_thread_lock=True, quiet=True,
        share=False, inbrowser=False, show_error=False, max_file_size=guard.MAX_PICTURE,
        state_session_capacity=SESSIONS, footer_links=[], run_history=False, enable_monitoring=False,
        ssr_mode=False, pwa=False, mcp_server=False, num_workers=0, theme=theme, css=page.CSS,
        app_kwargs={'middleware': middleware, 'openapi_url': None})
  except OSError as error:
    raise BadInput(f'nothing can listen on {host}, port {port} ({error}); name another with --port') from None
  return blocks, address
