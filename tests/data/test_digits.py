"""The embedded digits against scikit-learn's own arrays."""
import collections

import numpy as np
import pytest
from sklearn import datasets

from vit_jax.data import load
from vit_jax.errors import BadInput


def load_digits(**changes):
  """The digits as a recipe would ask for them."""
  options = dict(data_dir='', cache_dir=None, classes=(), image_size=8, val_fraction=.1)
  return load.load('digits', **{**options, **changes})


def rows(part):
  """Each picture of a part as (label, 64 grey values), checking that the three channels are one."""
  images = part.read(np.arange(len(part)))['image']
  assert images.dtype == np.uint8 and np.all(images == images[..., :1])
  return [(label, *grey) for label, grey in zip(part.labels, images[..., 0].reshape(-1, 64), strict=True)]


def sklearn_rows(names=range(10)):
  """The same from scikit-learn, 0…16 scaled to 0…255, for some classes, numbered in the order given."""
  digits = datasets.load_digits()
  return [(list(names).index(label), *np.rint(pixels * 255 / 16).astype(int).tolist())
          for label, pixels in zip(digits.target, digits.data, strict=True) if label in names]


def parts(data):
  return {'train': data.train, 'validation': data.validation, 'test': data.test}


@pytest.mark.parametrize('changes, classes', [({}, range(10)), (dict(classes=('7', '1', '4')), (7, 1, 4))])
def test_all_pixels_are_there_once_in_one_part_or_another(changes, classes):
  data = load_digits(**changes)
  assert data.class_names == tuple(str(name) for name in classes)
  got = [row for part in parts(data).values() for row in rows(part)]
  assert collections.Counter(got) == collections.Counter(sklearn_rows(classes))


def test_counts():
  assert {name: len(part) for name, part in parts(load_digits()).items()} == {
      'train': 1295, 'validation': 143, 'test': 359}
  share = lambda counts, fraction: np.rint(fraction * counts).astype(int)
  everything = np.bincount(datasets.load_digits().target)
  test = share(everything, .2)
  validation = share(everything - test, .1)
  assert np.bincount(load_digits().test.labels).tolist() == test.tolist()
  assert np.bincount(load_digits().validation.labels).tolist() == validation.tolist()


def test_validation_share_moves_no_test_picture():
  test = rows(load_digits().test)
  without = load_digits(val_fraction=0.0)
  assert rows(without.test) == test and len(without.validation) == 0 and len(without.train) == 1438


def test_parts_are_fixed():
  first, again = parts(load_digits()), parts(load_digits())
  assert all(rows(first[name]) == rows(again[name]) for name in first)


@pytest.mark.parametrize('changes, message', [
    (dict(image_size=16), 'data.image_size=16 does not fit the digits, which are 8×8'),
    (dict(classes=('3', '11')), "class '11' is unknown; did you mean 1"),
    (dict(val_fraction=1.0), 'data.val_fraction=1.0 must be')])
def test_impossible(changes, message):
  with pytest.raises(BadInput, match=message):
    load_digits(**changes)
