"""Attention, rollout and relevance against the same network written out in numpy float64, and against closed forms."""
import math

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.errors import BadInput
from vit_jax.explain import attention
from vit_jax.models import resnet
from vit_jax.models import variants
from vit_jax.models import vit

SIZES = dict(num_classes=3, patch_size=4, hidden_size=8, num_layers=2, num_heads=2, mlp_dim=12)
FRONT = {'token': 1, 'gap': 0, 'distilled': 2, 'gap+token': 1, 'token+dist': 2}

pytestmark = pytest.mark.slow


def build(**changes):
  return vit.VisionTransformer(**SIZES | changes)


def random_params(model, images):
  """Normal numbers in the shapes of the model's parameters: large enough that attention is far from even."""
  like = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))['params']
  rng = np.random.default_rng(1)
  return jax.tree.map(lambda leaf: rng.normal(0, .6, leaf.shape).astype(np.float32), like)


def pictures(count=2, height=8, width=12):
  return np.random.default_rng(0).uniform(-1, 1, (count, height, width, 3)).astype(np.float32)


def attend(model, params, images):
  """attention.attend, compiled."""
  return jax.jit(lambda *a: attention.attend(model, *a))(params, images)


def softmax(x):
  x = np.exp(x - x.max(axis=-1, keepdims=True))
  return x / x.sum(axis=-1, keepdims=True)


def layer_norm(x, p):
  return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * p['scale'] + p['bias']


def gelu(x):
  return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def by_hand(params, images, classifier='token', changes=(0, 0)):
  """The ViT of linear 4×4 patches and learned positions, f64: -> (logits [B,K], attention [L,B,H,T,T]).

  `changes` [L,B,H,T,T] are added to the attention of each layer; what comes after follows from the sum.
  """
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  b, height, width, _ = images.shape
  rows = [images[:, y:y + 4, x:x + 4].reshape(b, -1) for y in range(0, height, 4) for x in range(0, width, 4)]
  z = np.stack(rows, axis=1) @ params['embedding']['kernel'].reshape(48, -1) + params['embedding']['bias']
  front = [np.repeat(params[name], b, axis=0) for name in ('cls', 'dist')[:FRONT[classifier]]]
  z = np.concatenate([*front, z], axis=1)
  blocks = params['Transformer']
  z = z + blocks['posembed_input']['pos_embedding']
  maps = []
  for i in range(sum(name.startswith('encoderblock') for name in blocks)):
    block = blocks[f'encoderblock_{i}']
    msa, mlp = block['MultiHeadDotProductAttention_1'], block['MlpBlock_3']
    y = layer_norm(z, block['LayerNorm_0'])
    q, k, v = (np.einsum('btd,dhe->bhte', y, msa[n]['kernel']) + msa[n]['bias'][None, :, None]
               for n in ('query', 'key', 'value'))
    a = softmax(q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])) + changes[i]
    maps.append(a)
    z = z + np.einsum('bhte,hed->btd', a @ v, msa['out']['kernel']) + msa['out']['bias']
    y = layer_norm(z, block['LayerNorm_2'])
    hidden = gelu(y @ mlp['Dense_0']['kernel'] + mlp['Dense_0']['bias'])
    z = z + hidden @ mlp['Dense_1']['kernel'] + mlp['Dense_1']['bias']
  z = layer_norm(z, blocks['encoder_norm'])
  head = lambda x, name='head': x @ params[name]['kernel'] + params[name]['bias']
  if classifier == 'distilled':
    return (head(z[:, 0]) + head(z[:, 1], 'head_dist')) / 2, np.stack(maps)
  return head(z[:, len(front):].mean(axis=1) if 'gap' in classifier else z[:, 0]), np.stack(maps)


@pytest.mark.parametrize('classifier', FRONT)
def test_attention_is_that_of_the_network_written_out(classifier):
  model, images = build(classifier=classifier), pictures()
  params = random_params(model, images)
  logits, maps = attend(model, params, images)
  expected_logits, expected = by_hand(params, images, classifier)
  assert maps.shape == (2, 2, 2, 6 + FRONT[classifier], 6 + FRONT[classifier])
  np.testing.assert_allclose(maps, expected, atol=1e-5)
  np.testing.assert_allclose(logits, expected_logits, rtol=1e-4, atol=1e-5)
  assert np.abs(expected - 1 / maps.shape[-1]).max() > .3, 'attention must not be even, or the test says little'


