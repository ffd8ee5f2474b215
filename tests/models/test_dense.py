"""Dense layers against Flax's own: parameters, answers and gradients."""
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import cpu
from vit_jax.models import dense

XAVIER = nn.initializers.xavier_uniform()


@pytest.mark.parametrize(('ours', 'flax', 'shape'), [
    (dense.Dense((3, 4)), nn.DenseGeneral((3, 4), kernel_init=XAVIER), (2, 5, 8)),
    (dense.Dense((8,), num_inputs=2), nn.DenseGeneral(8, axis=(-2, -1), kernel_init=XAVIER), (2, 5, 3, 4)),
    (dense.Dense((16,), bias_init=nn.initializers.normal(1.0)),
     nn.Dense(16, kernel_init=XAVIER, bias_init=nn.initializers.normal(1.0)), (2, 5, 8))])
def test_is_flaxs(ours, flax, shape):
  x = jax.random.normal(jax.random.key(1), shape)
  params, wanted = (model.init(jax.random.key(0), x)['params'] for model in (ours, flax))
  assert jax.tree.structure(params) == jax.tree.structure(wanted)
  jax.tree.map(np.testing.assert_array_equal, params, wanted)
  # Another bias than zero, and a loss that is not linear.
  params = jax.tree.map(lambda leaf: leaf + .1, params)
  loss = lambda model: lambda params, x: jnp.sum(jnp.sin(model.apply({'params': params}, x)))
  np.testing.assert_allclose(ours.apply({'params': params}, x), flax.apply({'params': params}, x), rtol=1e-6, atol=1e-6)
  found, right = (jax.jit(jax.grad(loss(model), argnums=(0, 1)))(params, x) for model in (ours, flax))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, right)


def test_output_is_scaled():
  x = jax.random.normal(jax.random.key(1), (2, 5, 8))
  params = jax.tree.map(lambda leaf: leaf + .1, dense.Dense((3, 4)).init(jax.random.key(0), x))
  plain, scaled = (dense.Dense((3, 4), scale=scale).apply(params, x) for scale in (1.0, .3))
  np.testing.assert_allclose(scaled, .3 * plain, rtol=1e-5, atol=1e-6)


def test_computes_in_its_type_and_keeps_its_parameters():
  model = dense.Dense((4,), dtype=jnp.bfloat16)
  variables = model.init(jax.random.key(0), jnp.ones((2, 3)))
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
  assert model.apply(variables, jnp.ones((2, 3))).dtype == jnp.bfloat16


class Residual(nn.Module):
  """Two layers, what comes in added to each of them: [B,T,D] -> [B,T,D]."""

  @nn.compact
  def __call__(self, x):
    for _ in range(2):
      x = dense.add(x, dense.Dense((x.shape[-1],), dtype=x.dtype)(x))
    return x


def test_adds():
  x, y = jax.random.normal(jax.random.key(1), (2, 3, 5, 8))
  np.testing.assert_array_equal(dense.add(x, y), x + y)


@pytest.mark.skipif(not cpu.has_onednn() or jax.default_backend() != 'cpu', reason='needs a jax with oneDNN')
def test_sum_is_computed_inside_the_product():
  x = jax.random.normal(jax.random.key(1), (32, 64, 128), jnp.bfloat16)
  params = Residual().init(jax.random.key(0), x)
  text = cpu.compile_fast(jax.jit(Residual().apply), params, x).as_text()
  assert text.count('"BINARY_ADD"') == 2
  assert 'bitcast_bitcast_fusion' not in text  # As XLA calls it where it copies what is added from shape to shape.
