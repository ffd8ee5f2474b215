"""What every data set becomes: pictures of one size, their labels and the names of the classes."""
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from vit_jax.errors import BadInput
from vit_jax.errors import choose


@dataclasses.dataclass(frozen=True)
class Source:
  """Rows i64[N] of decoded pictures u8[M,S,S,3] (in memory or in a file) with labels i32[M] in [0, K)."""
  images: Any  # np.ndarray or pixel_file.PixelFile
  all_labels: np.ndarray
  rows: np.ndarray

  @classmethod
  def whole(cls, images: Any, labels: np.ndarray) -> 'Source':
    """The source of all pictures."""
    return cls(images, labels, np.arange(len(labels)))

  def __len__(self) -> int:
    return len(self.rows)

  @property
  def labels(self) -> np.ndarray:
    """i32[N], in the order of the pictures."""
    return self.all_labels[self.rows]

  def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Gathers a batch: i64[B] -> {'image': u8[B,S,S,3], 'label': i32[B]}."""
    rows = self.rows[indices]
    return {'image': self.images[rows], 'label': self.all_labels[rows]}

  def take(self, indices: np.ndarray) -> 'Source':
    """The source of these pictures only, i64[L]; no pixel is copied."""
    return dataclasses.replace(self, rows=self.rows[indices])


class Joined:
  """The pictures of several sources in a row, u8[N,S,S,3]; none is read before it is asked for."""

  def __init__(self, sources: Sequence[Source]) -> None:
    self.sources = sources
    self.starts = np.cumsum([0, *map(len, sources)])
    self.shape = (int(self.starts[-1]), *sources[0].images.shape[1:])

  def __len__(self) -> int:
    return self.shape[0]

  def __getitem__(self, which: int | slice | np.ndarray) -> np.ndarray:
    """Reads one (int), a slice of them or those at i64[B]."""
    index = np.arange(len(self))[which]
    out = np.empty((index.size, *self.shape[1:]), np.uint8)
    for source, start, end in zip(self.sources, self.starts, self.starts[1:], strict=False):
      inside = np.flatnonzero((index.ravel() >= start) & (index.ravel() < end))
      if len(inside):
        out[inside] = source.images[source.rows[index.ravel()[inside] - start]]
    return out.reshape(*index.shape, *self.shape[1:])


@dataclasses.dataclass(frozen=True)
class DataSet:
  """A training part, a validation part that was held out of it, a test part, and the names of the classes."""
  name: str
  class_names: tuple[str, ...]
  train: Source
  validation: Source
  test: Source
  # What was left out and why, for a person: one line each.
  notes: tuple[str, ...] = ()
  # Stands for the pictures and their parts, where these can change between two starts of a run.
  fingerprint: str = ''
  test_fingerprint: str = ''  # of the test part alone


def held_out(labels: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
  """Splits by a fixed rule: i32[N], fraction in [0,1) -> (kept i64[], held out i64[]), both in order.

  The same share of each class is drawn by a generator that always starts alike: the split depends on the labels
  alone, never on the seed of a run. Where `fraction` > 0 that is at least one picture, but never a class's only
  one.
  """
  rng = np.random.default_rng(0)
  chosen = []
  for label in np.unique(labels):
    of_class = np.flatnonzero(labels == label)
    chosen.append(rng.permutation(of_class)[:share(len(of_class), fraction)])
  out = np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)
  return np.setdiff1d(np.arange(len(labels)), out), out


def share(count: int, fraction: float) -> int:
  """How many of so many things are held out: at least one where `fraction` > 0, and never all."""
  return min(max(round(fraction * count), 1), count - 1) if fraction and count else 0


def held_out_groups(labels: np.ndarray, groups: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
  """As `held_out`, with each group on one side: i32[N], groups i64[N], fraction -> (kept i64[], held out i64[]).

  A group is a number; it counts as of the class of its first picture. Groups are taken in the order of their
  numbers, which is as good as random where pictures are sorted by their content; one that is too large for what
  is left of the share is passed over.
  """
  names, firsts, sizes = np.unique(groups, return_index=True, return_counts=True)
  chosen = []
  for label in np.unique(labels):
    of_class = np.flatnonzero(labels[firsts] == label)
    wanted = left = share(int(sizes[of_class].sum()), fraction)
    for i in of_class:
      if sizes[i] <= left:
        chosen.append(names[i])
        left -= sizes[i]
    if left == wanted > 0 and len(of_class) > 1:  # All are too large; one must do.
      chosen.append(names[of_class[np.argmin(sizes[of_class])]])
  out = np.isin(groups, chosen)
  return np.flatnonzero(~out), np.flatnonzero(out)


def check_fraction(fraction: float) -> None:
  """Raises BadInput where a validation share is not in [0, 1)."""
  if not 0 <= fraction < 1:
    raise BadInput(f'data.val_fraction={fraction} must be at least 0 and less than 1, e.g. 0.1')


def class_ids(classes: Sequence[str], known: Sequence[str]) -> list[int]:
  """The labels of `classes` among the names `known`, in the order asked for; () means all of them.

  Raises BadInput for an unknown name (the nearest ones are listed), a name given twice, or a single class.
  """
  if not classes:
    return list(range(len(known)))
  for name in classes:
    choose(name, known, 'class')
  if len(set(classes)) < len(classes) or len(classes) < 2:
    raise BadInput(f'data.classes={tuple(classes)} must name two or more different classes')
  return [known.index(name) for name in classes]
