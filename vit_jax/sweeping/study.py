"""The trials of a sweep in Optuna's storage: planned, taken by one process each, told how they went.

All trials wait in the storage from the start, numbered by their *place* in the plan, so that several machines can take
them, and each is trained once. A trial whose process is gone fails without an error, and waits again under another
number of Optuna's, but at the same place and in the same run folder, where it goes on.
"""
import contextlib
import socket
import time
import zlib

import optuna
import sqlalchemy

from vit_jax import config as config_lib
from vit_jax.errors import BadInput
from vit_jax.errors import one_line

State = optuna.trial.TrialState
PRUNERS = {'median': optuna.pruners.MedianPruner, 'hyperband': optuna.pruners.HyperbandPruner,
           'none': optuna.pruners.NopPruner}
# Raised where something is said of a trial that was given up for lost.
Taken = optuna.exceptions.UpdateFinishedTrialError
# Seconds between two signs of life of a trial, and those without one after which another process takes it.
SIGN_EVERY, PATIENCE = 30, 600


@contextlib.contextmanager
def usable(url):
  """Turns what a storage says against being used into a BadInput, without the password that the URL may hold."""
  try:
    shown = sqlalchemy.make_url(url).render_as_string(hide_password=True)
  except (sqlalchemy.exc.ArgumentError, ValueError):  # The latter of a port that is no number.
    raise BadInput("--storage must be a URL, as sqlite:///sweep.db or postgresql://user@host/database is") from None
  try:
    yield
  except ImportError as error:
    raise BadInput(f"--storage={shown} needs a package that is not installed ({error.__cause__ or error}): pip install "
                   "'vit_jax[sweep]' brings psycopg for PostgreSQL; for MySQL, pip install pymysql and write "
                   'mysql+pymysql://…') from None
  except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError) as error:
    cause = getattr(error, 'orig', None) or error
    raise BadInput(f'--storage={shown} cannot be used: {one_line(cause)}') from None


def _open_storage(url, tries=4):
  """Optuna's storage of a URL, its tables made where they are not there."""
  # A connection for each question: none idles while a run trains for hours, until the server ends it.
  options = {'poolclass': sqlalchemy.NullPool}
  for _ in range(tries - 1):
    try:
      return optuna.storages.RDBStorage(url, engine_kwargs=options)
    except sqlalchemy.exc.DBAPIError:  # Another machine makes the tables at this moment, or nobody can.
      time.sleep(1)
  return optuna.storages.RDBStorage(url, engine_kwargs=options)


def _one_after_another(storage):
  """Lets each transaction in SQLite have the file for itself from its start; -> the same storage.

  Optuna reads that a trial waits and then writes that it runs. Other databases lock the row in between; SQLite has no
  such lock, and two processes would take one trial. https://docs.sqlalchemy.org/en/21/dialects/sqlite.html
  """
  if storage.engine.dialect.name != 'sqlite':
    return storage

  @sqlalchemy.event.listens_for(storage.engine, 'connect')
  def on_connect(connection, _):
    connection.isolation_level = None  # sqlite3 starts no transactions of its own
    connection.execute('PRAGMA busy_timeout = 60000')  # ms to wait for the others

  @sqlalchemy.event.listens_for(storage.engine, 'begin')
  def on_begin(connection):
    connection.exec_driver_sql('BEGIN IMMEDIATE')
  return storage


def open_study(url, name, flags, config, pruned_by):
  """The Optuna study of this name in a storage, made where it is new: -> optuna.Study.

  `flags`, {name: text}, and the config are what makes it this sweep and no other; `pruned_by` is 'median', 'hyperband'
  or 'none'. Raises BadInput where the storage cannot be used, or has another sweep of this name.
  """
  optuna.logging.set_verbosity(optuna.logging.ERROR)
  if url.startswith('postgresql://'):  # SQLAlchemy's choice of a driver has changed between its versions.
    url = url.replace('postgresql://', 'postgresql+psycopg://', 1)
  with usable(url):
    try:
      study = optuna.create_study(storage=_one_after_another(_open_storage(url)), study_name=name,
                                  direction='maximize', load_if_exists=True, pruner=PRUNERS[pruned_by]())
    except RuntimeError as error:  # Made by another version of Optuna.
      raise BadInput(f'--storage cannot be used: {one_line(error)}') from None
    if 'flags' not in study.user_attrs and not study.get_trials(deepcopy=False):
      study.set_user_attr('config', config_lib.to_json(config))
      study.set_user_attr('flags', flags)
    there = study.user_attrs
  if 'flags' not in there:
    raise BadInput(f'the storage holds a study named {name!r} that is no sweep of vit_jax; name another --workdir')
  lines = [f'{flag}: {there["flags"].get(flag, "absent")} there, {flags.get(flag, "absent")} now'
           for flag in sorted(there['flags'].keys() | flags) if there['flags'].get(flag) != flags.get(flag)]
  lines += config_lib.differences(config_lib.with_new_keys(config_lib.from_json(there['config'])),
                                  config_lib.from_json(config_lib.to_json(config)))
  if lines:
    raise BadInput(f'--workdir={name} belongs to another sweep ({"; ".join(lines)}); name another folder, or give the '
                   'old values')
  return study


