"""Which heads behave like convolutions (Cordonnier, Loukas & Jaggi 2019).

A convolution takes, at every place and from every picture, what lies at a fixed shift from that place. So a head is
the more like one the more of its attention, averaged over queries and pictures, lies on one shift from query to key.
Where a head follows content instead, the shifts differ from query to query, and the average is smeared out.
"""
import dataclasses

import numpy as np

# A shift is sought only among those for which at least this share of the queries has a patch: of a shift that one
# corner alone has, the average is no average.
ENOUGH_QUERIES = 0.5
# Above it all other places together have less.
MOST = 0.5


@dataclasses.dataclass(frozen=True)
class Head:
  """Where a head looks, seen from the query; shifts in patches, down and to the right."""
  layer: int  # from 0
  head: int
  shift: tuple[int, int]  # the one with the most attention; (0, -1) is the left neighbour
  share: float  # of the attention that lies there, over the queries that have a patch there
  near: float  # … in the 3×3 patches around it
  spread: float  # root mean square distance of all the attention from its mean shift, patches
  kind: str  # 'convolution', 'local' or 'wide', see `kind_of`


def shifts_between(cells):
  """From query to key on a grid (h, w): -> i64[N,N,2], patches down and to the right."""
  places = np.stack(np.mgrid[:cells[0], :cells[1]], axis=-1).reshape(-1, 2)
  return places[None] - places[:, None]


def by_shift(maps, cells):
  """Attention from patch to patch, f32[L,H,N,N] -> by shift, f64[L,H,2h-1,2w-1], and its queries, i64[2h-1,2w-1].

  The mean over the queries that have a patch at that shift; shift (0, 0) is in the middle.
  """
  h, w = cells
  index = tuple(np.moveaxis(shifts_between(cells) + np.array([h - 1, w - 1]), -1, 0))
  count = np.zeros((2 * h - 1, 2 * w - 1), np.int64)
  np.add.at(count, index, 1)
  total = np.zeros((*maps.shape[:2], *count.shape))
  np.add.at(total, (slice(None), slice(None), *index), maps)
  return total / count, count


def counted(count):
  """Which shifts have enough queries, of the counts i64[2h-1,2w-1] that `by_shift` gives: -> bool[2h-1,2w-1]."""
  return count >= ENOUGH_QUERIES * count.max()


def classify(maps, cells):
  """Means over pictures of the attention from patch to patch, f32[L,H,N,N] -> [Head, …], layer after layer."""
  mean, count = by_shift(maps, cells)
  mean[:, :, ~counted(count)] = -1
  shifts = shifts_between(cells)
  best = lambda table: np.array(np.unravel_index(table.argmax(), table.shape)) - (cells[0] - 1, cells[1] - 1)
  return [describe(layer, head, maps[layer, head].astype(np.float64), best(mean[layer, head]), shifts)
          for layer in range(maps.shape[0]) for head in range(maps.shape[1])]


def describe(layer, head, attention, shift, shifts):
  """One head by its attention f64[N,N] and its best shift i64[2]; `shifts` are those from query to key."""
  away = abs(shifts - shift).max(axis=-1)  # 0 at the best shift, 1 around it
  has = (away == 0).any(axis=1)  # queries with a patch there
  share = (attention * (away == 0)).sum(axis=1)[has].mean()
  near = (attention * (away <= 1)).sum(axis=1)[has].mean()
  weights = attention / attention.sum()
  centre = np.einsum('qk,qkd->d', weights, shifts)
  spread = np.sqrt(np.einsum('qk,qkd->', weights, (shifts - centre) ** 2))
  return Head(layer, head, tuple(shift.tolist()), float(share), float(near), float(spread), kind_of(share, near))


def kind_of(share, near):
  """'convolution' where most attention lies on one shift, 'local' where most lies in 3×3 patches, else 'wide'.

  The first takes one patch whatever it holds, as one weight of a kernel does; several such heads with different shifts
  make a k×k convolution. The second is a blur around a place. The third follows content, or takes the mean of the
  picture.
  """
  return 'convolution' if share > MOST else 'local' if near > MOST else 'wide'


def table(heads):
  """The heads for a person, one line each."""
  lines = ['layer  head  best shift (down, right)  share  in 3×3  spread  kind']
  lines += [f'{head.layer + 1:5}  {head.head + 1:4}  {head.shift!s:>24}  {head.share:5.1%}  {head.near:6.1%}  '
            f'{head.spread:6.2f}  {head.kind}' for head in heads]
  return '\n'.join(lines)
