"""The 3×3 depthwise convolution: Flax's grouped convolution is the oracle."""
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.models import depthwise


@pytest.mark.parametrize(('dtype', 'rtol'), [('float32', 1e-5), ('bfloat16', 2**-8)])
def test_it_and_its_gradients_are_those_of_a_grouped_convolution(dtype, rtol):
  rng = np.random.default_rng(0)
  x, kernel, back = (jnp.asarray(rng.normal(size=shape), dtype) for shape in [(2, 4, 5, 6), (3, 3, 6), (2, 4, 5, 6)])

  def grouped(x, kernel):
    conv = nn.Conv(6, (3, 3), feature_group_count=6, use_bias=False, precision='highest')
    return conv.apply({'params': {'kernel': kernel[:, :, None]}}, x)

  def seen(function, *arguments):
    found, pull = jax.vjp(function, *arguments[:2])
    return found, *pull(arguments[2])
  want = seen(grouped, *(array.astype(jnp.float32) for array in (x, kernel, back)))
  for found, expected in zip(jax.jit(lambda: seen(depthwise.depthwise, x, kernel, back))(), want, strict=True):
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(jnp.float32), expected, rtol=rtol, atol=1e-5)
