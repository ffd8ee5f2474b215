"""Trains a Vision Transformer on small data, or evaluates one.

  python -m vit_jax.main --config=configs/digits.py
      trains the recipe; the same line again goes on where it stopped

  python -m vit_jax.main --config=configs/cifar_catdog.py --config.optim.lr=1e-3 --workdir=runs/mine
      overrides any key of the recipe (configs/common.py explains each) and names the run folder

  python -m vit_jax.main --evaluate --workdir=runs/digits-seed0
      evaluates the newest weights of a run on its test part

  python -m vit_jax.main --config=configs/tiny_imagenet.py --dry_run
      says whether it fits into memory, how long it would take and, with vit_jax[energy], how much electricity
"""
import os
import shlex

from absl import flags

from vit_jax import command
from vit_jax import machine
from vit_jax import processes
from vit_jax.errors import BadInput

_WORKDIR = flags.DEFINE_string('workdir', None, 'The run folder; by default runs/RECIPE-seedSEED.')
_EVALUATE = flags.DEFINE_boolean('evaluate', False, 'Evaluate the run in --workdir instead of training.')
_COUNTRY = flags.DEFINE_string('country', '', 'Whose electricity is used, by ISO 3166 code (DEU), for the CO2 of a '
                               'run; by default the mean of the world.')
_MAX_MINUTES = flags.DEFINE_float('max_minutes', None, 'Save and end with status 0 shortly before so many minutes are '
                                  'over, or after a validation or test that takes longer; the same line goes '
                                  'on.', lower_bound=0.0)
_COORDINATOR = flags.DEFINE_string('coordinator', '', 'Where several processes train one model: HOST:PORT of the first '
                                   'one, or auto; needless under srun, mpirun and on TPU pods.')
_NUM_PROCESSES = flags.DEFINE_integer('num_processes', None, 'How many processes there are.', lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer('process_id', None, 'Which of them this is, from 0.', lower_bound=0)
_REPLAY_STEP = flags.DEFINE_integer('replay_step', None, 'Take this one step of the run in --workdir again, and show '
                                    'its pictures.', lower_bound=1)
_DRY_RUN = flags.DEFINE_boolean('dry_run', False, 'Say what the training would take (memory, time, electricity) '
                                'instead of training.')
flags.adopt_module_key_flags(command)


def train(config, recipe, workdir):
  """Trains and says how it went; returns the exit status."""
  from vit_jax import interrupt
  from vit_jax import progress
  from vit_jax import train as train_lib

  try:
    result = train_lib.train(config, workdir, recipe=recipe, cache_dir=command.cache_dir(), country=_COUNTRY.value,
                             max_minutes=_MAX_MINUTES.value)
  except interrupt.Stopped as stopped:
    print(f'{stopped.reason}; everything is saved. Go on with:\n  {machine.command_line()}')
    return stopped.status
  print(progress.describe_result(result))
  print(progress.table([
      ('files', f'{workdir}/ (result.json, metrics.jsonl, checkpoints/, tensorboard/)'),
      ('next', f'python -m vit_jax.main --evaluate --workdir={shlex.quote(str(workdir))}'),
      ('', f'tensorboard --logdir={shlex.quote(str(workdir))}'),
  ]))
  return 0


def evaluate(workdir):
  """Judges a run on its test part, and says how it did; returns the exit status."""
  from vit_jax import assess
  print(assess.describe(assess.assess(workdir, cache_dir=command.cache_dir())))
  print(f'more, in numbers: {workdir}/evaluation.json')
  return 0


def replay(workdir, step):
  """Takes one step of a run again, and says what was in it; returns the exit status."""
  from vit_jax import replay as replay_lib
  print(replay_lib.describe(replay_lib.replay(workdir, step, cache_dir=command.cache_dir()), workdir))
  return 0


def dry_run(config, recipe, workdir):
  """Says what a training would take; returns the exit status."""
  from vit_jax import energy
  from vit_jax import forecast
  from vit_jax import job as job_lib
  from vit_jax import overview
  energy.intensity(_COUNTRY.value)
  job = job_lib.prepare(config, command.cache_dir())
  print(overview.describe(job, recipe, workdir, 0), flush=True)
  print('compiling the train step …', flush=True)
  print(forecast.describe(forecast.forecast(job), job, _COUNTRY.value))
  return 0


def main():
  """The command: flags in, exit status out."""
  config, workdir = command.read_config(), _WORKDIR.value
  of_a_run = 'to evaluate' if _EVALUATE.value else 'to replay' if _REPLAY_STEP.value else None
  if of_a_run and workdir is None:
    raise BadInput(f'nothing {of_a_run}; name a run folder with --workdir=…')
  if not of_a_run and config is None:
    raise BadInput('nothing to train; name a recipe, e.g. --config=configs/digits.py, or see --help')
  command.start_jax()
  processes.start(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
  if _EVALUATE.value:
    return evaluate(workdir)
  if _REPLAY_STEP.value:
    return replay(workdir, _REPLAY_STEP.value)
  recipe = command.recipe_name()
  workdir = workdir or os.path.join('runs', f'{recipe}-seed{config.seed}')
  return dry_run(config, recipe, workdir) if _DRY_RUN.value else train(config, recipe, workdir)


if __name__ == '__main__':
  command.run(main, interrupted=lambda: 'what was saved before is whole. Go on with:\n  '
              + machine.command_line())
