"""What stands before the encoder, held against XLA's and Flax's own convolutions."""
import re

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.errors import BadInput
from vit_jax.models import stem

KEY = jax.random.key(0, impl='rbg')  # Compiles faster than the default.


def random_array(*shape, seed=0):
  """Normal numbers f32[shape]."""
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_same_function(module, oracle, params, x):
  """Two modules agree on one parameter tree: output, gradients by parameters and by input."""
  def outcome(m):
    loss = lambda params, x: (lambda y: (jnp.sum(jnp.sin(y)), y))(m.apply({'params': params}, x))
    (_, y), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)
    return y, gradients
  close = lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
  jax.tree.map(close, outcome(module), outcome(oracle))


def random_params(module, x):
  """Random numbers in the shapes of the module's parameters."""
  shapes = jax.eval_shape(module.init, KEY, x)['params']
  return jax.tree.map(lambda leaf: random_array(*leaf.shape, seed=leaf.size), shapes)


def conv(kernel, x, stride, padding):
  """XLA's convolution: f32[k,k,C,D], f32[B,H,W,C] -> f32[B,h,w,D]."""
  return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding,
                                      dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def test_patchify_is_a_loop_over_rows_and_columns():
  images, p = random_array(2, 6, 4, 3), 2
  patches = stem.patchify(images, p)
  for b in range(2):
    want = [images[b, y:y + p, x:x + p].ravel() for y in range(0, 6, p) for x in range(0, 4, p)]
    np.testing.assert_array_equal(patches[b], want)


def test_patchify_is_a_convolution_with_the_identity():
  images, p = random_array(2, 8, 12, 3), 4
  identity = np.eye(p * p * 3, dtype=np.float32).reshape(p, p, 3, -1)
  want = conv(identity, images, p, 'VALID').reshape(2, 6, -1)
  np.testing.assert_allclose(stem.patchify(images, p), want, atol=1e-6)


@pytest.mark.parametrize('kernel_size, stride, size, use_bias', [
    (4, 4, (8, 12), True), (4, 4, (8, 12), False), (3, 2, (8, 6), True), (3, 2, (7, 9), True),
    (3, 2, (8, 7), False), (3, 2, (1, 2), True), (5, 3, (7, 8), True)])
def test_patch_embedding_is_a_convolution(kernel_size, stride, size, use_bias):
  x = random_array(2, *size, 3)
  padding = 'VALID' if kernel_size == stride else 'SAME'
  module = stem.PatchEmbedding(5, kernel_size, stride, use_bias=use_bias)
  oracle = nn.Conv(5, (kernel_size,) * 2, stride, padding, use_bias=use_bias)
  assert_same_function(module, oracle, random_params(oracle, x), x)


@pytest.mark.parametrize('size', [(6, 8), (8, 6), (3, 8)])
def test_patchify_suggests_a_size_that_works(size):
  bad = next(pixels for pixels in size if pixels % 4)
  with pytest.raises(BadInput, match=f'image_size={bad} .*patch_size=4') as error:
    stem.patchify(random_array(1, *size, 3), 4)
  good = int(re.search(r'try image_size=(\d+)$', str(error.value)).group(1))
  assert good > 0
  assert stem.patchify(random_array(1, good, good, 3), 4).shape == (1, (good // 4)**2, 48)


class ConvStem(nn.Module):
  """The stem in a scope of its own."""

  @nn.compact
  def __call__(self, x):
    return stem.conv_stem(x, channels=(4, 6), dtype=jnp.float32)


class FlaxConvStem(nn.Module):
  """The same out of Flax's layers."""

  @nn.compact
  def __call__(self, x):
    for i, features in enumerate((4, 6)):
      x = nn.Conv(features, (3, 3), strides=2, padding='SAME', name=f'stem_conv_{i}')(x)
      x = nn.gelu(nn.LayerNorm(name=f'stem_norm_{i}')(x))
    return x


def test_conv_stem_is_convolution_norm_gelu():
  x = random_array(2, 7, 10, 3)
  assert_same_function(ConvStem(), FlaxConvStem(), random_params(FlaxConvStem(), x), x)


@pytest.mark.parametrize('kernel_size, stride, size', [(3, 1, 6), (3, 2, 7), (7, 2, 8), (1, 2, 6)])
def test_std_conv_is_a_convolution_with_a_standardised_kernel(kernel_size, stride, size):
  x, kernel = random_array(2, size, size, 3), 3 * random_array(kernel_size, kernel_size, 3, 5) + 1
  flat = kernel.reshape(-1, 5).astype(np.float64)
  standard = (flat - flat.mean(0)) / flat.std(0)
  got = stem.StdConv(5, kernel_size, stride).apply({'params': {'kernel': kernel}}, x)
  want = conv(standard.reshape(kernel.shape).astype(np.float32), x, stride, 'SAME')
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_residual_unit_starts_as_the_identity():
  x = random_array(2, 3, 3, 128)  # As wide as its output, 4 * 32: the shortcut needs no projection.
  y, variables = jax.jit(stem.ResidualUnit(32).init_with_output)(KEY, x)
  assert 'conv_proj' not in variables['params']
  np.testing.assert_array_equal(y, np.maximum(x, 0))


@pytest.mark.parametrize('module', [
    stem.PatchEmbedding(5, 4, 4, dtype=jnp.bfloat16), stem.StdConv(5, 3, dtype=jnp.bfloat16)])
def test_bfloat16_is_near_float32_and_keeps_its_parameters(module):
  x = random_array(2, 8, 8, 3)
  y, variables = jax.jit(module.init_with_output)(KEY, x)
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
  assert y.dtype == jnp.bfloat16
  # bfloat16 rounds to 8 bits, 0.4 %: sums of such products stay within 2 % of the largest.
  want = module.clone(dtype=jnp.float32).apply(variables, x)
  np.testing.assert_allclose(y.astype(jnp.float32), want, atol=0.02 * np.abs(want).max())
