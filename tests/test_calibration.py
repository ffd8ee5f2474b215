"""Distances and neighbours against scikit-learn and SciPy; the file whole, damaged, of other weights."""
import json

import numpy as np
import pytest
from safetensors import numpy as safetensors
from scipy.spatial import distance
from sklearn import covariance
from sklearn import neighbors

from vit_jax import calibration
from vit_jax.errors import BadInput

HEAD, WIDTH, CLASSES = 5, 8, 3


def pictures(count, seed):
  """Made features f32[N,D] of three classes that spread unevenly, and their labels."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(CLASSES, size=count)
  spread = rng.normal(size=(count, WIDTH)) @ np.random.default_rng(9).normal(size=(WIDTH, WIDTH))
  return (4 * np.eye(CLASSES, WIDTH)[labels] + spread).astype(np.float32), labels


@pytest.fixture(scope='module')
def made():
  train, labels = pictures(400, 0)
  held_out, held_out_labels = pictures(200, 1)
  logits = 3 * np.eye(CLASSES)[held_out_labels] + np.random.default_rng(2).normal(size=(200, CLASSES))
  return calibration.fit(train, labels, np.arange(400) * 7, HEAD, held_out, logits, held_out_labels)


def test_distances_are_those_of_scikit_learns_covariance(made):
  train, labels = pictures(400, 0)
  means = np.stack([train[labels == k].mean(axis=0) for k in range(CLASSES)])
  fitted = covariance.LedoitWolf(assume_centered=True).fit(train - means[labels])
  some = pictures(30, 3)[0]
  want = distance.cdist(some, means, 'mahalanobis', VI=fitted.precision_).min(axis=1)
  np.testing.assert_allclose(made.distances(some), want, rtol=1e-4)
  np.testing.assert_allclose(made.whitening @ made.whitening.T, fitted.precision_, rtol=1e-3, atol=1e-5)


def test_one_in_twenty_of_the_held_out_pictures_is_beyond_the_threshold(made):
  assert (made.distances(pictures(200, 1)[0]) > made.threshold).sum() == 10
  assert made.distances(np.full((1, WIDTH), 100, np.float32))[0] > 5 * made.threshold


def test_the_nearest_are_scikit_learns(made):
  some = pictures(20, 4)[0]
  unit = lambda rows: rows[:, :HEAD] / np.linalg.norm(rows[:, :HEAD], axis=1, keepdims=True)
  search = neighbors.NearestNeighbors(n_neighbors=3).fit(unit(pictures(400, 0)[0]))
  distances, rows = search.kneighbors(unit(some))
  positions, found = made.nearest(some, 3)
  np.testing.assert_allclose(found, distances, atol=2e-3)  # They are kept in half precision.
  assert (positions == 7 * rows).mean() > .95 and positions.dtype == np.int32
  assert made.nearest(some, 1000)[0].shape == (20, 400)
  assert np.isfinite(made.nearest(np.zeros((1, WIDTH), np.float32), 2)[1]).all()


def test_few_held_out_pictures_give_neither_temperature_nor_threshold():
  train, labels = pictures(100, 0)
  few = calibration.ENOUGH - 1
  found = calibration.fit(train, labels, np.arange(100), HEAD, train[:few], np.eye(CLASSES)[labels[:few]], labels[:few])
  assert found.temperature is None and found.threshold is None and len(found.features) == 100


def test_what_never_varies_is_noticed_where_it_does(made):
  train, labels = pictures(300, 0)
  train[:, 2] = 1.5  # A unit that is dead.
  found = calibration.fit(train, labels, np.arange(300), HEAD, train[:100], np.eye(CLASSES)[labels[:100]], labels[:100])
  alive = train[:1].copy()
  alive[0, 2] = 9
  assert np.isfinite(found.distances(train)).all() and found.distances(alive)[0] > found.threshold


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_broken_weights_know_nothing(value):
  train, labels = pictures(100, 0)
  train[3, 1] = value
  found = calibration.fit(train, labels, np.arange(100), HEAD, train, np.eye(CLASSES)[labels], labels)
  assert found == calibration.Calibration()


def test_where_all_features_are_the_same_nothing_is_unlike(tmp_path):
  same, labels = np.ones((60, 4), np.float32), np.zeros(60, np.int32)
  found = calibration.fit(same, labels, np.arange(60), 4, same, np.zeros((60, 2), np.float32), labels)
  assert found.threshold is None
  calibration.save(tmp_path / calibration.NAME, found, 'abc')
  assert calibration.read(tmp_path / calibration.NAME, 'abc').threshold is None


def test_a_class_without_pictures_has_no_mean():
  train, labels = pictures(100, 0)
  found = calibration.fit(train, np.where(labels == 1, 0, labels), np.arange(100), HEAD, train[:0],
                          np.zeros((0, CLASSES)), labels[:0])
  assert found.means.shape == (2, WIDTH)


def test_the_file_comes_back_and_is_of_its_weights_only(made, tmp_path):
  path = tmp_path / calibration.NAME
  assert calibration.read(path, 'abc') is None
  calibration.save(path, made, 'abc')
  found = calibration.read(path, 'abc')
  assert (found.temperature, found.threshold) == (made.temperature, made.threshold)
  for name, array in made.arrays().items():
    np.testing.assert_array_equal(found.arrays()[name], array)
  assert calibration.read(path, 'abd') is None
  bare = made.without_pictures()
  assert bare.arrays().keys() == {'means', 'whitening'} and bare.threshold == made.threshold


@pytest.mark.parametrize(('damage', 'numbers'), [
    ({'means': np.zeros((3, 7), np.float32)}, {}), ({'means': None}, {}), ({'means': None, 'whitening': None}, {}),
    ({'features': None}, {}), ({'positions': np.zeros(3, np.int32)}, {}), ({'other': np.zeros(3)}, {}),
    ({'whitening': np.full((WIDTH, WIDTH), np.nan, np.float32)}, {}), ({'means': np.zeros((0, WIDTH))}, {}),
    ({}, {'temperature': 0}), ({}, {'temperature': 'hot'}), ({}, {'threshold': -1.0}), ({}, None), (None, {})])
def test_a_damaged_file_is_one_line(made, tmp_path, damage, numbers):
  path = tmp_path / calibration.NAME
  kept = {name: array for name, array in (made.arrays() | (damage or {})).items() if array is not None}
  text = json.dumps(made.numbers() | numbers) if numbers is not None else '{'
  path.write_bytes(safetensors.save(kept, {'calibration': text, 'weights_sha256': 'abc'}))
  if damage is None:
    path.write_bytes(path.read_bytes()[:-5])
  with pytest.raises(BadInput, match=r'calibration.safetensors is damaged .*; remove it, and vit_jax.main'):
    calibration.read(path, 'abc')


def test_of_another_model_it_is_refused(made):
  calibration.check_width(made, HEAD, WIDTH, 'w')
  for widths in ((HEAD, WIDTH + 1), (HEAD + 1, WIDTH)):
    with pytest.raises(BadInput, match='the calibration of w is of another model'):
      calibration.check_width(made, *widths, 'w')
