"""Could it be chance? The difference of two runs on the same pictures, and the gap between two classes of one run."""
import dataclasses

import numpy as np
from scipy import stats

# Draws of a world without a difference between classes.
DRAWS = 10_000


@dataclasses.dataclass(frozen=True)
class Paired:
  """Two runs on the same pictures: how many both, one or none of them get right, and McNemar's p value."""
  both: int
  first_only: int
  second_only: int
  neither: int
  p_value: float

  @property
  def gain(self):
    """What the second is better by, in accuracy."""
    return (self.second_only - self.first_only) / (self.both + self.first_only + self.second_only + self.neither)


def mcnemar(first_right, second_right):
  """Which pictures are right, bool[N] twice, in the same order -> Paired, by the exact test (McNemar 1947).

  Only pictures on which the runs differ say which one is better; were neither better, each of these would fall to one
  or the other like a coin. The p value is two-sided.
  """
  count = lambda which: int(np.count_nonzero(which))
  first_only, second_only = count(first_right & ~second_right), count(~first_right & second_right)
  differing = first_only + second_only
  p_value = float(stats.binomtest(first_only, differing, 0.5).pvalue) if differing else 1.0
  both, neither = count(first_right & second_right), count(~first_right & ~second_right)
  return Paired(both, first_only, second_only, neither, p_value)


@dataclasses.dataclass(frozen=True)
class Gap:
  """The classes with the lowest and the highest share of right answers, and whether chance alone sets them apart."""
  worst: int
  best: int
  size: float  # difference of their shares
  usual: float  # what 95 of 100 draws stay below where all classes are equally hard
  p_value: float  # the share of draws with a gap as large as this one


def gap(right, count, seed=0):
  """Right answers i[K] of so many pictures i[K] in each class -> Gap; None with fewer than two classes that have some.

  All classes are held against each other at once: with many of them the worst and the best are far apart by chance.
  """
  right, count = np.asarray(right), np.asarray(count)
  known = np.flatnonzero(count)
  if len(known) < 2:
    return None
  share = right[known] / count[known]
  size = float(share.max() - share.min())
  drawn = np.random.default_rng(seed).binomial(count[known], right.sum() / count.sum(), (DRAWS, len(known)))
  gaps = np.ptp(drawn / count[known], axis=1)
  p_value = (1 + np.count_nonzero(gaps >= size - 1e-12)) / (1 + DRAWS)
  worst, best = int(known[share.argmin()]), int(known[share.argmax()])
  return Gap(worst, best, size, float(np.quantile(gaps, .95)), float(p_value))
