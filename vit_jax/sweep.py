"""Trains many runs of one recipe with other values of its keys, and says which did best on validation.

  python -m vit_jax.sweep --config=configs/digits.py --sweep.optim.lr=1e-4,3e-4,1e-3 --sweep.seed=0:3
      a grid: every combination, here nine runs; seed=0:3 counts 0, 1, 2

  python -m vit_jax.sweep --config=configs/digits.py --search=tpe --trials=40 --sweep.optim.lr=log:1e-5..1e-2
      lets Optuna choose values in a range, the next ones by what came of the last; log: makes each factor of ten as
      likely as another. Trials that do worse than others on validation are stopped early (--pruner). With
      --sweep.seed=0:3 besides, each trial is trained with three seeds, and its value is their mean

  python -m vit_jax.sweep … --workers=4
      trains four runs at once on this machine, each on a quarter of its cores. On a GPU or TPU leave it at 1

  python -m vit_jax.sweep … --storage=postgresql://user@host/database
      shares the trials between several machines: the same line on each, with a run folder of the same name

  python -m vit_jax.sweep … --launcher=slurm --workers=8 --job=timeout_min=120 --job=gpus_per_node=1
      submits each run as a job, at most eight at a time, and waits for them

The same line goes on where a sweep was stopped or killed; what is finished is not trained again, and a trial that
failed stays failed, with its error. The test part chooses nothing. At the end the sweep's folder has results.csv and
sweep.html, one page that opens without a network. Any --config.KEY=VALUE holds for all runs.
It needs optuna: pip install 'vit_jax[sweep]'.
"""
import contextlib
import importlib.util
import os
import re
import shlex
import socket

from absl import flags
import filelock
from ml_collections import config_flags

from configs import common
from vit_jax import atomic
from vit_jax import command
from vit_jax import config as config_lib
from vit_jax import interrupt
from vit_jax import machine
from vit_jax import paths
from vit_jax import progress
from vit_jax.errors import BadInput
from vit_jax.errors import reason
from vit_jax.sweeping import launch
from vit_jax.sweeping import space as space_lib

# One flag for each key is defined elsewhere, so that --help shows this one only.
flags.DEFINE_string('sweep.KEY', None, 'What is tried, for each config key: --sweep.KEY=1,2,3 names values and '
                    '--sweep.KEY=0:3 counts whole numbers; with --search=tpe also --sweep.KEY=LOW..HIGH or '
                    'log:LOW..HIGH.')
space_lib.define_flags(config_lib.flatten(common.get_config()))
_WORKDIR = flags.DEFINE_string('workdir', None, 'The folder of the sweep; by default runs/RECIPE-sweep.')
_SEARCH = flags.DEFINE_enum('search', 'grid', ['grid', 'tpe'], 'Every combination, or values that Optuna chooses by a '
                            'tree-structured Parzen estimator.')
_TRIALS = flags.DEFINE_integer('trials', None, 'How many values to try with --search=tpe.', lower_bound=1)
_PRUNER = flags.DEFINE_enum('pruner', None, ['median', 'hyperband', 'none'], 'Which trials are stopped early, by their '
                            'curve on validation: those below the median of others, by Hyperband, or none; by default '
                            'median for tpe, none for a grid.')
_WORKERS = flags.DEFINE_integer('workers', 1, 'How many runs are trained at once.', lower_bound=1)
_LAUNCHER = flags.DEFINE_enum('launcher', 'local', ['local', 'slurm'], 'Processes of this machine, or jobs of Slurm.')
_JOB = flags.DEFINE_multi_string('job', [], 'What a job asks Slurm for, KEY=VALUE as submitit names it: timeout_min, '
                                 'cpus_per_task, gpus_per_node, mem_gb, slurm_partition, …')
_STORAGE = flags.DEFINE_string('storage', None, 'Where Optuna keeps the trials, a URL of PostgreSQL or MySQL where '
                               'several machines share them; by default sweep.db in the sweep\'s folder.')
