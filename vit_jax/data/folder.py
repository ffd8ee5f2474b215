"""Your own pictures: a folder for each class -> a DataSet.

    pictures/cats/…  pictures/dogs/…             parts are made here: a fixed share for test and validation
    pictures/train/cats/…  pictures/test/cats/…  or given by you: train/, and val/ and test/ where there are any

Every file is tried; what is no picture is left out and named. Pictures are known by their content: a folder is
decoded once into the cache (S·S·3 bytes a picture), in the order of their digests, and neither new names nor new dates
make it be decoded again; another picture does. The parts follow the content too, and near-duplicates stay together.
"""
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import unicodedata

import numpy as np

from vit_jax import atomic
from vit_jax import paths
from vit_jax import progress
from vit_jax.data import cache
from vit_jax.data import duplicates
from vit_jax.data import picture
from vit_jax.data import pixel_file
from vit_jax.data import scan
from vit_jax.data import source
from vit_jax.errors import BadInput

# Where the folder has no test part of its own, this share of each class is held out as one.
TEST_FRACTION = 0.2


@dataclasses.dataclass(frozen=True)
class Folder:
  """What a folder of pictures holds; everything per file is in the order of the files' digests."""
  class_names: tuple[str, ...]
  files: tuple[str, ...]  # relative to the folder
  sizes: np.ndarray  # i32[N,2], width and height in pixels, turned upright
  labels: np.ndarray  # i32[N]
  parts: tuple[str, ...]  # 'train', 'val' or 'test' where the folder says so; else ''
  digests: tuple[str, ...]  # SHA-256 of the file
  images: pixel_file.PixelFile  # u8[N,S,S,3]
  groups: np.ndarray  # i64[N], near-duplicates have the same number: the index of the first of them
  unreadable: tuple[tuple[str, str], ...]  # (file, reason)
  skipped: tuple[tuple[str, str], ...]  # (file, reason), hidden files and such that are no pictures at all


def read(path, *, cache_dir, image_size):
  """Reads a folder of pictures, decoding it where it is new: -> Folder; raises BadInput where nothing is to be read."""
  root, files, skipped = scan.scan(path)
  digests = file_digests(root, [file.name for file in files], cache_dir)
  order = sorted(range(len(files)), key=lambda i: (digests[i], files[i].name))
  files, digests = [files[i] for i in order], [digests[i] for i in order]
  paths = [root / file.name for file in files]
  # With the formats: a picture that could not be read may be readable once the package for its format is there.
  folder = cache.folder(cache_dir, f'folder-{image_size}px', [digests, image_size, picture.FORMATS],
                        lambda partial: decode(paths, image_size, partial))
  about = json.loads((folder / 'about.json').read_text())
  unreadable, skipped = [], list(skipped)
  for row, why in about['unreadable']:
    name = files[row].name
    # What neither looks like a picture nor is called one was never meant as one.
    known = pathlib.PurePosixPath(name).suffix.lower() in picture.endings()
    (unreadable if known else skipped).append((name, why))
  keep = about['rows']
  class_names = sorted({files[row].class_name for row in keep})
  return Folder(
      tuple(class_names), tuple(files[row].name for row in keep), np.array(about['sizes'], np.int32).reshape(-1, 2),
      np.array([class_names.index(files[row].class_name) for row in keep], np.int32),
      tuple(files[row].part for row in keep), tuple(digests[row] for row in keep),
      pixel_file.open_pixels(folder / 'images.npy'), np.load(folder / 'groups.npy'),
      tuple(sorted(unreadable)), tuple(sorted(skipped)))


def file_digests(root, names, cache_dir):
  """The SHA-256 of each file's content; of files that have not been touched since the last time, from a note."""
  note = pathlib.Path(cache_dir) / 'digests' / (hashlib.sha256(os.fsencode(root)).hexdigest()[:12] + '.json')
  try:
    known = json.loads(note.read_text(encoding='utf-8'))
  except (OSError, ValueError):
    known = {}

  def digest(name):
    try:
      stat = (root / name).stat()
      touched = [stat.st_size, stat.st_mtime_ns]
      if known.get(name, [None])[:2] == touched:
        return known[name]
      with open(root / name, 'rb') as file:
        return [*touched, hashlib.file_digest(file, 'sha256').hexdigest()]
    except OSError as error:  # A digest that no file has: `decode` will say why it cannot be read.
      return [0, 0, f'unreadable {error.strerror} {name}']

  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    done = progress.track(pool.map(digest, names), total=len(names), desc='reading', unit='files')
    found = dict(zip(names, done, strict=True))
  if found != known:
    with contextlib.suppress(OSError):  # It only saves time.
      note.parent.mkdir(parents=True, exist_ok=True)
      atomic.write(note, json.dumps(found))
  return [found[name][2] for name in names]


