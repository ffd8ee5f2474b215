"""Where runs are trained: cores that are shared out, processes, and jobs by submitit's local executor."""
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import filelock
import pytest

from vit_jax.errors import BadInput
from vit_jax.sweeping import launch

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(('workers', 'cores', 'expected'), [
    (1, [0, 1, 2], [[0, 1, 2]]), (2, [0, 1, 2, 3], [[0, 1], [2, 3]]), (3, [4, 5, 6], [[4], [5], [6]])])
def test_cores_are_shared_out(workers, cores, expected):
  assert launch.share_cores(workers, cores) == expected


@pytest.mark.parametrize('workers', range(1, 9))
def test_no_core_is_taken_twice_and_none_is_idle(workers):
  parts = launch.share_cores(workers, list(range(8)))
  assert sorted(core for part in parts for core in part) == list(range(8))
  assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_more_workers_than_cores_are_refused():
  with pytest.raises(BadInput, match='--workers=3 is more than the 2 cores'):
    launch.share_cores(3, [0, 1])


def wait(run, seconds=60):
  """The exit status of a run, once it has ended."""
  end = time.monotonic() + seconds
  while (status := run.poll()) is None:
    assert time.monotonic() < end
    time.sleep(.05)
  return status


@pytest.fixture
def play(monkeypatch):
  """A function that puts a Python program in the place of the trainings that are launched."""
  def play(code):
    monkeypatch.setattr(launch, 'command', lambda cores, arguments: [sys.executable, '-c', code,
                                                                     ','.join(map(str, cores)), *arguments])
  return play


def test_a_local_run_says_its_words_into_the_log(play, tmp_path):
  play('import sys; print(sys.argv[1:]); sys.exit("error: no")')
  launcher = launch.Local(1)
  run = launcher.start(['--a'], tmp_path / 'log', 0)
  assert wait(run) == 1
  cores = ','.join(map(str, launch.share_cores(1)[0]))
  assert sorted((tmp_path / 'log').read_text().split('\n')) == ['', f"['{cores}', '--a']", 'error: no']


def test_a_local_run_is_asked_to_stop(play, tmp_path):
  play('import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print("up", flush=True); time.sleep(60)')
  run = launch.Local(1).start([], tmp_path / 'log', 0)
  while 'up' not in (tmp_path / 'log').read_text():
    time.sleep(.02)
  assert run.poll() is None
  run.stop()
  assert wait(run) == 7


# A parent that starts a child as a sweep does, with a stub in the place of vit_jax.main, and is killed.
PARENT = '''
import os, subprocess, sys, time
code = """
import runpy, sys, time
def train(*_, **__):
  import os
  print(sorted(os.sched_getaffinity(0)), sys.argv[1:], flush=True)
  time.sleep(60)
  print('over', flush=True)
runpy.run_module = train
from vit_jax.sweeping import child
child.main(*sys.argv[1:])
"""
subprocess.Popen([sys.executable, '-c', code, str(os.getpid()), sys.argv[1], '--x', '--workdir=' + sys.argv[2]])
time.sleep(60)
'''


@pytest.mark.skipif(not hasattr(os, 'sched_getaffinity'), reason='cores can be chosen on Linux only')
def test_a_child_keeps_to_its_cores_and_ends_with_its_parent(tmp_path):
  core = min(os.sched_getaffinity(0))
  parent = subprocess.Popen([sys.executable, '-c', PARENT, str(core), str(tmp_path)], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE)
  assert parent.stdout.readline() == f"[{core}] ['--x', '--workdir={tmp_path}']\n"
  parent.kill()
  parent.wait()
  with parent.stdout as rest:
    assert rest.read() == ''  # Which ends when the child, which has it too, has ended, before it can say 'over'.


def test_a_child_waits_until_nobody_trains_in_its_folder(tmp_path):
  from vit_jax.sweeping import child
  lock = filelock.FileLock(tmp_path / 'lock')
  child.wait_for(tmp_path / 'none')
  assert not (tmp_path / 'none').exists()
  lock.acquire()
  waiting = threading.Thread(target=child.wait_for, args=(tmp_path / 'lock',))
  waiting.start()
  waiting.join(.3)
  assert waiting.is_alive()
  lock.release()
  waiting.join(10)
  assert not waiting.is_alive()


@pytest.fixture
def jobs(tmp_path):
  """The launcher for Slurm, with processes of this machine for jobs; jobs import launch, without its monkeypatches."""
  pytest.importorskip('submitit', reason='--launcher=slurm needs submitit')
  # Submitit ends a local job by SIGINT, which whatever a shell starts in the background ignores, and so would the job.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield launch.Slurm(tmp_path / 'jobs', 1, {'timeout_min': 1}, cluster='local')
  signal.signal(signal.SIGINT, before)


def test_a_job_trains_and_says_how_it_ended(jobs, tmp_path):
  # vit_jax.main refuses this in no time, and would train as well.
  run = jobs.start(['--config=configs/no_such.py', f'--workdir={tmp_path / "run"}'], tmp_path / 'log', 0)
  assert wait(run) == 2
  assert (tmp_path / 'log').read_text().startswith('error: --config=configs/no_such.py does not exist')
  assert run.error is None


def test_a_job_that_is_cancelled_has_an_error(jobs, tmp_path):
  (tmp_path / 'run').mkdir()
  with filelock.FileLock(tmp_path / 'run' / 'lock'):  # Its child waits for that.
    run = jobs.start([f'--workdir={tmp_path / "run"}'], tmp_path / 'log', 0)
    while not (tmp_path / 'log').exists():
      time.sleep(.05)
    run.stop()
    assert wait(run) == 1 and run.error == 'cancelled'


def test_a_job_whose_machine_is_taken_away_is_submitted_again(jobs, tmp_path, play):
  submitit = pytest.importorskip('submitit')
  play('import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print("up", flush=True); time.sleep(20)')
  training = launch.Training(['--a'], str(tmp_path / 'log'))
  thread = threading.Thread(target=training)
  thread.start()
  while not (tmp_path / 'log').exists() or 'up' not in (tmp_path / 'log').read_text():
    time.sleep(.02)
  again = training.checkpoint()
  thread.join(10)
  assert training.process.poll() == 7
  assert isinstance(again, submitit.helpers.DelayedSubmission)
  assert (again.function.arguments, again.function.log) == (['--a'], str(tmp_path / 'log'))


def test_what_a_job_cannot_ask_for_is_one_line(tmp_path):
  pytest.importorskip('submitit', reason='--launcher=slurm needs submitit')
  with pytest.raises(BadInput, match=r'--launcher=slurm cannot be used: .*timeout_mins'):
    launch.Slurm(tmp_path / 'jobs', 1, {'timeout_mins': 1}, cluster='local')


def test_without_submitit_a_line_names_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'submitit', None)
  with pytest.raises(BadInput, match=r"needs submitit, which is not installed: pip install 'vit_jax\[sweep\]'"):
    launch.Slurm(tmp_path, 1, {})
