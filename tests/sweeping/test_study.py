"""The trials of a sweep: each is trained once, whoever takes it, whatever is killed, in SQLite and in PostgreSQL."""
import collections
import concurrent.futures
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from vit_jax.errors import BadInput

pytest.importorskip('optuna', reason='sweeps need optuna')

import optuna
import sqlalchemy

from vit_jax.sweeping import study as study_lib

State = study_lib.State
POINTS = [{'optim.lr': lr} for lr in (.1, .2, .3, .4, .5, .6)]


def postgresql_programs():
  """The programs of PostgreSQL's server, on the path or where Debian puts them: {name: file}."""
  debian = map(str, pathlib.Path('/usr/lib/postgresql').glob('*/bin'))
  return {name: shutil.which(name, path=os.pathsep.join([os.environ['PATH'], *debian]))
          for name in ('initdb', 'postgres', 'pg_isready')}


@pytest.fixture(scope='module')
def postgresql():
  """The URL of an empty database of a server of our own, reached by a socket in a folder; it ends with the tests."""
  pytest.importorskip('psycopg', reason='PostgreSQL is reached by psycopg')
  programs = postgresql_programs()
  if not all(programs.values()):
    pytest.skip('there is no PostgreSQL on the path or under /usr/lib/postgresql')
  as_user = {}
  if os.getuid() == 0:  # PostgreSQL refuses to run as root.
    as_user = {'user': pwd.getpwnam('postgres').pw_uid, 'group': pwd.getpwnam('postgres').pw_gid, 'extra_groups': []}
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    if as_user:
      os.chown(folder, as_user['user'], as_user['group'])
    data = f'{folder}/data'
    subprocess.run([programs['initdb'], '-D', data, '-U', 'sweeper', '-A', 'trust', '-N'], check=True,
                   capture_output=True, cwd=folder, **as_user)
    server = subprocess.Popen([programs['postgres'], '-D', data, '-k', folder, '-h', '', '-F'], cwd=folder,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_user)
    try:
      while subprocess.run([programs['pg_isready'], '-q', '-h', folder], check=False).returncode:
        assert server.poll() is None
      time.sleep(.1)
      yield f'postgresql://sweeper@/postgres?host={folder}'
    finally:
      server.send_signal(signal.SIGINT)  # Without waiting for connections to end.
      server.wait()


@pytest.fixture(params=['sqlite', 'postgresql'])
def url(request, tmp_path):
  """A storage without trials."""
  if request.param == 'sqlite':
    yield f'sqlite:///{tmp_path / "sweep.db"}'
    return
  found = request.getfixturevalue('postgresql')
  yield found
  storage = optuna.storages.RDBStorage(found.replace('postgresql:', 'postgresql+psycopg:'),
                                       {'poolclass': sqlalchemy.NullPool})
  optuna.delete_study(study_name='s', storage=storage)


# What one of several processes does that sweep at the same time; its storage is the first argument.
TAKE_ALL = '''
import sys, time
from configs import digits
from vit_jax.sweeping import study
time.sleep(max(float(sys.argv[2]) - time.time(), 0))
opened = study.open_study(sys.argv[1], 's', {'--search': 'grid'}, digits.get_config(), 'none')
study.plan(opened, [{'x': i} for i in range(8)])
while trial := study.take(opened, sys.argv[3]):
  x = trial.suggest_categorical('x', list(range(8)))
  print(trial.user_attrs['place'], x, flush=True)
  time.sleep(.05)
  study.finish(opened, trial, study.State.COMPLETE, [], float(x))
'''


def test_processes_at_once_take_each_trial_once(url, open_study):
  start = str(time.time() + 3)
  processes = [subprocess.Popen([sys.executable, '-c', TAKE_ALL, url, start, str(i)], stdout=subprocess.PIPE, text=True)
               for i in range(3)]
  said = [process.communicate()[0].split('\n') for process in processes]
  assert [process.returncode for process in processes] == [0, 0, 0]
  taken = [line for lines in said for line in lines if line]
  assert sorted(taken) == [f'{i} {i}' for i in range(8)]
  trials = study_lib.trials(open_study(url))
  assert list(trials) == list(range(8))
  assert [trial.value for trial in trials.values()] == list(range(8))


def test_two_that_look_at_the_same_moment_take_two_trials(url, open_study, monkeypatch):
  study_lib.plan(open_study(url), POINTS[:2])
  check = optuna.storages.RDBStorage.check_trial_is_updatable

  def check_slowly(*args):  # Between reading that a trial waits and writing that it runs.
    check(*args)
    time.sleep(.2)

  monkeypatch.setattr(optuna.storages.RDBStorage, 'check_trial_is_updatable', check_slowly)
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    taken = list(pool.map(lambda study: study_lib.take(study, 'me').number, [open_study(url), open_study(url)]))
  assert sorted(taken) == [0, 1]


def take(study, owner='me'):
  """The place and rate of the next trial, and the trial."""
  trial = study_lib.take(study, owner)
  return trial and (trial.user_attrs['place'], trial.suggest_categorical('optim.lr', [.1, .2, .3, .4, .5, .6]), trial)


