"""Shows in a browser what a model sees.

  python -m vit_jax.demo runs/cifar_catdog-seed0
      a page at http://127.0.0.1:7860: drop a picture or use the camera; it shows the classes, or that it is none of
      them, what in the picture mattered, where each head of each layer looked, and the training pictures nearest to it

  python -m vit_jax.demo tiny_imagenet --port=8000
      weights that come with vit_jax, or a .safetensors file; these know no training pictures

Only this machine can open the page, until --host says otherwise. Page and server send and fetch nothing elsewhere; but
a run's training set is read as in training, and so is downloaded where it is gone. Pictures lie in a folder of their
own for some ten minutes, and Ctrl-C deletes it. Needs: pip install 'vit_jax[demo]'.
"""
import errno
import importlib.util
import ipaddress
import os
import pathlib
import socket
import sys
import tempfile
import time

from absl import flags

from vit_jax import command
from vit_jax import interrupt
from vit_jax.errors import BadInput

_PORT = flags.DEFINE_integer('port', 7860, 'Where the page is: http://127.0.0.1:PORT.', lower_bound=1,
                             upper_bound=65535)
_HOST = flags.DEFINE_string('host', '127.0.0.1', 'The address to listen on; 0.0.0.0 lets everybody in who can reach '
                            'this machine, without a password.')
flags.declare_key_flag('cache_dir')


def is_loopback(host):
  """Whether only this machine can reach an address."""
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host == 'localhost'


def check_free(host, port):
  """Raises BadInput where nothing can listen there, before the model is loaded and not after it."""
  try:
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as tried:
      tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # As the server will.
      tried.bind(place)
  except (socket.gaierror, UnicodeError):
    raise BadInput(f'--host={host} is the address of nothing; leave it out for this machine alone') from None
  except OSError as error:
    if error.errno == errno.EADDRINUSE:
      raise BadInput(f'--port={port} is taken; try --port={port % 65535 + 1}') from None
    raise BadInput(f'--host={host} --port={port} cannot be used ({error.strerror or error}); name an address of this '
                   'machine, and a port from 1024 on') from None


def start(weights, folder):
  """Loads the model and starts the server: -> what has to be closed."""
  # Where Gradio puts what is uploaded, and which addresses of this machine it must not ask a proxy for.
  os.environ['GRADIO_TEMP_DIR'] = folder
  for name in ('NO_PROXY', 'no_proxy'):  # Where both are there, the second one counts.
    os.environ[name] = ','.join(filter(None, [os.environ.get(name), 'localhost', '127.0.0.1', _HOST.value]))
  command.start_jax()
  from vit_jax.showing import app
  from vit_jax.showing import looking

  print('loading   the weights, and the training pictures where they are here', flush=True)
  looker = looking.Looker.load(weights, command.cache_dir())
  print(f'model     {looker.predictor.opened.about}', flush=True)
  looker.warm_up()
  loopback = is_loopback(_HOST.value)
  blocks, address = app.serve(looker, host=_HOST.value, port=_PORT.value, folder=folder, loopback=loopback)
  if not loopback:
    print(f'warning: --host={_HOST.value} lets everybody in who can reach this machine, and shows them training '
          'pictures where there are any; cameras work over https only', file=sys.stderr, flush=True)
  print(f'page      {address}\nstop      Ctrl-C', flush=True)
  return blocks


def main(arguments):
  """The command: starts the server, and waits for Ctrl-C."""
  if len(arguments) != 1:
    raise BadInput('name one model: a run folder, a .safetensors file, or weights that come with vit_jax; see --help')
  if not importlib.util.find_spec('gradio'):
    raise BadInput("the demo needs gradio, which is not installed: pip install 'vit_jax[demo]'")
  check_free(_HOST.value, _PORT.value)
  with tempfile.TemporaryDirectory(prefix='vit_jax_demo_', ignore_cleanup_errors=True) as folder:
    blocks = start(arguments[0], str(pathlib.Path(folder).resolve()))
    with interrupt.stop_on_signal() as stop:
      while stop.signal is None:
        time.sleep(.2)
    blocks.close(verbose=False)
  raise KeyboardInterrupt


if __name__ == '__main__':
  command.run(main, interrupted=lambda: 'the pictures that it was shown are deleted', arguments=True)
