"""Keeps test pictures, and near-duplicates of them, out of the training pictures.

Sets leak into their own test parts, and into those of other sets: weights that are to be fine-tuned must not have seen
what the fine-tuned model will be tested on.
"""
import dataclasses
import hashlib

import numpy as np

from vit_jax.data import cache
from vit_jax.data import duplicates
from vit_jax.data import source


def keep_clear(data, tests, cache_dir):
  """A DataSet without the training pictures that are, nearly, in one of the test parts {name: Source}.

  What was left out is a line of its notes. The comparison takes a minute for 100,000 pictures, and is kept in
  `cache_dir` for sets that are there too.
  """
  parts = [data.train, *tests.values()]
  key = [identity(part) for part in parts]
  write = lambda folder: np.save(folder / 'seen.npy', seen(parts))
  found = np.load(cache.folder(cache_dir, f'{data.name.replace("/", "-")}-clear', key, write) / 'seen.npy')
  note = f'{found.sum():,} training pictures left out: nearly the same as a test picture of {", ".join(tests)}'
  return dataclasses.replace(data, train=data.train.take(np.flatnonzero(~found)), notes=(*data.notes, note))


def identity(part):
  """Stands for the pictures of a part: a digest of its rows and of its file's name, which the cache made unique."""
  path = getattr(part.images, 'path', None)
  pixels = path.parent.name if path else hashlib.sha256(np.ascontiguousarray(part.images)).hexdigest()
  return [pixels, hashlib.sha256(part.rows.astype('<i8')).hexdigest()]


def seen(parts):
  """Which pictures of the first part are nearly the same as one of the others: [Source, …] -> bool[N]."""
  pictures = source.Joined(parts)
  pairs = duplicates.near_duplicates(pictures, duplicates.perceptual_hashes(pictures))
  groups = duplicates.groups(len(pictures), pairs)
  count = len(parts[0])
  return np.isin(groups[:count], groups[count:])