def test_attention_is_what_flax_attends():
  tokens = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)
  ours, flax = vit.SelfAttention(3), nn.MultiHeadDotProductAttention(3)
  like = jax.eval_shape(lambda: flax.init(jax.random.key(0), tokens))['params']
  params = jax.tree.map(lambda leaf: np.random.default_rng(leaf.size).normal(size=leaf.shape), like)

  @jax.jit
  def both(params):
    return (ours.apply({'params': params}, tokens, train=False, mutable='intermediates')[1],
            flax.apply({'params': params}, tokens, sow_weights=True, mutable='intermediates')[1])
  seen, expected = both(params)
  np.testing.assert_allclose(seen['intermediates']['weights'][0], expected['intermediates']['attention_weights'][0],
                             atol=1e-6)


def test_a_model_in_bfloat16_is_looked_at_in_float32():
  model, images = build(), pictures()
  params = random_params(model, images)
  expected = attend(model, params, images)[1]
  np.testing.assert_array_equal(attend(model.clone(dtype=jnp.bfloat16), params, images)[1], expected)


@pytest.mark.parametrize('classifier', ['token', 'gap', 'distilled'])
def test_relevance_is_from_finite_differences_of_the_network_written_out(classifier):
  model, images = build(classifier=classifier), pictures(width=8)
  params = random_params(model, images)
  classes = np.array([[2, 0], [1, 1]])
  _, maps, related = jax.jit(lambda *a: attention.attend_and_relate(model, *a))(params, images, classes)
  a = by_hand(params, images, classifier)[1]
  np.testing.assert_allclose(maps, a, atol=1e-5)
  logits = lambda changes: by_hand(params, images, classifier, changes)[0]
  slopes, step = np.zeros((*a.shape, 3)), 1e-5  # [L,B,H,T,T,K]
  for index in np.ndindex(a.shape):
    change = np.zeros_like(a)
    change[index] = step
    slopes[index] = (logits(change) - logits(-change))[index[1]] / (2 * step)
  for c in range(2):
    for b in range(2):
      r = np.eye(a.shape[-1])
      for layer in range(2):
        r = r + np.mean(np.maximum(slopes[layer, b, ..., classes[b, c]] * a[layer, b], 0), axis=0) @ r
      np.testing.assert_allclose(related[c, b], r, rtol=1e-3, atol=1e-4)


def test_rollout_is_the_product_written_out():
  maps = softmax(2 * np.random.default_rng(0).normal(size=(3, 2, 4, 5, 5))).astype(np.float32)
  got = attention.rollout(maps)
  for b in range(2):
    layers = [(.5 * maps[i, b].mean(axis=0) + .5 * np.eye(5)) for i in range(3)]
    np.testing.assert_allclose(got[b], layers[2] @ layers[1] @ layers[0], atol=1e-6)
  np.testing.assert_allclose(got.sum(axis=-1), np.ones((2, 5)), atol=1e-6)


def test_rollout_of_even_attention_forgets_half_of_its_own_token_in_each_layer():
  even = np.full((4, 1, 2, 5, 5), 1 / 5, np.float32)
  np.testing.assert_allclose(attention.rollout(even)[0], np.eye(5) / 16 + (1 - 1 / 16) / 5, atol=1e-6)


@pytest.mark.parametrize('classifier, rows, front', [
    ('token', [0], 1), ('gap', [0, 1, 2, 3, 4, 5], 0), ('distilled', [0, 1], 2), ('gap+token', [1, 2, 3, 4, 5, 6], 1),
    ('token+dist', [0], 2)])
def test_the_map_is_of_the_tokens_that_the_head_reads(classifier, rows, front):
  t = 6 + front
  joint = np.random.default_rng(0).random((2, t, t))
  got = attention.on_grid(build(classifier=classifier), joint, (2, 3))
  expected = np.stack([np.mean([joint[b][row] for row in rows], axis=0)[front:] for b in range(2)])
  np.testing.assert_allclose(got.reshape(2, 6), expected)
  assert got[0, 1, 0] == expected[0][3]  # Row by row.


