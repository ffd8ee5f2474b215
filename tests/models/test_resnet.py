"""The residual network against Flax's own convolutions and norms."""
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.models import resnet
from vit_jax.models import variants

KEY = jax.random.key(0, impl='rbg')  # Compiles faster than the default.


@pytest.mark.parametrize('shape', [(2, 8, 8, 3), (1, 5, 7, 4), (3, 1, 1, 2)])
def test_nine_products_are_a_convolution(shape):
  x = jax.random.normal(KEY, shape)
  layer = resnet.Conv3x3(6)
  params = layer.init(KEY, x)
  expected = nn.Conv(6, (3, 3), use_bias=False).apply(params, x)
  np.testing.assert_allclose(layer.apply(params, x), expected, rtol=1e-4, atol=1e-5)


def randomised(params):
  """Normal numbers in the place of all parameters, so that zeros and ones hide nothing."""
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(KEY, len(leaves))
  return jax.tree.unflatten(tree, [jax.random.normal(k, x.shape) * .3 for k, x in zip(keys, leaves, strict=True)])


def plain(params, images, num_units):
  """The same network, written out with XLA's convolution."""
  conv = lambda name, x, stride=1: jax.lax.conv_general_dilated(
      x, name['kernel'], (stride, stride), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))

  def group_norm(p, x):
    groups = x.reshape(*x.shape[:3], -1, 16)
    mean, var = groups.mean((1, 2, 4), keepdims=True), groups.var((1, 2, 4), keepdims=True)
    return ((groups - mean) / jnp.sqrt(var + 1e-6)).reshape(x.shape) * p['scale'] + p['bias']

  x = conv(params['stem_conv_0'], images, 2) + params['stem_conv_0']['bias']
  x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)
  x = jax.nn.gelu(x * params['stem_norm_0']['scale'] + params['stem_norm_0']['bias'])
  for stage in range(2):
    if stage:
      b, h, w, c = x.shape
      x = x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))
    for unit in range(num_units):
      p = params[f'stage{stage}_unit{unit}']
      y = jnp.maximum(group_norm(p['norm_0'], x), 0)
      shortcut = y @ p['shortcut']['kernel'] if 'shortcut' in p else x
      y = conv(p['conv_0'], y)
      x = shortcut + conv(p['conv_1'], jnp.maximum(group_norm(p['norm_1'], y), 0))
  x = jnp.maximum(group_norm(params['norm'], x), 0).mean((1, 2))
  return x @ params['head']['kernel'] + params['head']['bias']


def test_is_the_network_that_it_says():
  model = resnet.ResNet(num_classes=5, stage_features=(16, 32), num_units=2, stem_channels=(16,))
  images = jax.random.normal(KEY, (2, 16, 16, 3))
  shapes = jax.eval_shape(lambda: model.init(KEY, images, train=False))['params']
  params = randomised(shapes)
  found = jax.jit(lambda params, images: model.apply({'params': params}, images, train=True))(params, images)
  want = jax.jit(lambda params, images: plain(params, images, num_units=2))(params, images)
  np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)


def test_starts_without_an_opinion_and_gives_features_without_classes():
  images = jnp.ones((2, 32, 32, 3))
  make = lambda num_classes: variants.build('resnet-small', num_classes=num_classes, image_size=32)
  first = lambda model: jax.jit(lambda: model.init_with_output(KEY, images, train=False)[0])()
  logits = first(make(10))
  np.testing.assert_array_equal(logits, np.zeros((2, 10)))
  features = first(make(0))
  assert features.shape == (2, 256) and features.dtype == jnp.float32
