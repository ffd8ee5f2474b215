"""The demo's flags and mistakes."""
import pathlib
import socket
import subprocess
import sys

from absl import flags
import pytest

from vit_jax import demo
from vit_jax.errors import BadInput

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def parsed(monkeypatch, free_port):
  """The flags, as if none was given."""
  monkeypatch.setattr(demo, '_PORT', type('Flag', (), {'value': free_port()}))
  monkeypatch.setattr(demo, '_HOST', type('Flag', (), {'value': '127.0.0.1'}))


def test_a_taken_port_is_one_line(free_port):
  with socket.socket() as taken:
    taken.bind(('127.0.0.1', 0))
    taken.listen()
    port = taken.getsockname()[1]
    with pytest.raises(BadInput, match=f'--port={port} is taken; try --port={port + 1}'):
      demo.check_free('127.0.0.1', port)
  demo.check_free('127.0.0.1', free_port())
  with pytest.raises(BadInput, match=r'--host=192\.0\.2\.1 --port=7860 cannot be used'):
    demo.check_free('192.0.2.1', 7860)  # An address that no machine has (RFC 5737).
  for host in ('a..b', 'nonsense.invalid'):
    with pytest.raises(BadInput, match=f'--host={host} is the address of nothing'):
      demo.check_free(host, 7860)


@pytest.mark.parametrize(('host', 'expected'), [('127.0.0.1', True), ('127.1.2.3', True), ('::1', True),
                                                ('localhost', True), ('0.0.0.0', False), ('::', False),
                                                ('192.168.1.2', False), ('example.org', False)])
def test_who_can_reach_an_address(host, expected):
  assert demo.is_loopback(host) == expected


def test_without_gradio_the_way_to_it_is_named(monkeypatch, parsed):
  monkeypatch.setattr(demo.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(BadInput, match=r"needs gradio, which is not installed: pip install 'vit_jax\[demo\]'"):
    demo.main(['tiny_imagenet'])


@pytest.mark.parametrize('arguments', [[], ['a', 'b']])
def test_one_model_is_named(arguments, parsed):
  with pytest.raises(BadInput, match='name one model'):
    demo.main(arguments)


def test_the_default_is_this_machine_alone():
  assert flags.FLAGS['host'].default == '127.0.0.1' and flags.FLAGS['port'].default == 7860


def test_help_names_what_there_is():
  done = subprocess.run([sys.executable, '-m', 'vit_jax.demo', '--help'], cwd=ROOT, capture_output=True, text=True,
                        check=False)
  assert '--port' in done.stdout and '--host' in done.stdout and "pip install 'vit_jax[demo]'" in done.stdout
