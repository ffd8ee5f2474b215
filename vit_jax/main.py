"""Trains a Vision Transformer on small data, or evaluates one.

  python -m vit_jax.main --config=configs/digits.py
      trains the recipe; the same line again goes on where it stopped

  python -m vit_jax.main --config=configs/cifar_catdog.py --config.optim.lr=1e-3 --workdir=runs/mine
      overrides any key of the recipe (configs/common.py explains each) and names the run folder

  python -m vit_jax.main --evaluate --workdir=runs/digits-seed0
      evaluates the newest weights of a run on its test part
"""
import os

from absl import flags

from vit_jax import command
from vit_jax import machine
from vit_jax.errors import BadInput

_WORKDIR = flags.DEFINE_string('workdir', None, 'The run folder; by default runs/RECIPE-seedSEED.')
_EVALUATE = flags.DEFINE_boolean('evaluate', False, 'Evaluate the run in --workdir instead of training.')
_COUNTRY = flags.DEFINE_string('country', '', 'Whose electricity is used, by ISO 3166 code (DEU), for the CO2 of a '
                               'run; by default the mean of the world.')
_MAX_MINUTES = flags.DEFINE_float('max_minutes', None, 'Save and end with status 0 shortly before so many minutes are '
                                  'over; the same line goes on.', lower_bound=0.0)
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
      ('next', f'python -m vit_jax.main --evaluate --workdir={workdir}'),
      ('', f'tensorboard --logdir={workdir}'),
  ]))
  return 0


def main():
  """The command: flags in, exit status out."""
  config = command.read_config()
  if not _EVALUATE.value and config is None:
    raise BadInput('nothing to train; name a recipe, e.g. --config=configs/digits.py, or see --help')
  if _EVALUATE.value and _WORKDIR.value is None:
    raise BadInput('nothing to evaluate; name a run folder with --workdir=…')
  command.start_jax()
  if _EVALUATE.value:
    from vit_jax import assess
    print(assess.describe(assess.assess(_WORKDIR.value, cache_dir=command.cache_dir())))
    print(f'more, in numbers: {_WORKDIR.value}/evaluation.json')
    return 0
  recipe = command.recipe_name()
  return train(config, recipe, _WORKDIR.value or os.path.join('runs', f'{recipe}-seed{config.seed}'))


if __name__ == '__main__':
  command.run(main, interrupted=lambda: 'what was saved before is whole. Go on with:\n  '
              + machine.command_line())
