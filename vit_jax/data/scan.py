"""Which files a folder of pictures holds, of which class and part; no file is opened."""
import dataclasses
import errno
import os
import pathlib
import stat
import unicodedata

from vit_jax import paths
from vit_jax.errors import BadInput
from vit_jax.errors import reason

# Folders that are parts rather than classes, by the names that people give them.
PARTS = {'train': 'train', 'training': 'train', 'val': 'val', 'valid': 'val', 'validation': 'val', 'test': 'test',
         'testing': 'test'}

# Why a file was skipped.
HIDDEN, NO_FILE = 'hidden', 'a pipe or a device'


@dataclasses.dataclass(frozen=True)
class File:
  """One file: its path relative to the folder, the class that its folder stands for, and its part ('' if none)."""
  name: str
  class_name: str
  part: str


def scan(path):
  """Walks a folder: -> (its absolute path, the files in order of their names, (file, reason) of what was skipped).

  Folders in a class's folder belong to that class. Links are followed, but not in a circle. Raises BadInput
  where `path` is no folder, or holds no folders for classes.
  """
  if not str(path):
    raise BadInput('data.path is empty; name your folder of pictures with --config.data.path=…')
  given = paths.typed(path)
  try:
    root = given.resolve(strict=True)
  except (OSError, RuntimeError) as error:  # Links in a circle are the one or the other, by version of Python.
    circle = isinstance(error, RuntimeError) or error.errno == errno.ELOOP
    why = ('is a link in a circle' if circle else
           'does not exist' if isinstance(error, FileNotFoundError) else f'cannot be read ({reason(error)})')
    raise BadInput(f'data.path={path} {why}; name the folder that holds a folder for each class') from None
  if not root.is_dir():
    raise BadInput(f'data.path={path} is a file; name the folder that holds a folder for each class'
                   + (' (unpack it first)' if root.suffix in ('.zip', '.tar', '.gz', '.tgz', '.7z', '.rar') else ''))
  files, skipped = [], []
  tops, loose = entries(root, '', skipped)
  skipped += [(name, 'in no class\'s folder') for name in loose]
  parts = split_of(tops) or {'': ''}
  if '' not in parts:
    beside = [name for top in tops if top not in parts for name in walk(root, top, skipped)]
    skipped += [(name, f'beside {" and ".join(parts)}') for name in beside]
  for top, part in parts.items():
    classes, loose = (tops, []) if top == '' else entries(root, top, skipped)
    skipped += [(name, 'in no class\'s folder') for name in loose]
    for folder in classes:
      class_name = unicodedata.normalize('NFC', pathlib.PurePosixPath(folder).name)
      files += [File(name, class_name, part) for name in walk(root, folder, skipped)]
  if not files:
    why = '; '.join(f'{name}: {said}' for name, said in skipped[:5])
    raise BadInput(f'data.path={path} is empty: there are no folders with files in it. It needs one for each class'
                   + (f' ({why})' if why else ''))
  names = {part: {file.class_name for file in files if file.part == part} for part in parts.values()}
  for part, classes in names.items():
    if 'train' in names and (strange := sorted(classes - names['train'])):
      raise BadInput(f'data.path={path} has classes in {part}/ that are not in train/: {", ".join(strange[:5])}')
  return root, sorted(files, key=lambda file: file.name), skipped


def split_of(tops):
  """{folder: part} where some of these folders are parts rather than classes, {} otherwise.

  A folder of trains beside others is a class: parts are train alone, or train with val or test, beside whatever else.
  """
  parts = {top: PARTS[top.lower()] for top in tops if top.lower() in PARTS}
  found = set(parts.values())
  whole = 'train' in found and (len(found) > 1 or len(tops) == 1)
  return parts if whole and len(found) == len(parts) else {}


def entries(root, folder, skipped):
  """The folders and files of a folder, relative to `root`, in order; hidden ones go to `skipped`."""
  folders, files = [], []
  try:
    found = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
  except OSError as error:
    skipped.append((folder, error.strerror))
    return [], []
  for entry in found:
    name = f'{folder}/{entry.name}' if folder else entry.name
    if entry.name.startswith('.'):
      skipped.append((name, HIDDEN))
    elif is_dir(entry):
      folders.append(name)
    elif is_special(entry):  # Whoever opens a pipe waits for somebody to write to it.
      skipped.append((name, NO_FILE))
    else:
      files.append(name)
  return folders, files


def is_dir(entry):
  """Whether a directory entry is a folder or a link to one."""
  try:
    return entry.is_dir()
  except OSError:
    return False


def is_special(entry):
  """Whether a directory entry is a pipe, a socket or a device, or a link to one."""
  try:
    return not entry.is_file() and not stat.S_ISREG(entry.stat().st_mode)
  except OSError:  # Whoever reads it will say why.
    return False


def walk(root, folder, skipped):
  """The files in a folder and its folders, relative to `root`; a link to a folder that it lies in goes to `skipped`."""
  above = {os.path.realpath(root / parent) for parent in (folder, *pathlib.PurePosixPath(folder).parents)}
  folders, files = entries(root, folder, skipped)
  for inner in folders:
    if os.path.realpath(root / inner) in above:
      skipped.append((inner, 'a link to a folder that it lies in'))
    else:
      files += walk(root, inner, skipped)
  return files
