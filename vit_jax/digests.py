"""SHA-256: of a tree of arrays, and of a folder's files, kept in it as `sha256sum -c SHA256SUMS` reads them."""
import hashlib

import jax
import numpy as np

from vit_jax import atomic
from vit_jax.errors import BadInput

NAME = 'SHA256SUMS'


def sums(folder):
  """One line for each file below a folder, 'digest  path', in the order of the paths; hidden files are left out."""
  paths = [path for path in folder.rglob('*') if path.is_file()]
  names = sorted(path.relative_to(folder).as_posix() for path in paths)
  lines = []
  for name in names:
    if name != NAME and not name.rpartition('/')[2].startswith('.'):
      with (folder / name).open('rb') as file:
        lines.append(f'{hashlib.file_digest(file, "sha256").hexdigest()}  {name}\n')
  return ''.join(lines)


def write(folder):
  """Keeps a folder's digests in it; there is no SHA256SUMS before all of it is on disk."""
  atomic.write(folder / NAME, sums(folder))


def check(folder):
  """Raises BadInput where a file of the folder is another one than when its digests were written, missing or new."""
  try:
    kept = (folder / NAME).read_bytes()
  except FileNotFoundError:
    raise BadInput(f'{NAME} is missing: it was not saved to its end') from None
  found = sums(folder).encode()
  if kept != found:
    files = {line.partition(b'  ')[2] for line in set(kept.splitlines()) ^ set(found.splitlines())}
    names = sorted(name.decode(errors='replace') for name in files)
    raise BadInput(f'its digests do not hold: {", ".join(names[:3]) or NAME}{", …" if len(names) > 3 else ""}')


def of_tree(tree):
  """The SHA-256 of a tree of arrays, as hex: names, dtypes, shapes and bytes, in the order of the names."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(tree))
  sha = hashlib.sha256()
  for path, leaf in sorted(leaves, key=lambda item: jax.tree_util.keystr(item[0])):
    leaf = np.ascontiguousarray(leaf)
    sha.update(f'{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}\n'.encode())
    sha.update(leaf.tobytes())
  return sha.hexdigest()