def decode(paths, image_size, folder):
  """Writes images.npy u8[N,S,S,3] and groups.npy i64[N] of the readable files, and about.json on all, to `folder`."""
  def read_one(path):
    try:
      with path.open('rb') as file:
        return picture.read(file, image_size)
    except OSError as error:
      return picture.reason(error)
    except picture.Unreadable as error:
      return str(error)

  pixel_file.check_space(folder, len(paths) * image_size**2 * 3)
  rows, sizes, unreadable = [], [], []
  with open(folder / 'images.npy', 'wb') as out, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    pixel_file.write_header(out, len(paths), image_size)
    results = progress.track(pool.map(read_one, paths), total=len(paths), desc='decoding', unit='pictures')
    try:
      for row, result in enumerate(results):
        if isinstance(result, str):
          unreadable.append((row, result))
        else:
          image, size = result
          out.write(image.tobytes())
          rows.append(row)
          sizes.append(size)
    except BaseException:  # A full disk: the others need not be decoded any more.
      pool.shutdown(cancel_futures=True)
      raise
    out.seek(0)
    pixel_file.write_header(out, len(rows), image_size)
  images = pixel_file.open_pixels(folder / 'images.npy')
  hashes = duplicates.perceptual_hashes(images)
  np.save(folder / 'groups.npy', duplicates.groups(len(rows), duplicates.near_duplicates(images, hashes)))
  about = {'rows': rows, 'sizes': sizes, 'unreadable': unreadable}
  (folder / 'about.json').write_text(json.dumps(about), encoding='utf-8')


def load(path, *, cache_dir, classes, image_size, val_fraction):
  """Reads a folder of pictures as a DataSet of u8[N,S,S,3].

  Parts that the folder does not have itself are held out of train: the same share of each class, chosen by
  content. Raises BadInput where there are fewer than two classes, or too few different pictures in one of them.
  """
  found = read(path, cache_dir=cache_dir, image_size=image_size)
  check_classes(path, found)
  ids = source.class_ids(classes, list(found.class_names))
  number = np.full(len(found.class_names), -1, np.int32)
  number[ids] = np.arange(len(ids), dtype=np.int32)
  labels = number[found.labels]
  everything = source.Source.whole(found.images, labels)
  parts = np.array(found.parts)
  rows = {part: np.flatnonzero((parts == part) & (labels >= 0)) for part in ('', 'train', 'val', 'test')}
  train = np.concatenate([rows[''], rows['train']])  # One of the two is empty.
  notes = left_out(found)

  def hold_out(train, fraction):
    if not fraction:
      return train, train[:0]
    check_enough(found, train, labels, ids)
    kept, held = source.held_out_groups(labels[train], found.groups[train], fraction)
    return train[kept], train[held]

  test = rows['test']
  if not len(test):
    train, test = hold_out(train, TEST_FRACTION)
  elif twins := len(np.intersect1d(found.groups[train], found.groups[test])):
    notes += (f'{twins} near-duplicates are in train and in test: test accuracy will be flattered',)
  validation = rows['val']
  if not len(validation):
    train, validation = hold_out(train, val_fraction)
  take = everything.take
  name = unicodedata.normalize('NFC', paths.typed(path).resolve().name)
  what = [(found.digests[i], int(labels[i]), part) for part, of_part in
          (('train', train), ('validation', validation), ('test', test)) for i in of_part]
  digest = lambda rows: hashlib.sha256(json.dumps(rows).encode()).hexdigest()
  return source.DataSet(name, tuple(found.class_names[i] for i in ids), take(train), take(validation), take(test),
                        notes, digest(what), digest([row for row in what if row[2] == 'test']))


def check_classes(path, found):
  """Raises BadInput where the folder holds no pictures, or fewer than two classes of them."""
  if not found.files:
    reasons = ''.join(f'; {name}: {why}' for name, why in (*found.unreadable, *found.skipped)[:3])
    raise BadInput(f'data.path={path} holds no readable picture{reasons}. It needs a folder for each class, with '
                   'pictures in it')
  if len(found.class_names) < 2:
    raise BadInput(f'data.path={path} holds one class only, {found.class_names[0]!r}; a classifier needs two, each '
                   'in a folder of its own')


def check_enough(found, rows, labels, ids):
  """Raises BadInput where a class has too few different pictures among `rows` for a part to be held out of them."""
  for label, class_id in enumerate(ids):
    count = len(np.unique(found.groups[rows[labels[rows] == label]]))
    if count < 2:
      name = found.class_names[class_id]
      raise BadInput(f'class {name!r} has too few different pictures ({np.sum(labels == label)} in all, '
                     'near-duplicates count as one): at least 3 are needed to train, validate and test. Add some, or '
                     'name the classes to keep with --config.data.classes')


def left_out(found):
  """What was left out of a folder, as lines for a person."""
  lines = []
  for what, files in (('unreadable', found.unreadable), ('no pictures, hidden, or beside the parts', found.skipped)):
    if files:
      some = ', '.join(f'{name} ({why})' for name, why in files[:3]) + (', …' if len(files) > 3 else '')
      lines.append(f'{len(files):,} files left out, {what}: {some}')
  return tuple(lines)