def sampler(study, seed, workers):
  """What chooses values where they are Optuna's to choose: TPE, which goes on otherwise after each start.

  A machine draws the same numbers each time, and two machines draw different ones.
  """
  started = len(study.get_trials(deepcopy=False)) - len(study.get_trials(deepcopy=False, states=(State.WAITING,)))
  seed = zlib.crc32(f'{seed} {started} {socket.gethostname()}'.encode())
  return optuna.samplers.TPESampler(seed=seed, constant_liar=workers > 1)


def _counts(trial):
  """Whether a trial is one of the plan: not one that was given up for another at its place."""
  return 'place' in trial.user_attrs and (trial.state != State.FAIL or 'error' in trial.user_attrs)


def trials(study):
  """The trials of the plan, {place: optuna.trial.FrozenTrial}.

  Where two processes planned at the same moment and put two trials at a place, the first one counts.
  """
  found = {}
  for trial in study.get_trials(deepcopy=False):
    if _counts(trial):
      found.setdefault(trial.user_attrs['place'], trial)
  return dict(sorted(found.items()))


def plan(study, points):
  """Lets a trial wait at each place that has none; `points` are what Optuna keeps of their values, one for each place.

  Where the values are Optuna's to choose, a place keeps those that it had. Raises BadInput where more were planned.
  """
  there = trials(study)
  if len(there) > len(points):
    raise BadInput(f'--trials={len(points)} is less than the {len(there)} that are planned in this sweep; give at '
                   'least that, or name another --workdir')
  before = {trial.user_attrs['place']: trial.params for trial in study.get_trials(deepcopy=False)
            if 'place' in trial.user_attrs and trial.params}
  for place, point in enumerate(points):
    if place not in there:
      study.enqueue_trial(before.get(place, point), user_attrs={'place': place})


def take(study, owner):
  """A trial that waits, from now on this owner's: -> optuna.Trial, or None where none waits any more."""
  while study.get_trials(deepcopy=False, states=(State.WAITING,)):
    trial = study.ask()
    place = trial.user_attrs.get('place')
    # Not planned: another process took the last one that waited. Not the first: see `trials`.
    if place is not None and trials(study)[place].number == trial.number:
      trial.set_user_attr('owner', owner)
      show_life(trial)
      return trial
    study.tell(trial, state=State.FAIL)
  return None


def show_life(trial):
  """Says that somebody is at work on a trial; raises Taken where it was given to somebody else meanwhile."""
  trial.set_user_attr('seen', time.time())


def give_up_lost(study, owner=None):
  """Gives up trials whose process is gone: those of `owner`, which is starting anew, or all without signs of life.

  -> how many; `plan` lets them wait again.
  """
  lost = [trial for trial in study.get_trials(deepcopy=False, states=(State.RUNNING,)) if _is_lost(trial, owner)]
  for trial in lost:
    study.tell(trial.number, state=State.FAIL, skip_if_finished=True)
  return len(lost)


def _is_lost(trial, owner):
  if owner and trial.user_attrs.get('owner') == owner:
    return True
  started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
  return time.time() - trial.user_attrs.get('seen', started) > PATIENCE


def finish(study, trial, state, runs, value=None, error=None):
  """Tells how a trial went: complete with a value, pruned, or failed with an error, which is not tried again.

  `runs` is what its runs gave, a list of JSON-able data. A trial that was given to somebody else meanwhile is theirs.
  """
  try:
    trial.set_user_attr('runs', runs)
    if error is not None:
      trial.set_user_attr('error', error)
    study.tell(trial, value, state=state, skip_if_finished=True)
  except Taken:
    pass
