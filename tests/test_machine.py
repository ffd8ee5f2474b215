"""What the process says of itself, against what others say of it."""
import pathlib
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
