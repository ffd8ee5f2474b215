"""LayerNorm: Flax's is the oracle, and the formula in float64."""
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import cpu
from vit_jax.models import norm

SHAPE = (3, 5, 48)


def arrays(shape=SHAPE):
  """Tokens, scale, bias, and a gradient that comes back."""
  rng = np.random.default_rng(0)
  like = lambda *shape: rng.normal(1, 2, shape).astype(np.float32)
  return like(*shape), like(shape[-1]), like(shape[-1]), like(*shape)


def seen(function, x, scale, bias, back):
  """The output and all gradients."""
  found, pull = jax.vjp(function, x, scale, bias)
  return found, *pull(back.astype(found.dtype))


def in_float64(x, scale, bias, back, epsilon):
  """The same by the formula, and its gradients by the chain rule through the Jacobian of one token."""
  x, scale, bias, back = (array.astype(np.float64) for array in (x, scale, bias, back))
  width = x.shape[-1]
  deviation = np.sqrt(x.var(-1, keepdims=True) + epsilon)
  normal = (x - x.mean(-1, keepdims=True)) / deviation
  jacobian = (np.eye(width) - 1 / width - normal[..., :, None] * normal[..., None, :] / width) / deviation[..., None]
  of_x = np.einsum('...i,...ij->...j', back * scale, jacobian)
  return normal * scale + bias, of_x, (back * normal).sum((0, 1)), back.sum((0, 1))


@pytest.mark.parametrize('epsilon', [1e-6, .5])
def test_it_and_its_gradients_are_the_formulas(epsilon):
  found = jax.jit(lambda *a: seen(lambda x, s, b: norm.normalize(x, s, b, epsilon, jnp.float32), *a))(*arrays())
  for number, (ours, theirs) in enumerate(zip(found, in_float64(*arrays(), epsilon), strict=True)):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-5, err_msg=str(number))


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_module_has_flaxs_parameters_and_numbers(dtype):
  x, scale, bias, back = arrays()
  x = jnp.asarray(x, dtype)
  ours, flaxs = norm.LayerNorm(1e-6, dtype), nn.LayerNorm(1e-6, dtype=dtype)
  shapes = [jax.tree.map(jnp.shape, module.init(jax.random.key(0), x)) for module in (ours, flaxs)]
  assert shapes[0] == shapes[1]
  of = lambda module: lambda x, scale, bias: module.apply({'params': {'scale': scale, 'bias': bias}}, x)
  found, wanted = (jax.jit(lambda *a, module=module: seen(of(module), *a))(x, scale, bias, back)
                   for module in (ours, flaxs))
  assert [leaf.dtype for leaf in found] == [leaf.dtype for leaf in wanted]
  # In bfloat16 Flax's gradient is rounded on the way, and ours at the end alone.
  exact = in_float64(*(np.asarray(array, np.float32) for array in (x, scale, bias, back.astype(dtype))), 1e-6)
  for mine, number in zip(found, exact, strict=True):
    np.testing.assert_allclose(mine.astype(jnp.float32), number, rtol={2: 2**-8, 4: 1e-5}[x.dtype.itemsize], atol=2e-5)


@pytest.mark.skipif(not cpu.has_onednn() or jax.default_backend() != 'cpu', reason='needs a jax with oneDNN')
def test_a_training_leaves_the_forward_pass_to_onednn():
  normalize = lambda x, scale, bias: norm.normalize(x, scale, bias, 1e-6, jnp.bfloat16)
  x, scale, bias, back = arrays((4, 64, 192))
  compiled = cpu.compile_fast(jax.jit(lambda *a: seen(normalize, *a)), jnp.asarray(x, jnp.bfloat16), scale, bias, back)
  assert '__onednn$layernorm' in compiled.as_text()
