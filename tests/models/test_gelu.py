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
  found = jax.vjp(lambda x: gelu_lib.gelu(x, True), x)[0]
  assert found.dtype == jnp.bfloat16
  np.testing.assert_array_equal(found, gelu_lib.gelu(x.astype(jnp.float32), True).astype(jnp.bfloat16))


@pytest.mark.skipif(jax.default_backend() != 'cpu', reason='so on a CPU')
@pytest.mark.parametrize('approximate', [False, True])
def test_without_a_gradient_bfloat16_is_given_the_function_itself(approximate):
  x = jnp.asarray(X, jnp.bfloat16)
  found, exact = gelu_lib.gelu(x, approximate), np.asarray(x, np.float64) * stats.norm.cdf(np.asarray(x, np.float64))
  np.testing.assert_allclose(np.asarray(found, np.float64), exact, rtol=2**-8, atol=2e-6)  # 8 bits, rounded
  approximation = gelu_lib.gelu(x.astype(jnp.float32), True)
  assert 4e-4 < np.abs(approximation - exact).max() < 5e-4


def test_backward_keeps_the_input_alone():
  _, pullback = jax.vjp(lambda x: gelu_lib.gelu(x, True), jnp.asarray(X, jnp.bfloat16))
  assert [leaf.dtype for leaf in jax.tree.leaves(pullback)] == [jnp.bfloat16]


@pytest.mark.skipif(not cpu.has_onednn() or jax.default_backend() != 'cpu', reason='needs a jax with oneDNN')
@pytest.mark.parametrize(('dtype', 'name'), [(jnp.float32, 'GELU_TANH'), (jnp.bfloat16, 'GELU_ERF')])
def test_it_is_computed_inside_the_product(dtype, name):
  product = jax.jit(lambda x, kernel: gelu_lib.gelu(x @ kernel, True))
  compiled = cpu.compile_fast(product, jnp.ones((512, 192), dtype), jnp.ones((192, 768), dtype))
  assert name in compiled.as_text()


@pytest.mark.skipif(not cpu.has_onednn() or jax.default_backend() != 'cpu', reason='needs a jax with oneDNN')
@pytest.mark.parametrize('approximate', [False, True])
def test_behind_a_product_gradients_are_those_without_onednn(approximate):
  # With a barrier in the backward pass alone XLA gave it GELU(x) for x.
  rng = np.random.default_rng(0)
  shapes = [(512, 192), (192, 768), (768, 192)]
  x, kernel, last = (jnp.asarray(rng.normal(0, .2, shape), jnp.float32) for shape in shapes)
  loss = lambda x, kernel, last: ((gelu_lib.gelu(x @ kernel, approximate) @ last) ** 2).mean()
  gradients = jax.jit(jax.grad(loss, (0, 1, 2)))
  found = cpu.compile_fast(gradients, x, kernel, last)(x, kernel, last)
  for ours, wanted in zip(found, gradients(x, kernel, last), strict=True):
    np.testing.assert_allclose(ours, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.skipif(not cpu.has_onednn() or jax.default_backend() != 'cpu', reason='needs a jax with oneDNN')
def test_compiled_too_it_keeps_its_input_alone():
  def memory(gelu):
    def loss(x, kernels):
      for kernel in kernels:
        x = gelu(x @ kernel) @ kernel.T
      return (x ** 2).mean()
    arrays = jnp.ones((512, 64), jnp.bfloat16), [jnp.ones((64, 256), jnp.bfloat16)] * 8
    return cpu.compile_fast(jax.jit(jax.grad(loss, 1)), *arrays).memory_analysis().temp_size_in_bytes
  # Kept are x and its GELU, 16 bits each; Flax's keeps 32 bits of tanh beside them.
  flaxs = lambda x: nn.gelu(x.astype(jnp.float32)).astype(x.dtype)
  assert memory(lambda x: gelu_lib.gelu(x, True)) < 0.7 * memory(flaxs)