flags.adopt_module_key_flags(command)


def swept(config):
  """What the flags say is tried: -> ({key: Values or Range}, the flags as {name: text})."""
  given = space_lib.given_flags(config_lib.flatten(config))
  if not given:
    raise BadInput('nothing to try; name values of a key, e.g. --sweep.optim.lr=1e-4,3e-4,1e-3, or see --help')
  for key in given:
    if key in config_flags.get_override_values(flags.FLAGS['config']):
      raise BadInput(f'--config.{key} and --sweep.{key} are given both; leave one of them out')
  # The order on the command line does not matter, and the runs of one set of values follow each other.
  given = {key: given[key] for key in sorted(given, key=lambda key: (key == space_lib.SEED, key))}
  return space_lib.parse(given, config), {f'--sweep.{key}': text for key, text in given.items()}


def make_plan(config, space, folder):
  """The driver.Plan that the flags ask for; raises BadInput where a value could not be trained with."""
  from vit_jax.sweeping import driver

  seeds = ()
  if _SEARCH.value == 'grid':
    if _TRIALS.value:
      raise BadInput('--trials is for --search=tpe; a grid has as many as there are combinations')
    checked = space_lib.grid(space)
    points = [space_lib.stored(point) for point in checked]
  else:
    if not _TRIALS.value:
      raise BadInput('--search=tpe needs a number of trials, e.g. --trials=40')
    if isinstance(space.get(space_lib.SEED), space_lib.Range):
      raise BadInput('--sweep.seed cannot be a range: each trial is trained with every seed; name some, e.g. 0:3')
    if space_lib.SEED in space:
      seeds = space.pop(space_lib.SEED).values
    if not space:
      raise BadInput('with --search=tpe something besides the seed has to be searched for')
    checked = space_lib.extremes(space)
    points = [{}] * _TRIALS.value
  for point in checked:
    space_lib.with_values(config, point)
  overrides = config_flags.get_override_values(flags.FLAGS['config'])
  given = [f'--config={config_flags.get_config_filename(flags.FLAGS["config"])}',
           *(f'--config.{key}={value}' for key, value in overrides.items()), f'--cache_dir={command.cache_dir()}']
  return driver.Plan(config, given, space, seeds, points, folder)


def pruner(space):
  """The name of the pruner that the flags ask for."""
  unlike = [key for key in ('epochs', 'eval_epochs') if key in space]
  if unlike and _PRUNER.value not in (None, 'none'):
    raise BadInput(f'--pruner={_PRUNER.value} compares validations one by one, and --sweep.{unlike[0]} makes them '
                   'stand at other times; try --pruner=none')
  return _PRUNER.value or ('none' if unlike or _SEARCH.value == 'grid' else 'median')


def launcher(folder):
  """The launcher that the flags ask for."""
  if _LAUNCHER.value == 'local':
    if _JOB.value:
      raise BadInput(f'--job={_JOB.value[0]} is for --launcher=slurm')
    return launch.Local(_WORKERS.value)
  options = dict(text.partition('=')[::2] for text in _JOB.value)
  return launch.Slurm(folder / 'jobs', _WORKERS.value, {key: number(text) for key, text in options.items()})


def number(text):
  """A text as the number that it is, or as it is."""
  for kind in (int, float):
    with contextlib.suppress(ValueError):
      return kind(text)
  return text


def default_storage(folder):
  """The URL of a database in the sweep's folder; raises BadInput where a URL cannot have the folder's name."""
  path = str(folder / 'sweep.db')
  if odd := re.search(r'[?%#{}\ud800-\udfff]', path):
    raise BadInput(f'--workdir={folder} has {odd.group()!r} in it, which the URL of its database cannot have; name '
                   'another folder')
  return f'sqlite:///{path}'


