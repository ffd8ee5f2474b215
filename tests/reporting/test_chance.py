"""McNemar's test against numbers from textbooks and by hand; the gap between classes against exact tests of scipy."""
import numpy as np
import pytest
from scipy import stats

from vit_jax.reporting import chance


def right(*counts):
  """Two bool[N], of which so many are right in both, the first, the second and none."""
  return np.repeat([[True, True, False, False], [True, False, True, False]], counts, axis=1)


def test_mcnemar_by_hand():
  # One of six differing pictures falls to the first: P(≤ 1 of 6) twice = 2 · (1 + 6) / 64.
  found = chance.mcnemar(*right(10, 1, 5, 4))
  assert (found.both, found.first_only, found.second_only, found.neither) == (10, 1, 5, 4)
  assert found.p_value == pytest.approx(14 / 64) and found.gain == pytest.approx(4 / 20)


def test_mcnemar_is_a_sign_test():
  # Agresti's approval ratings (Categorical Data Analysis, table 10.1): 150 against 86.
  found = chance.mcnemar(*right(794, 150, 86, 570))
  assert found.p_value == pytest.approx(2 * stats.binom.cdf(86, 236, .5)) and 2e-5 < found.p_value < 5e-5


def test_runs_that_never_differ_differ_by_chance():
  assert chance.mcnemar(*right(3, 0, 0, 2)).p_value == 1.0


def test_the_gap_of_two_classes_is_judged_as_an_exact_test_does():
  for first in (50, 45, 40, 35):
    found = chance.gap([first, 50], [60, 60])
    exact = stats.boschloo_exact([[first, 60 - first], [50, 10]]).pvalue
    assert exact <= found.p_value < 2 * exact, first  # That test is the sharpest for 2×2 tables.
    assert found.size == pytest.approx((50 - first) / 60)


def test_the_worst_of_many_equal_classes_is_no_finding():
  rng = np.random.default_rng(1)
  found = chance.gap(rng.binomial(50, .5, 200), np.full(200, 50))
  assert found.size > .3 and found.p_value > .05 and found.usual > .35


def test_a_class_without_pictures_counts_for_nothing():
  found = chance.gap([0, 9, 2], [0, 10, 10])
  assert (found.worst, found.best) == (2, 1) and found.p_value < .05
  assert chance.gap([0, 9], [0, 10]) is None
