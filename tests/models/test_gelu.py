"""GELU against scipy's normal distribution, finite differences, and Flax."""
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vit_jax import cpu
from vit_jax.models import gelu as gelu_lib

X = np.linspace(-6, 6, 241)


def test_exact_is_x_times_the_normal_distribution():
  found = gelu_lib.gelu(jnp.asarray(X, jnp.float32), False)
  np.testing.assert_allclose(found, X * stats.norm.cdf(X), atol=2e-6)


@pytest.mark.parametrize('approximate', [False, True])
def test_gradient_is_what_finite_differences_say(approximate):
  found = jax.grad(lambda x: gelu_lib.gelu(x, approximate).sum())(jnp.asarray(X, jnp.float32))
  exact = lambda x: x * stats.norm.cdf(x)
  by_tanh = lambda x: x * .5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + .044715 * x ** 3)))
  f = by_tanh if approximate else exact
  np.testing.assert_allclose(found, (f(X + 1e-5) - f(X - 1e-5)) / 2e-5, atol=3e-6)


def test_approximation_is_flaxs():
  found = gelu_lib.gelu(jnp.asarray(X, jnp.float32), True)
  np.testing.assert_allclose(found, nn.gelu(jnp.asarray(X, jnp.float32), approximate=True), atol=1e-6)


def test_bfloat16_is_rounded_once():
  x = jnp.asarray(X, jnp.bfloat16)
  found = gelu_lib.gelu(x, True)
  assert found.dtype == jnp.bfloat16
  np.testing.assert_array_equal(found, gelu_lib.gelu(x.astype(jnp.float32), True).astype(jnp.bfloat16))


def test_backward_keeps_the_input_alone():
  _, pullback = jax.vjp(lambda x: gelu_lib.gelu(x, True), jnp.asarray(X, jnp.bfloat16))
  assert [leaf.dtype for leaf in jax.tree.leaves(pullback)] == [jnp.bfloat16]


@pytest.mark.skipif(not cpu.has_onednn() or jax.default_backend() != 'cpu', reason='needs a jax with oneDNN')
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_it_is_computed_inside_the_product(dtype):
  product = jax.jit(lambda x, kernel: gelu_lib.gelu(x @ kernel, True))
  compiled = cpu.compile_fast(product, jnp.ones((512, 192), dtype), jnp.ones((192, 768), dtype))
  assert 'GELU_TANH' in compiled.as_text()