def make_folder(path):
  """Makes the folder of the sweep and holds it for this process alone: -> filelock.FileLock.

  Raises BadInput where it cannot be written, holds something else, or somebody sweeps in it on this machine.
  """
  if path.is_dir() and any(path.iterdir()) and not (path / 'trials').exists():
    raise BadInput(f'--workdir={path} holds files but no sweep; name a new or empty folder')
  # A lock for each machine: they may share the folder.
  lock = filelock.FileLock(path / f'lock-{socket.gethostname()}', blocking=False)
  try:
    (path / 'trials').mkdir(parents=True, exist_ok=True)
    lock.acquire()
  except filelock.Timeout:
    raise BadInput(f'--workdir={path} is being swept in by another process; wait for it, or name another folder'
                   ) from None
  except OSError as error:
    raise BadInput(f'--workdir={path} cannot be written ({reason(error)}); name another folder') from None
  return lock


def shown_command():
  """The command of this process, without the password that a URL may hold."""
  shown = re.sub(r'(://[^:/@\s]*):[^@\s]+@', r'\1:…@', machine.command_line())
  return re.sub(r'([?&]password=)[^&\s\'"]+', r'\1…', shown)


def write_results(study, trials, keys, owner, name, folder):
  """Writes results.csv and sweep.html, and says how the trials did; returns the exit status."""
  from vit_jax.sweeping import page
  from vit_jax.sweeping import results

  atomic.write(folder / 'results.csv', results.to_csv(trials, keys))
  atomic.write(folder / 'sweep.html', page.render(study, trials, keys, name=name, command=shown_command()))
  groups, failed = results.groups(trials), results.failed(trials)
  print(f'\n{results.table(groups)}\n')
  rows = [('files', f'{folder}/ (results.csv, sweep.html, trials/)')]
  if failed:
    rows.insert(0, ('failed', f'{len(failed)} of {len(trials)}; the first, trial {failed[0][0]}: {failed[0][2]}'))
  stopped, elsewhere = results.unfinished(trials, owner)
  if stopped:
    rows.append(('stopped', f'{stopped} by somebody; the same line goes on with them'))
  if elsewhere:
    rows.append(('running', f'{elsewhere} elsewhere; the same line shows them too when they are done'))
  if groups:
    rows.append(('best', groups[0].folder))
    rows.append(('next', f'python -m vit_jax.main --evaluate --workdir={shlex.quote(groups[0].folder)}'))
  print(progress.table(rows))
  return 0 if groups else 1


def main():
  """The command: flags in, exit status out."""
  config = command.read_config()
  if config is None:
    raise BadInput('nothing to train; name a recipe, e.g. --config=configs/digits.py, or see --help')
  if not importlib.util.find_spec('optuna'):
    raise BadInput("sweeps need optuna, which is not installed: pip install 'vit_jax[sweep]'")
  space, given = swept(config)
  folder = paths.typed(_WORKDIR.value or os.path.join('runs', f'{command.recipe_name()}-sweep'))
  plan = make_plan(config, space, folder)
  by = pruner(space)
  from vit_jax.sweeping import driver
  from vit_jax.sweeping import study as study_lib

  url = _STORAGE.value or default_storage(folder)
  with make_folder(folder):
    owner = f'{socket.gethostname()}:{folder.resolve()}'
    name = folder.resolve().name
    start = launcher(folder)
    study = study_lib.open_study(url, name, {'--search': _SEARCH.value, **given}, config, by)
    with study_lib.usable(url):
      study_lib.give_up_lost(study, owner)
      study_lib.plan(study, plan.points)
      study.sampler = study_lib.sampler(study, config.seed, start.workers)
      keys = list(space)
      print(driver.describe(study, plan, start, by), flush=True)
      try:
        with interrupt.stop_on_signal() as stop:
          driver.drive(study, plan, start, owner, stop)
      except interrupt.Stopped as stopped:
        print(f'{stopped.reason}; everything is saved. Go on with:\n  {machine.command_line()}')
        return stopped.status
      return write_results(study, study_lib.trials(study), keys, owner, name, folder)


if __name__ == '__main__':
  command.run(main, interrupted=lambda: 'what was trained is kept. Go on with:\n  ' + machine.command_line())
