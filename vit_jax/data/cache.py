"""Decoded pictures in a folder that is there whole or not at all; safe to delete at any time."""
import hashlib
import json
import pathlib
import shutil
import tempfile

from vit_jax import atomic
from vit_jax.errors import BadInput
from vit_jax.errors import reason


def folder(cache_dir, name, key, write):
  """The folder for a key, filled by `write(folder)` where it is not there yet: -> pathlib.Path.

  `key` is JSON-able and stands for everything that the contents depend on; `name` is for people. However many
  processes start at once, and wherever one of them is killed, the folder holds all that one `write` wrote. Raises
  BadInput where it cannot be written.
  """
  digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
  path = pathlib.Path(cache_dir) / 'pictures' / f'{name}-{digest}'
  if path.exists():
    return path
  partial = None
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = pathlib.Path(tempfile.mkdtemp(prefix=f'.{path.name}-', dir=path.parent))
    write(partial)
    atomic.open_up(partial, 0o777)  # Others may share the cache.
    partial.rename(path)
  except OSError as error:
    if not path.exists():  # Otherwise somebody else was quicker.
      raise BadInput(f'decoded pictures cannot be kept in {path.parent} ({reason(error)}); name another place with '
                     '--cache_dir=…') from error
  finally:
    if partial:
      shutil.rmtree(partial, ignore_errors=True)
  return path
