"""Resized positions against one-dimensional interpolation and against Pillow."""
import numpy as np
from PIL import Image
import pytest

from vit_jax.errors import BadInput
from vit_jax.weights import positions


def table(num_front, side, features=3):
  return np.random.default_rng(side).normal(size=(1, num_front + side**2, features)).astype(np.float32)


def along(values, size):
  """Linear interpolation of the first axis with aligned corners."""
  at, places = np.linspace(0, len(values) - 1, size), np.arange(len(values))
  columns = values.reshape(len(values), -1).T
  return np.stack([np.interp(at, places, column) for column in columns], 1).reshape(size, *values.shape[1:])


@pytest.mark.parametrize(('num_front', 'old', 'new'), [(0, 4, 7), (1, 7, 3), (2, 2, 14), (1, 3, 1)])
def test_bilinear_is_linear_along_each_axis_with_corners_aligned(num_front, old, new):
  before = table(num_front, old)
  after = positions.resize(before, num_front, num_front + new**2)
  np.testing.assert_array_equal(after[:, :num_front], before[:, :num_front])
  grid = before[0, num_front:].reshape(old, old, 3)
  want = along(along(grid, new).swapaxes(0, 1), new).swapaxes(0, 1)
  np.testing.assert_allclose(after[0, num_front:], want.reshape(-1, 3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(('num_front', 'old', 'new'), [(0, 4, 7), (1, 14, 5), (2, 2, 14)])
def test_bicubic_is_pillows(num_front, old, new):
  before = table(num_front, old)
  after = positions.resize(before, num_front, num_front + new**2, 'bicubic')
  np.testing.assert_array_equal(after[:, :num_front], before[:, :num_front])
  grid = before[0, num_front:].reshape(old, old, 3)
  want = [np.asarray(Image.fromarray(grid[..., i]).resize((new, new), Image.Resampling.BICUBIC)) for i in range(3)]
  np.testing.assert_allclose(after[0, num_front:].reshape(new, new, 3), np.stack(want, -1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('num_tokens', [17, 12, 1, 0])
def test_what_is_no_other_square_stays(num_tokens):
  before = table(1, 4)
  assert positions.resize(before, 1, num_tokens) is before
  assert positions.resize(before[:, :-1], 1, 10).shape == (1, 16, 3)


def test_another_method_is_refused():
  with pytest.raises(BadInput, match="positions 'bicubix' is unknown; did you mean bicubic"):
    positions.resize(table(1, 4), 1, 10, 'bicubix')
