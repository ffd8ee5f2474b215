"""What all commands share: the flags --config and --cache_dir, and one line for a mistake instead of a stack trace."""
import contextlib
import difflib
import errno
import functools
import io
import os
import pathlib
import re
import sys

from absl import app
from absl import flags
import ml_collections
from ml_collections import config_flags

import configs
from vit_jax import cpu
from vit_jax import paths
from vit_jax import quiet
from vit_jax.errors import BadInput

_CONFIG = config_flags.DEFINE_config_file('config', None, 'The recipe, e.g. configs/digits.py; override a key with '
                                          '--config.KEY=VALUE.')
_CACHE_DIR = flags.DEFINE_string('cache_dir', '~/.cache/vit_jax', 'Decoded pictures and compiled programs, kept '
                                 'for the next start; safe to delete.')

# What the system refuses for reasons of the user's: no room, no permission, a name that is too long.
REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)

# What asks for help.
HELP = {f'{dashes}{name}' for name in ('help', 'helpfull', 'helpshort', 'h', '?') for dashes in ('-', '--')}

RECIPES = pathlib.Path(configs.__file__).parent


def parse_flags(argv, *, named_only=True, known=flags.FLAGS):
  """absl's flag parser, with one line for a mistake: -> the arguments that are no flags, if there may be any."""
  try:
    rest = known(find_recipe(argv))
  except (AttributeError, KeyError, flags.Error) as error:  # ml_collections refuses a misspelt key in several ways.
    check_keys(argv)
    said = ' '.join(str(error).split()).strip('"')
    raise BadInput(f'{said if len(said) < 300 else said[:300] + "…"}; --help shows the flags') from None
  if named_only and len(rest) > 1:
    raise BadInput(f'unexpected argument {rest[1]!r}; flags start with --, see --help')
  return rest


def find_recipe(argv):
  """Arguments -> the same, with the package's configs/X.py where `--config` names it and this folder has none.

  So a recipe is found outside of a checkout too. Raises BadInput where there is none.
  """
  argv = list(argv)
  for i, argument in enumerate(argv):
    flag, equals, name = argument.partition('=')
    if flag not in ('-config', '--config'):
      continue
    if not equals:  # The recipe is the next argument.
      i, name = i + 1, ''.join(argv[i + 1:i + 2])
    path = pathlib.Path(name)
    if path.is_file():
      continue
    installed = RECIPES / path.name
    if path.parent.name != RECIPES.name or not installed.is_file():
      known = ', '.join(f'{RECIPES.name}/{recipe.name}' for recipe in sorted(RECIPES.glob('*.py'))
                        if recipe.stem not in ('__init__', 'common'))
      raise BadInput(f'--config={name} does not exist; there are {known}')
    argv[i] = f'{flag}={installed}' if equals else str(installed)
  return argv


def check_keys(argv):
  """Raises BadInput where an argument sets a key that configs/common.py does not have, with the most similar one."""
  from configs import common
  for argument in argv[1:]:
    node, known = common.get_config(), re.match(r'--?(?:no)?config\.([\w.]+)', argument)
    for name in known.group(1).split('.') if known else ():
      if not isinstance(node, ml_collections.ConfigDict):
        raise BadInput(f'unknown config key {name!r} in {argument!r}; configs/common.py explains all keys')
      if name not in node:
        near = difflib.get_close_matches(name, node.keys(), n=1, cutoff=.5)
        hint = f'did you mean {near[0]!r}? ' if near else ''
        raise BadInput(f'unknown config key {name!r}; {hint}configs/common.py explains all keys')
      node = node[name]


def read_config():
  """The recipe with its overrides, or None where no recipe is named."""
  return _CONFIG.value


def recipe_name():
  """The name of the recipe's file, without folder and ending."""
  return pathlib.Path(config_flags.get_config_filename(flags.FLAGS['config'])).stem


def cache_dir():
  """The folder of the flag --cache_dir."""
  return paths.typed(_CACHE_DIR.value)


def writable(flag, value):
  """The file that a flag names as the one to write: -> pathlib.Path.

  Raises BadInput where it cannot be written, before the work and not after it.
  """
  path = paths.typed(value)
  if path.is_dir():
    raise BadInput(f'--{flag}={value} cannot be written: it is a folder; name a file in it')
  if not path.parent.is_dir():
    raise BadInput(f'--{flag}={value} cannot be written: there is no folder {path.parent}; make it, or name another '
                   'place')
  if path.exists() and not path.is_file():  # It would be replaced, /dev/null for everybody.
    raise BadInput(f'--{flag}={value} cannot be written: it is a device or a pipe; name a file')
  if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
    raise BadInput(f'--{flag}={value} cannot be written; name another place')
  return path


def start_jax():
  """Imports jax, set up for this machine, with its compiled programs kept in the cache."""
  cpu.keep_pages()  # Before jax allocates anything.
  import jax

  jax.config.update('jax_compilation_cache_dir', str(cache_dir() / 'compiled'))


def open_standard_streams():
  """Opens those of the three standard streams that were closed by whoever started this, as `>&-` does, on nothing."""
  for number, (name, mode) in enumerate([('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')]):
    if getattr(sys, name) is None:
      opened = os.open(os.devnull, os.O_RDONLY if mode == 'r' else os.O_WRONLY)
      if opened != number:
        os.dup2(opened, number)
      setattr(sys, name, open(number, mode, encoding='utf-8', closefd=False))  # noqa: SIM115


def drop_output():
  """Sends what is still to be written to the standard output nowhere, so that Python does not try again at its end."""
  with contextlib.suppress(OSError):
    sys.stdout.flush()
  with contextlib.suppress(io.UnsupportedOperation):
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(main, *, interrupted, arguments=False):
  """The entry point of a command: a mistake of the user's is one line and exit status 2.

  `main` takes nothing, or with `arguments` the list of those that are no flags, and returns the exit status;
  `interrupted()` says what Ctrl-C leaves behind.
  """
  open_standard_streams()
  quiet.silence()
  if isinstance(sys.stdout, io.TextIOWrapper):  # Names of files need not be UTF-8, nor terminals know ours.
    sys.stdout.reconfigure(errors='backslashreplace')
  parser = functools.partial(parse_flags, named_only=not arguments)
  try:
    try:
      app.run(lambda argv: main(argv[1:]) if arguments else main(), flags_parser=parser)
    except SystemExit as end:  # Python writes the rest at its very end, where nobody could say any more what was wrong.
      sys.stdout.flush()
      if end.code == 1 and not HELP.isdisjoint(sys.argv):  # absl takes it for a failure that somebody asked.
        sys.exit(0)
      raise
  except BadInput as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
  except BrokenPipeError:  # Whoever reads this has seen enough, as `| head` has.
    drop_output()
    sys.exit(141)  # 128 + SIGPIPE
  except OSError as error:
    if error.errno not in REFUSED:
      raise
    drop_output()
    print(f'error: {error.strerror}{f": {error.filename}" if error.filename else ""}; mend that, and give the same '
          'command', file=sys.stderr)
    sys.exit(2)
  except KeyboardInterrupt:
    print(f'\nstopped; {interrupted()}', file=sys.stderr)
    sys.exit(130)
