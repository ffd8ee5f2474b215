"""Heads that were made to look somewhere, and shifts counted by hand."""
import math

import numpy as np
import pytest

from vit_jax.explain import heads

CELLS = (4, 5)
PLACES = [(y, x) for y in range(4) for x in range(5)]


def looks_at(*shifts):
  """A head f64[20,20] that looks at these shifts evenly, and at itself where the picture ends."""
  table = np.zeros((20, 20))
  for q, (y, x) in enumerate(PLACES):
    targets = [(y + dy, x + dx) if (y + dy, x + dx) in PLACES else (y, x) for dy, dx in shifts]
    for target in targets:
      table[q, PLACES.index(target)] += 1 / len(shifts)
  return table


def test_a_head_that_looks_at_its_left_neighbour_is_a_convolution():
  found, = heads.classify(looks_at((0, -1))[None, None], CELLS)
  assert (found.layer, found.head, found.shift, found.kind) == (0, 0, (0, -1), 'convolution')
  assert found.share == pytest.approx(1) and found.near == pytest.approx(1)
  # A fifth of the queries have no left neighbour: shift 0 with weight .2, -1 with .8.
  assert found.spread == pytest.approx(math.sqrt(.2 * .8))


@pytest.mark.parametrize('shift', [(0, 0), (-1, 0), (1, 1), (2, 0)])
def test_other_shifts_are_found_too(shift):
  found, = heads.classify(looks_at(shift)[None, None], CELLS)
  assert found.shift == shift and found.share == pytest.approx(1) and found.kind == 'convolution'


def test_a_blur_is_local_and_even_attention_is_wide():
  blur = looks_at(*((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)))
  even = np.full((20, 20), 1 / 20)
  found = heads.classify(np.stack([blur, even])[None], CELLS)
  assert [head.kind for head in found] == ['local', 'wide']
  assert found[0].near == pytest.approx(1) and found[0].share < heads.MOST
  assert found[1].share == pytest.approx(1 / 20)
  # Two numbers drawn evenly from 0 … n-1 differ by (n²-1)/6 in mean square.
  assert found[1].spread == pytest.approx(math.sqrt((16 - 1) / 6 + (25 - 1) / 6))


def test_a_head_that_follows_content_is_not_taken_for_one():
  # Each picture has one patch that everybody looks at; over all pictures it is anywhere.
  pictures = np.zeros((20, 20, 20))
  for i in range(20):
    pictures[i, :, i] = 1
  found, = heads.classify(pictures.mean(axis=0)[None, None], CELLS)
  assert found.kind == 'wide'


def test_what_a_corner_does_is_not_the_best_shift():
  table = np.full((20, 20), 1 / 20)
  table[0] = np.eye(20)[19]  # The shift (3, 4), of which there is this one only.
  found, = heads.classify(table[None, None], CELLS)
  assert found.shift != (3, 4) and found.kind == 'wide'


def test_attention_by_shift_is_the_mean_counted_by_hand():
  rng = np.random.default_rng(0)
  maps = rng.random((1, 2, 20, 20))
  mean, count = heads.by_shift(maps, CELLS)
  assert mean.shape == (1, 2, 7, 9) and count.sum() == 400 and count[3, 4] == 20
  for dy, dx in [(0, 0), (-3, 4), (1, -2)]:
    values = [maps[0, 1, q, PLACES.index((y + dy, x + dx))] for q, (y, x) in enumerate(PLACES)
              if (y + dy, x + dx) in PLACES]
    assert mean[0, 1, dy + 3, dx + 4] == pytest.approx(np.mean(values))
    assert count[dy + 3, dx + 4] == len(values)


def test_the_table_names_each_head():
  found = heads.classify(np.stack([looks_at((0, -1)), looks_at((1, 0))])[:, None], CELLS)
  lines = heads.table(found).splitlines()
  assert len(lines) == 3
  assert lines[1].split() == ['1', '1', '(0,', '-1)', '100.0%', '100.0%', '0.40', 'convolution']
  assert lines[2].split()[:4] == ['2', '1', '(1,', '0)']
