"""Attention between tokens: Flax's function is the oracle."""
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.models import attention
from vit_jax.models import vit


def arrays(dtype=np.float32):
  """Queries, keys, values, and a gradient that comes back: [B,T,heads,D_h] each."""
  rng = np.random.default_rng(0)
  return tuple(jnp.asarray(rng.normal(size=(2, 7, 3, 8)), dtype) for _ in range(4))


def seen(function, q, k, v, back):
  """The output and all gradients."""
  found, pull = jax.vjp(function, q, k, v)
  return found, *pull(back)


def flaxs(q, k, v):
  """Flax divides the queries itself."""
  return nn.dot_product_attention(q * np.sqrt(q.shape[-1]), k, v)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(jnp.float32, 1e-5), (jnp.bfloat16, .03)])
def test_it_and_its_gradients_are_flaxs(dtype, tolerance):
  wanted = jax.jit(lambda *a: seen(flaxs, *a))(*(array.astype(jnp.float32) for array in arrays(dtype)))
  for found, expected in zip(jax.jit(lambda *a: seen(attention.attend, *a))(*arrays(dtype)), wanted, strict=True):
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=tolerance * np.abs(expected).max())


def test_backward_keeps_one_number_for_each_pair_of_tokens():
  _, pull = jax.vjp(attention.attend, *arrays(jnp.bfloat16)[:3])
  pairs = [leaf for leaf in jax.tree.leaves(pull) if leaf.shape == (2, 3, 7, 7)]
  assert [leaf.dtype for leaf in pairs] == [jnp.bfloat16]


@pytest.mark.parametrize('collection', ['intermediates', 'perturbations'])
def test_where_the_weights_are_asked_for_the_answer_is_the_same(collection):
  module = vit.SelfAttention(2)
  x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
  params = module.init(jax.random.key(0), x, train=False)
  answer, found = module.apply(params, x, train=False, mutable=collection)
  assert [leaf.shape for leaf in jax.tree.leaves(found)] == [(2, 2, 5, 5)]
  np.testing.assert_allclose(module.apply(params, x, train=False), answer, atol=1e-6)


def test_dropped_weights_are_others():
  module = vit.SelfAttention(2, dropout_rate=.5)
  x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
  params = module.init(jax.random.key(0), x, train=False)
  rngs = {'dropout': jax.random.key(1)}
  dropped = module.apply(params, x, train=True, rngs=rngs)
  assert np.abs(dropped - module.apply(params, x, train=False)).max() > .01
