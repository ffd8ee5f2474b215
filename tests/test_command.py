"""What all commands share: which recipe is meant."""
import errno
import os
import pathlib
import subprocess
import sys

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


def test_a_device_is_no_file_to_write(tmp_path):
  os.mkfifo(tmp_path / 'page.html')
  with pytest.raises(BadInput, match='it is a device or a pipe; name a file'):
    command.writable('html', str(tmp_path / 'page.html'))
  with pytest.raises(BadInput, match=r'--html=/dev/null cannot be written'):
    command.writable('html', '/dev/null')
  assert command.writable('html', str(tmp_path / 'new.html')) == tmp_path / 'new.html'


def test_a_file_in_a_folder_that_is_closed_cannot_be_replaced(tmp_path, monkeypatch):
  (tmp_path / 'page.html').touch()
  monkeypatch.setattr(command.os, 'access', lambda path, mode: pathlib.Path(path) != tmp_path)
  with pytest.raises(BadInput, match='cannot be written; name another place'):
    command.writable('html', str(tmp_path / 'page.html'))


# A command that says a word, which stays in Python's buffer.
WORD = 'from vit_jax import command; command.run(lambda: print("word"), interrupted=str)'


def outcome(code, redirection):
  """What a shell sees of Python: -> (status, stderr)."""
  environment = {name: value for name, value in os.environ.items() if name != 'PYTHONUNBUFFERED'}
  done = subprocess.run(['bash', '-c', f'"$0" -c "$1" {redirection}', sys.executable, code], text=True, check=False,
                        capture_output=True, env=environment)
  return done.returncode, done.stderr


@pytest.mark.parametrize('redirection, status, said', [
    ('> >(exec 0<&-; sleep 1)', 141, ''), ('>/dev/full', 2, 'error: No space left on device; mend that, and give the '
                                           'same command\n'), ('>&-', 0, ''), ('0<&- 2>&-', 0, '')])
def test_where_the_output_goes_nowhere_it_is_said_in_a_line(redirection, status, said):
  code = f'import time; time.sleep(.3); {WORD}' if status == 141 else WORD
  assert outcome(code, redirection) == (status, said)
