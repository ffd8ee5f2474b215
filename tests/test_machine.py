"""What the process says of itself, against what others say of it."""
import pathlib
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest

from vit_jax import machine


@pytest.mark.parametrize(('spec', 'argv', 'line'), [
    (types.SimpleNamespace(name='vit_jax.main'), ['/somewhere/main.py', '--workdir=my runs', '--evaluate'],
     "python -m vit_jax.main '--workdir=my runs' --evaluate"),
    (None, ['measure.py', '--x=1'], 'python measure.py --x=1'),
])
def test_command_line_can_be_typed_again(monkeypatch, spec, argv, line):
  monkeypatch.setattr(sys.modules['__main__'], '__spec__', spec)
  monkeypatch.setattr(sys, 'argv', argv)
  assert machine.command_line() == line


def test_processor_name_is_on_one_line():
  name = machine.processor_name()
  assert name and '\n' not in name


@pytest.mark.skipif(not pathlib.Path('/proc/self/status').exists(), reason='no /proc here')
def test_memory_follows_what_is_allocated():
  before = machine.resident_memory()
  block = np.ones(100_000_000, np.uint8)
  assert 90e6 < machine.resident_memory() - before < 150e6
  assert machine.peak_memory() >= machine.resident_memory() - 1e6  # Read one after the other.
  assert block[-1]


def test_the_commit_is_of_a_clone_and_of_no_repository_around_it(tmp_path, monkeypatch):
  git = lambda *words: subprocess.run(
      ['git', '-c', 'user.name=a', '-c', 'user.email=a@b', *words], cwd=tmp_path, check=True, capture_output=True,
      text=True).stdout.strip()
  if shutil.which('git') is None:
    pytest.skip('there is no git here')
  git('init')
  git('commit', '--allow-empty', '--message=one')
  (tmp_path / 'env').mkdir()
  assert machine.commit(tmp_path) == git('rev-parse', 'HEAD')
  assert machine.commit(tmp_path / 'env') is None  # An environment that lies in somebody's repository.
  monkeypatch.setenv('PATH', '')
  assert machine.commit(tmp_path) is None


@pytest.mark.parametrize('limit, found', [('1048576\n', 2**20), ('max\n', None), (None, None)])
def test_a_container_has_the_memory_that_it_was_granted(limit, found, tmp_path, monkeypatch):
  file = tmp_path / 'memory.max'
  monkeypatch.setattr(machine, 'CONTAINER_MEMORY', file)
  whole = machine.memory()
  if limit:
    file.write_text(limit)
  assert machine.memory() == (found or whole) and whole > 2**28
