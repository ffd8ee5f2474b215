"""A disk that is full or may not be written, and a folder that is deleted under a training: one line, nothing lost."""
import json
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FLAGS = ('--config=configs/digits.py', '--config.epochs=3.0', '--config.eval_epochs=0.5', '--config.log_every=5',
         '--config.optim.warmup_epochs=1.0', '--config.model.patch_size=2')


def start(workdir):
  return subprocess.Popen([sys.executable, '-m', 'vit_jax.main', *FLAGS, f'--workdir={workdir}'], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def mistake(process, alone=True):
  """The line that a training ends with, and status 2; `alone` says that nothing else may be said."""
  _, err = process.communicate(timeout=300)
  assert process.returncode == 2, err
  if not alone:
    assert err.splitlines()[-1].startswith('error: '), err
    return err.splitlines()[-1]
  assert 'Traceback' not in err
  lines = [line for line in err.splitlines() if not line.startswith('step ')]
  assert len(lines) == 1 and lines[0].startswith('error: '), err
  return lines[0]


def weights(workdir):
  return json.loads((workdir / 'result.json').read_text())['weights_sha256']


@pytest.fixture
def disk(tmp_path):
  """A disk of its own, of two megabytes: room for one checkpoint and a half."""
  place = tmp_path / 'disk'
  place.mkdir()
  made = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', place], capture_output=True, check=False) \
      if shutil.which('mount') else None
  if not made or made.returncode:
    pytest.skip('only root may mount a disk')
  yield place
  subprocess.run(['umount', '--lazy', place], check=True)


def remount(disk, options):
  subprocess.run(['mount', '-o', f'remount,{options}', disk], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_in_a_line_and_with_more_room_it_goes_on(disk, tmp_path):
  # On Python 3.11 asyncio may complain of a loop that was closed when Orbax gave the save up.
  line = mistake(start(disk / 'run'), alone=False)
  assert 'No space left on device' in line and 'what was saved before is good' in line
  remount(disk, 'size=100m')
  for workdir in (disk / 'run', tmp_path / 'whole'):
    process = start(workdir)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert ('goes on after step' in out) == (workdir.parent == disk)
  assert weights(disk / 'run') == weights(tmp_path / 'whole')


@pytest.mark.slow
def test_a_disk_that_may_not_be_written(disk):
  remount(disk, 'ro')
  assert 'cannot be written' in mistake(start(disk / 'run'))


@pytest.mark.slow
def test_a_folder_that_is_deleted_under_a_training(tmp_path):
  process = start(tmp_path / 'run')
  while process.poll() is None and not list((tmp_path / 'run').glob('checkpoints/[0-9]*')):
    time.sleep(.01)
  shutil.rmtree(tmp_path / 'run', ignore_errors=True)
  line = mistake(process)
  assert 'cannot be written (No such file or directory)' in line or 'could not be saved' in line