def test_a_killed_process_goes_on_where_it_was(url, open_study, finish):
  study = open_study(url)
  study_lib.plan(study, POINTS)
  finish(study, take(study)[2], [.5])
  finish(study, take(study)[2], error='no')
  place, rate, _ = take(study)
  other = take(study, 'somebody else')
  # The process is killed here, and started again.
  study = open_study(url)
  assert study_lib.give_up_lost(study, 'me') == 1
  study_lib.plan(study, POINTS)
  taken = []
  while found := take(study):
    taken.append(found[:2])
    finish(study, found[2], [.7])
  assert sorted(taken) == [(place, rate), (4, .5), (5, .6)]  # Neither what is finished, nor what somebody else has.
  finish(study, other[2], [.6])
  trials = study_lib.trials(study)
  assert [trial.state for trial in trials.values()] == [State.COMPLETE, State.FAIL, *[State.COMPLETE] * 4]
  assert trials[1].user_attrs['error'] == 'no'


def test_what_optuna_chose_stays_after_a_kill(open_study):
  study = open_study()
  study_lib.plan(study, [{}])
  study.sampler = study_lib.sampler(study, 0, 1)
  chosen = study_lib.take(study, 'me').suggest_float('optim.lr', 0., 1.)
  for _ in range(2):
    study = open_study()
    study_lib.give_up_lost(study, 'me')
    study_lib.plan(study, [{}])
    study.sampler = study_lib.sampler(study, 0, 1)
    assert study_lib.take(study, 'me').suggest_float('optim.lr', 0., 1.) == chosen


def test_a_start_later_draws_other_values(open_study, finish):
  drawn = []
  for count in (1, 2, 3):
    study = open_study()
    study_lib.plan(study, [{}] * count)
    study.sampler = study_lib.sampler(study, 0, 1)
    trial = study_lib.take(study, 'me')
    drawn.append(trial.suggest_float('optim.lr', 0., 1.))
    finish(study, trial, [.5])
  assert len(set(drawn)) == 3


def test_a_trial_without_signs_of_life_is_taken_by_another(open_study, finish, monkeypatch):
  study, other = open_study(), open_study()
  study_lib.plan(study, POINTS[:1])
  lost = study_lib.take(study, 'gone')
  assert study_lib.give_up_lost(other) == 0
  now = study_lib.time.time()
  monkeypatch.setattr(study_lib.time, 'time', lambda: now + study_lib.PATIENCE + 1)
  assert study_lib.give_up_lost(other) == 1
  study_lib.plan(other, POINTS[:1])
  again = study_lib.take(other, 'here')
  with pytest.raises(study_lib.Taken):
    study_lib.show_life(lost)
  finish(study, lost, [.1])  # It was not gone after all, and is told too late.
  finish(other, again, [.9])
  assert collections.Counter(t.value for t in study_lib.trials(study).values()) == {.9: 1}


def test_more_trials_may_be_planned_and_not_fewer(open_study):
  study = open_study()
  study_lib.plan(study, [{}] * 2)
  study_lib.plan(study, [{}] * 3)
  assert list(study_lib.trials(study)) == [0, 1, 2]
  with pytest.raises(BadInput, match=r'--trials=2 is less than the 3 that are planned'):
    study_lib.plan(study, [{}] * 2)


def test_another_sweep_is_refused(open_study, config):
  open_study(flags={'--search': 'grid', '--sweep.seed': '0:3'})
  with pytest.raises(BadInput, match=r"belongs to another sweep \(--sweep.seed: 0:3 there, 0:4 now\)"):
    open_study(flags={'--search': 'grid', '--sweep.seed': '0:4'})
  other = config.copy_and_resolve_references()
  other.optim.lr = .5
  with pytest.raises(BadInput, match=r'optim.lr: 0.003 there, 0.5 now'):
    open_study(flags={'--search': 'grid', '--sweep.seed': '0:3'}, config=other.lock())


def test_a_study_of_somebody_else_is_refused(open_study, tmp_path):
  storage = optuna.storages.RDBStorage(f'sqlite:///{tmp_path / "sweep.db"}', {'poolclass': sqlalchemy.NullPool})
  optuna.create_study(storage=storage, study_name='s').add_trial(optuna.create_trial(value=1.))
  with pytest.raises(BadInput, match=r"holds a study named 's' that is no sweep of vit_jax"):
    open_study()


@pytest.mark.parametrize(('url', 'message'), [
    ('sweep.db', '--storage must be a URL, as sqlite:///sweep.db'),
    ('postgresql://a@b:port/c', '--storage must be a URL, as sqlite:///sweep.db'),
    ('sqlite:////no/such/folder/x.db', '--storage=sqlite:////no/such/folder/x.db cannot be used'),
    ('nosuch://a:secret@b/c', '--storage=nosuch://a:***@b/c cannot be used'),
    ('sqlite:///NOT_A_DATABASE', 'file is not a database')])
def test_a_storage_that_cannot_be_used_is_one_line_without_password(url, message, open_study, tmp_path):
  (tmp_path / 'file').write_text('hello ' * 1000)
  with pytest.raises(BadInput) as error:
    open_study(url.replace('NOT_A_DATABASE', str(tmp_path / 'file')))
  assert message in str(error.value)
  assert 'secret' not in str(error.value) and '\n' not in str(error.value)
