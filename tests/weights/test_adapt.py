"""Weights of one model in another: what is kept, changed, new, or named."""
import re

import jax
import numpy as np
import pytest

from vit_jax.errors import BadInput
from vit_jax.weights import adapt
from vit_jax.weights import load
from vit_jax.weights import sizes

HEAD = ('head/kernel', 'head/bias')


def weights(seed=0, *, classes=3, side=2, token=True, features=0, dist=False):
  """Some parameters of a ViT of width 4 by name, random."""
  front = token + dist
  shapes = {'embedding/kernel': (2, 2, 3, 4), sizes.POSITIONS: (1, front + side**2, 4)}
  shapes |= {'cls': (1, 1, 4)} if token else {}
  shapes |= {'dist': (1, 1, 4)} if dist else {}
  shapes |= {'pre_logits/kernel': (4, features), 'pre_logits/bias': (features,)} if features else {}
  for head in ('head', 'head_dist')[:bool(classes) * (1 + dist)]:
    shapes |= {f'{head}/kernel': (features or 4, classes), f'{head}/bias': (classes,)}
  rng = np.random.default_rng(seed)
  return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def assert_same(got, want):
  assert got.keys() == want.keys()
  for name, leaf in want.items():
    np.testing.assert_array_equal(got[name], leaf, err_msg=name)


@pytest.mark.parametrize('sizes', [{}, {'token': False}, {'features': 4}, {'dist': True}, {'classes': 0}])
def test_what_fits_stays_as_it_is(sizes):
  there = weights(0, **sizes)
  assert_same(adapt.to_model(there, weights(1, **sizes)), there)


@pytest.mark.parametrize('there, here', [(3, 5), (0, 5), (3, 0)])
@pytest.mark.parametrize('dist', [False, True])
def test_a_head_for_other_classes_is_the_models_own(there, here, dist):
  flat, wanted = weights(0, classes=there, dist=dist), weights(1, classes=here, dist=dist)
  want = {name: wanted[name] if name.startswith('head') else flat[name] for name in wanted}
  assert_same(adapt.to_model(flat, wanted), want)
  abstract = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in wanted.items()}
  assert_same(adapt.to_model(flat, abstract), {
      name: np.zeros_like(leaf) if name.startswith('head') else leaf for name, leaf in want.items()})


@pytest.mark.parametrize(('change', 'message'), [
    ({'head/bias': None}, 'head/bias is missing'), ({'head/kernel': None}, 'head/kernel is missing'),
    ({'head/bias': np.zeros(5)}, r'head/bias is \(5,\) there and \(3,\)'),
    ({'head/kernel': np.zeros((4, 5))}, r'head/kernel is \(4, 5\) there and \(4, 3\)'),
    ({'head/kernel': np.zeros((4, 5)), 'head/bias': np.zeros(6)}, 'head/bias is .*; head/kernel is'),
    ({'head/kernel': np.zeros((9, 3))}, r'head/kernel is \(9, 3\)')])
def test_a_damaged_head_is_no_other_head(change, message):
  flat = {name: leaf for name, leaf in (weights() | change).items() if leaf is not None}
  with pytest.raises(BadInput, match=message):
    load.fit(flat, weights(1), 'w')


def test_pre_logits_are_dropped_with_the_head_that_read_them():
  # Of the same width and for the same classes, and yet the head would read something else.
  flat, wanted = weights(0, features=4), weights(1)
  assert_same(adapt.to_model(flat, wanted), {name: wanted[name] if name in HEAD else flat[name] for name in wanted})
  with pytest.raises(BadInput, match='pre_logits/bias is missing; pre_logits/kernel is missing'):
    load.fit(weights(), weights(features=4), 'w')


def test_a_class_token_goes_with_its_position():
  flat, wanted = weights(), weights(1, token=False)
  got = adapt.to_model(flat, wanted)
  assert got.keys() == wanted.keys()
  np.testing.assert_array_equal(got[sizes.POSITIONS], flat[sizes.POSITIONS][:, 1:])
  # And where the grid is another one too, as if it had had none from the beginning.
  without = {name: leaf for name, leaf in flat.items() if name != 'cls'} | {sizes.POSITIONS: got[sizes.POSITIONS]}
  larger = weights(1, token=False, side=3)
  assert_same(adapt.to_model(flat, larger), adapt.to_model(without, larger))


def test_a_new_class_token_stands_amid_the_others():
  flat, wanted = weights(token=False), weights(1)
  got = adapt.to_model(flat, wanted)
  assert got['cls'] is wanted['cls']
  np.testing.assert_array_equal(got[sizes.POSITIONS][:, 1:], flat[sizes.POSITIONS])
  np.testing.assert_allclose(got[sizes.POSITIONS][0, 0], flat[sizes.POSITIONS][0].mean(axis=0), rtol=1e-6)


def test_a_distillation_token_is_not_dropped_in_silence():
  with pytest.raises(BadInput, match='dist is not part of the model; Transformer'):
    load.fit(weights(dist=True), weights(1), 'w')
  with pytest.raises(BadInput, match='dist is missing'):
    load.fit(weights(), weights(1, dist=True), 'w')


@pytest.mark.parametrize(('name', 'shape'), [
    ('embedding/kernel', (2, 2, 3, 5)), (sizes.POSITIONS, (1, 5, 6)), (sizes.POSITIONS, (1, 7, 4)),
    (sizes.POSITIONS, (4,)), (sizes.POSITIONS, (2, 10, 4))])
def test_other_shapes_are_named_and_nothing_is_loaded(name, shape):
  with pytest.raises(BadInput, match=rf'{name} is {re.escape(str(shape))} there'):
    load.fit(weights() | {name: np.zeros(shape)}, weights(1), 'w')
