"""Decoded pictures in a folder that is there whole or not at all; safe to delete at any time."""
import hashlib
import json
import pathlib
import shutil
import tempfile


def folder(cache_dir, name, key, write):
  """The folder for a key, filled by `write(folder)` where it is not there yet: -> pathlib.Path.

  `key` is JSON-able and stands for everything that the contents depend on; `name` is for people. However many
  processes start at once, and wherever one of them is killed, the folder holds all that one `write` wrote.
  """
  digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
  path = pathlib.Path(cache_dir) / 'pictures' / f'{name}-{digest}'
  if path.exists():
    return path
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = pathlib.Path(tempfile.mkdtemp(prefix=f'.{path.name}-', dir=path.parent))
  try:
    write(partial)
    partial.rename(path)
  except OSError:
    if not path.exists():  # Otherwise somebody else was quicker.
      raise
  finally:
    shutil.rmtree(partial, ignore_errors=True)
  return path
