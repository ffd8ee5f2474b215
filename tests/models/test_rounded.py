"""Parameters that were rounded beforehand give the same answers."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import cpu
from vit_jax.models import resnet
from vit_jax.models import rounded
from vit_jax.models import vit

SIZES = dict(num_classes=3, patch_size=4, hidden_size=96, num_layers=2, num_heads=4, mlp_dim=384, dtype=jnp.bfloat16)
# Heads of 24 features: the query's scale is no power of two, so that rounding before it would be seen.
MODELS = {'paper': SIZES, 'distilled': SIZES | {'classifier': 'distilled', 'gelu': 'erf'},
          'small': SIZES | {'patch_size': 2, 'classifier': 'gap', 'stem': 'conv', 'stem_channels': (16,),
                            'conv_positions': True}}


def images():
  """Pictures, so many that oneDNN takes the products of the models."""
  return jax.random.uniform(jax.random.key(1), (32, 32, 32, 3), minval=-1, maxval=1)


def random_params(model):
  """Parameters none of which is zero."""
  params = model.init(jax.random.key(0), images(), train=False)['params']
  return jax.tree.map(lambda leaf: leaf + .05 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)


@pytest.mark.parametrize('name', MODELS)
def test_answers_are_the_same(name):
  model = vit.VisionTransformer(**MODELS[name])
  params = random_params(model)
  beforehand = rounded.rounded(params, model.dtype)
  types = [leaf.dtype for leaf in jax.tree.leaves(beforehand)]
  assert types.count(jnp.bfloat16) == 5 * model.num_layers  # Of a block, key, value, out and the MLP's two.
  answer = jax.jit(lambda params, images: model.apply({'params': params}, images, train=False))
  found, wanted = (cpu.compile_fast(answer, tree, images())(tree, images()) for tree in (beforehand, params))
  # Where it is not oneDNN that multiplies, XLA may leave out a rounding that is its own.
  exactly = cpu.has_onednn() and jax.default_backend() == 'cpu'
  np.testing.assert_allclose(found, wanted, rtol=0, atol=0 if exactly else .02)


def test_nothing_else_changes():
  model = vit.VisionTransformer(**SIZES)
  params = random_params(model)
  jax.tree.map(np.testing.assert_array_equal, rounded.rounded(params, jnp.float32), params)
  cnn = resnet.ResNet(num_classes=3, stem_channels=(16,), stage_features=(16,), num_units=1)
  params = cnn.init(jax.random.key(0), images(), train=False)['params']
  assert {leaf.dtype for leaf in jax.tree.leaves(rounded.rounded(params, jnp.bfloat16))} == {jnp.dtype('float32')}
