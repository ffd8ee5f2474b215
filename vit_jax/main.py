"""Trains a Vision Transformer on small data, or evaluates one.

  python -m vit_jax.main --config=configs/digits.py
      trains the recipe; the same line again goes on where it stopped

  python -m vit_jax.main --config=configs/cifar_catdog.py --config.optim.lr=1e-3 --workdir=runs/mine
      overrides any key of the recipe (configs/common.py explains each) and names the run folder

  python -m vit_jax.main --evaluate --workdir=runs/digits-seed0
      evaluates the newest weights of a run on its test part
"""
import os
import pathlib
import re
import shlex
import sys

from absl import app
from absl import flags
from ml_collections import config_flags

from vit_jax import cpu
from vit_jax import quiet
from vit_jax.errors import BadInput

_CONFIG = config_flags.DEFINE_config_file('config', None, 'The recipe to train, e.g. configs/digits.py; override '
                                          'a key with --config.KEY=VALUE.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'The run folder; by default runs/RECIPE-seedSEED.')
_EVALUATE = flags.DEFINE_boolean('evaluate', False, 'Evaluate the run in --workdir instead of training.')
_CACHE_DIR = flags.DEFINE_string('cache_dir', '~/.cache/vit_jax', 'Decoded pictures and compiled programs, kept '
                                 'for the next start; safe to delete.')


def parse_flags(argv):
  """absl's flag parser, with one line for a mistake instead of a stack trace."""
  try:
    return flags.FLAGS(argv)
  except (AttributeError, KeyError) as error:  # How ml_collections refuses a misspelt key.
    guess = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', str(error))
    wrong = repr(guess.group(2)) if guess else str(error).strip('"\\\'')
    near = f'did you mean {guess.group(1)!r}? ' if guess else ''
    raise BadInput(f'unknown config key {wrong}; {near}configs/common.py explains all keys') from None
  except flags.Error as error:
    raise BadInput(f'{error}; --help shows the flags') from None


def read_config():
  """The recipe with its overrides, or None where no recipe is named; raises BadInput where it cannot be read."""
  config = _CONFIG.value
  try:
    _ = config and config.seed  # A file that could not be loaded answers with its error.
    return config
  except OSError:
    name = config_flags.get_config_filename(flags.FLAGS['config'])
    recipes = sorted(path for path in pathlib.Path('configs').glob('*.py') if path.stem not in ('__init__', 'common'))
    known = ', '.join(map(str, recipes)) or 'no recipes in ./configs'
    raise BadInput(f'--config={name} does not exist; there are {known}') from None


def train(config, recipe, workdir, cache_dir):
  """Trains and says how it went; returns the exit status."""
  from vit_jax import progress
  from vit_jax import train as train_lib

  result = train_lib.train(config, workdir, recipe=recipe, cache_dir=cache_dir)
  if result is None:
    print(f'stopped; everything is saved. Go on with:\n  {command()}')
    return 130
  print(progress.describe_result(result))
  print(progress.table([
      ('files', f'{workdir}/ (result.json, metrics.jsonl, checkpoints/, tensorboard/)'),
      ('next', f'python -m vit_jax.main --evaluate --workdir={workdir}'),
      ('', f'tensorboard --logdir={workdir}'),
  ]))
  return 0


def command():
  """The command line of this start, as it can be typed again."""
  return shlex.join(['python', '-m', 'vit_jax.main', *sys.argv[1:]])


def start_jax(cache_dir):
  """Imports jax, set up for this machine, with its compiled programs kept in `cache_dir`."""
  cpu.keep_pages()  # Before jax allocates anything.
  import jax

  jax.config.update('jax_compilation_cache_dir', str(cache_dir / 'compiled'))


def main(argv):
  """The command: flags in, exit status out."""
  if len(argv) > 1:
    raise BadInput(f'unexpected argument {argv[1]!r}; flags start with --, see --help')
  config = read_config()
  if not _EVALUATE.value and config is None:
    raise BadInput('nothing to train; name a recipe, e.g. --config=configs/digits.py, or see --help')
  if _EVALUATE.value and _WORKDIR.value is None:
    raise BadInput('nothing to evaluate; name a run folder with --workdir=…')
  cache_dir = pathlib.Path(_CACHE_DIR.value).expanduser()
  start_jax(cache_dir)
  if _EVALUATE.value:
    from vit_jax import progress
    from vit_jax import train as train_lib
    print(progress.describe_result(train_lib.evaluate_run(_WORKDIR.value, cache_dir=cache_dir)))
    return 0
  recipe = pathlib.Path(config_flags.get_config_filename(flags.FLAGS['config'])).stem
  workdir = _WORKDIR.value or os.path.join('runs', f'{recipe}-seed{config.seed}')
  return train(config, recipe, workdir, cache_dir)


def run():
  """The entry point: a mistake of the user's is one line and exit status 2."""
  quiet.silence()
  try:
    app.run(main, flags_parser=parse_flags)
  except BadInput as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
  except KeyboardInterrupt:
    print(f'\nstopped; what was saved before is whole. Go on with:\n  {command()}', file=sys.stderr)
    sys.exit(130)


if __name__ == '__main__':
  run()
