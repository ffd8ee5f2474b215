"""What all commands share: which recipe is meant."""
import errno
import os
import pathlib

import pytest

from vit_jax import command
from vit_jax.errors import BadInput


def test_outside_of_a_checkout_recipes_are_the_packages(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  installed = str(command.RECIPES / 'digits.py')
  assert pathlib.Path(installed).is_file()
  for given, meant in [(['--config=configs/digits.py', '--x=3'], [f'--config={installed}', '--x=3']),
                       (['-config', 'configs/digits.py'], ['-config', installed]),
                       (['--workdir=configs/digits.py'], ['--workdir=configs/digits.py']),
                       # A file of that name.
                       (['runs/mine', 'config', 'cat.jpg'], ['runs/mine', 'config', 'cat.jpg'])]:
    assert command.find_recipe(given) == meant
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs' / 'digits.py').touch()
  assert command.find_recipe(['--config=configs/digits.py']) == ['--config=configs/digits.py']


@pytest.mark.parametrize('given', [['--config=configs/nope.py', '--config.seed=1'], ['--config=nope/digits.py'],
                                   ['--config='], ['--config'], ['--config=configs']])
def test_a_recipe_that_is_not_there_is_refused_before_its_overrides_are_read(given, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(BadInput, match=r'does not exist; there are configs/cifar10\.py, .*configs/digits\.py'):
    command.parse_flags(['program', *given])


@pytest.mark.parametrize('number, line', [
    (errno.ENOSPC, 'error: No space left on device: w.npz; mend that, and give the same command\n'),
    (errno.ENAMETOOLONG, 'error: File name too long: w.npz; mend that, and give the same command\n'),
    (errno.EIO, None)])
def test_what_the_system_refuses_is_one_line(number, line, monkeypatch, capsys):
  def main():
    raise OSError(number, os.strerror(number), 'w.npz')
  monkeypatch.setattr(command.app, 'run', lambda start, flags_parser: start([]))
  with pytest.raises(SystemExit if line else OSError) as error:
    command.run(main, interrupted=str)
  if line:
    assert error.value.code == 2 and capsys.readouterr().err == line