def test_relevance_leaves_out_what_each_patch_says_of_itself():
  related = np.eye(6)[None] + np.arange(36.).reshape(1, 6, 6)
  got = attention.relevance_map(build(classifier='gap'), related, (2, 3))
  np.testing.assert_allclose(got[0], [[15, 16, 17], [18, 19, 20]])


def test_distance_on_four_patches_by_hand():
  model = build(classifier='token')  # Patches of 4 pixels.
  even = np.full((2, 2, 4, 4), .25)
  even[0, 0] = np.eye(4)  # Only itself.
  even[0, 1] = np.eye(4)[[1, 0, 3, 2]]  # The other one in its row: 4 pixels.
  even[1, 0] = np.eye(4)[[3, 2, 1, 0]]  # The opposite one.
  expected = [[0, 4], [math.sqrt(32), (0 + 4 + 4 + math.sqrt(32)) / 4]]
  np.testing.assert_allclose(attention.distances(model, even, (2, 2)), expected, rtol=1e-6)


def test_between_patches_is_without_the_class_token():
  maps = np.array([[.5, .3, .2], [.2, .6, .2], [.8, .05, .15]])
  got = attention.between_patches(build(classifier='token'), maps)
  np.testing.assert_allclose(got, [[.75, .25], [.25, .75]])
  np.testing.assert_allclose(attention.between_patches(build(classifier='gap'), maps), maps, rtol=1e-6)


@pytest.mark.parametrize('name, size', [('small-conv', 16), ('small-conv_8', 32), ('medium-conv_8', 32),
                                        ('R+ViT-Ti_16', 64), ('ViT-Ti_16', 32)])
def test_every_kind_of_model_can_be_looked_at(name, size):
  model = variants.build(name, num_classes=2, num_layers=2)
  images = pictures(1, size, size)
  params = random_params(model, images)
  cells = attention.grid(model, images.shape)

  @jax.jit
  def look(params, images):
    logits, maps, related = attention.attend_and_relate(model, params, images, np.array([[0, 1]]))
    maps_of = attention.rollout_map(model, maps, cells), attention.relevance_map(model, related, cells)
    return logits, maps, *maps_of
  logits, maps, rolled, relevant = look(params, images)
  # All tokens are there, also of a model that drops some in training, and what is explained is what is answered.
  np.testing.assert_allclose(logits, model.apply({'params': params}, images, train=False), rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(maps.sum(axis=-1), np.ones(maps.shape[:-1]), rtol=1e-4)
  assert maps.shape[-1] == variants.num_tokens(model, size)
  assert rolled.shape == (1, *cells) and relevant.shape == (2, 1, *cells)
  assert np.all(relevant >= 0) and np.any(relevant > 0)


def test_nothing_is_left_in_init_nor_in_a_training_step():
  model, images = build(), pictures()
  variables = model.init(jax.random.key(0), images, train=False)
  assert variables.keys() == {'params'}
  program = lambda module: str(jax.make_jaxpr(lambda p, x: module.apply({'params': p}, x, train=True))(
      variables['params'], images))

  class Silent(vit.SelfAttention):
    """Which nobody can ask."""
    perturb = lambda self, name, value, **_: value
    sow = lambda *_, **__: False
  with pytest.MonkeyPatch.context() as patch:
    as_it_is = program(model)
    patch.setattr(vit, 'SelfAttention', Silent)
    assert program(model) == as_it_is


def test_what_cannot_be_explained():
  with pytest.raises(BadInput, match='a ResNet has no attention'):
    attention.attend(resnet.ResNet(2, (16,), 1), {}, pictures())
  with pytest.raises(BadInput, match='no classes'):
    attention.attend_and_relate(build(num_classes=0), {}, pictures(), np.zeros((2, 1), int))
  with pytest.raises(BadInput, match='image_size=10 is not a multiple of patch_size 4; try image_size=8'):
    attention.grid(build(), (10, 8, 3))
