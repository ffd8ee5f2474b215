"""Positions by hand and against Flax's own convolution; dropped patches counted."""
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.errors import BadInput
from vit_jax.models import tokens as tokens_lib


def test_sincos_positions_by_hand():
  # Frequencies 1 and 1/10,000: sin x, sin x/1e4, cos x, cos x/1e4, then the same of y.
  zero, one = [0, 0, 1, 1], [.8414710, .0001, .5403023, 1]
  two = [.9092974, .0002, -.4161468, 1]
  want = [zero + zero, one + zero, two + zero, zero + one, one + one, two + one]
  np.testing.assert_allclose(tokens_lib.sincos2d_positions(2, 3, 8), [want], atol=1e-6)


@pytest.mark.parametrize('features, suggested', [(6, 4), (2, 4), (11, 8)])
def test_sincos_needs_a_multiple_of_four(features, suggested):
  with pytest.raises(BadInput, match=f'hidden_size={features} .*try {suggested}$'):
    tokens_lib.sincos2d_positions(2, 2, features)
  assert tokens_lib.sincos2d_positions(2, 2, suggested).shape == (1, 4, suggested)


@pytest.mark.parametrize('cls', [0, 1])
def test_conv_positions_are_a_depthwise_convolution(cls):
  tokens = np.random.default_rng(1).normal(size=(2, cls + 12, 4)).astype(np.float32)
  module = tokens_lib.ConvPositions((3, 4))
  params = {'kernel': np.random.default_rng(2).normal(size=(3, 3, 4)).astype(np.float32)}
  conv = nn.Conv(4, (3, 3), feature_group_count=4, use_bias=False)
  grid = tokens[:, cls:].reshape(2, 3, 4, 4)
  mixed = conv.apply({'params': {'kernel': params['kernel'][:, :, None]}}, grid).reshape(2, 12, 4)
  expected = np.concatenate([tokens[:, :cls], tokens[:, cls:] + mixed], axis=1)
  np.testing.assert_allclose(module.apply({'params': params}, tokens), expected, rtol=1e-5, atol=1e-5)


def test_patch_dropout_keeps_a_random_part_in_order():
  tokens = jnp.arange(2 * 9 * 3, dtype=jnp.float32).reshape(2, 9, 3)
  module = tokens_lib.PatchDropout(0.5, num_kept=1)
  def drop(key, train=True):
    return np.asarray(module.apply({}, tokens, train=train, rngs={'dropout': jax.random.key(key)}))
  assert np.array_equal(drop(0, train=False), tokens)
  seen = np.zeros((2, 9), int)
  for key in range(200):
    kept = drop(key)
    assert kept.shape == (2, 5, 3)  # the first, and 8 - round(0.5 · 8) of the others
    for picture, rows in enumerate(kept):
      where = [int(np.flatnonzero((np.asarray(tokens[picture]) == row).all(axis=1))[0]) for row in rows]
      assert where[0] == 0 and where == sorted(set(where))
      seen[picture, where] += 1
  # Each of the others in half of the draws; 200 draws have a standard deviation of 7.
  assert np.all(np.abs(seen[:, 1:] - 100) < 35) and np.any(seen[0] != seen[1])


def test_one_patch_stays_at_least():
  kept = tokens_lib.PatchDropout(0.99).apply({}, jnp.ones((2, 8, 3)), train=True, rngs={'dropout': jax.random.key(0)})
  assert kept.shape == (2, 1, 3)


def test_patch_dropout_hands_the_gradient_to_those_that_stayed():
  tokens = jax.random.normal(jax.random.key(1), (1, 8, 4))
  module = tokens_lib.PatchDropout(0.25)
  apply = lambda x: module.apply({}, x, train=True, rngs={'dropout': jax.random.key(2)})
  kept = np.asarray(apply(tokens))[0]
  gradient = np.asarray(jax.grad(lambda x: (apply(x) ** 2).sum() / 2)(tokens))[0]
  where = [np.flatnonzero((np.asarray(tokens[0]) == row).all(axis=1))[0] for row in kept]
  want = np.zeros_like(gradient)
  want[where] = kept
  np.testing.assert_allclose(gradient, want, rtol=1e-6)
