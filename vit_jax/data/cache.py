"""Decoded pictures in a folder that is there whole or not at all; safe to delete at any time."""
import contextlib
import hashlib
import json
import pathlib
import shutil
import tempfile
import time

from vit_jax import atomic
from vit_jax.errors import BadInput
from vit_jax.errors import reason

# Seconds after which nobody is taken to be at work any more on what is half written.
ABANDONED = 24 * 3600


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
    clear_abandoned(path.parent)
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


def clear_abandoned(parent):
  """Deletes what processes that were killed have left half written, once nobody has touched it for a day."""
  for partial in parent.glob('.*'):
    with contextlib.suppress(OSError):  # Somebody else deletes or renames it at the same moment, or it is theirs.
      touched = max(path.stat().st_mtime for path in (partial, *partial.iterdir()))
      if time.time() - touched > ABANDONED:
        shutil.rmtree(partial, ignore_errors=True)
