"""Paths that people type, against what the shell makes of them."""
import os
import pathlib
import sys

import pytest

from vit_jax import command
from vit_jax import paths
from vit_jax import predict
from vit_jax import run
from vit_jax.data import scan
from vit_jax.errors import BadInput
from vit_jax.weights import load


def test_home_is_put_in(monkeypatch):
  monkeypatch.setenv('HOME', '/home/somebody')
  assert paths.typed('~/pictures/my cats') == pathlib.Path('/home/somebody/pictures/my cats')
  assert paths.typed('a~b') == pathlib.Path('a~b')


@pytest.mark.parametrize('text, message', [
    ('~nobody-of-this-name/cats', '~nobody-of-this-name/cats begins with the home folder of nobody'),
    ('cats/' + 'ä' * 128, "'cats/ää.* must be of names that a file can have: without a zero byte, and of 255 bytes"),
    ('c\0ts', 'must be of names that a file can have')])
def test_what_can_be_no_path(text, message):
  with pytest.raises(BadInput, match=message):
    paths.typed(text)
  assert paths.typed('cats/' + 'ä' * 127)


@pytest.mark.parametrize('takes', [
    load.read, scan.scan, lambda path: run.open_run(path, None), lambda path: predict.find([path]),
    lambda path: command.writable('results', path), run.RunFolder])
@pytest.mark.parametrize('path', ['~nobody-of-this-name/x', 'a' * 300])
def test_whatever_takes_a_path_says_so(takes, path):
  with pytest.raises(BadInput):
    takes(path)


@pytest.mark.skipif(sys.platform != 'linux', reason='names are UTF-8 or refused here')
def test_names_need_not_be_utf8():
  assert paths.typed(os.fsdecode(b'K\xe4tzchen.jpg')).name == 'K\udce4tzchen.jpg'
  assert paths.is_possible(os.fsdecode(b'\xe4' * 255)) and not paths.is_possible(os.fsdecode(b'\xe4' * 256))
  assert not paths.is_possible('\ud800')  # What no name of a file is decoded to.


def test_a_folder_has_a_name_however_it_is_typed(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert [paths.name_of(path) for path in ('.', 'runs/pets/', 'cifar10')] == [tmp_path.name, 'pets', 'cifar10']
