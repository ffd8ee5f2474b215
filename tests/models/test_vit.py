"""The model against Flax's attention, against numbers of the original ViT code, and by hand."""
import json
import math
import pathlib

from flax import linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from vit_jax import cpu
from vit_jax import losses
from vit_jax.errors import BadInput
from vit_jax.models import tokens as tokens_lib
from vit_jax.models import variants
from vit_jax.models import vit

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
# Those that start from another case's weights are tests/weights/test_parity.py's.
CASES = {name: case for name, case in json.loads((GOLDEN / 'cases.json').read_text()).items() if 'weights' not in case}
KEY = jax.random.key(0, impl='rbg')  # Compiles faster than the default.


def golden(name, **changes):
  """A case of tests/golden: its model with `changes`, parameters, recorded numbers."""
  case = CASES[name]
  resnet = case.get('resnet')
  fields = dict(
      case['transformer'], num_classes=case['num_classes'], patch_size=case['patches']['size'][0],
      hidden_size=case['hidden_size'], classifier=case['classifier'],
      representation_size=case['representation_size'] or 0, stem='resnet' if resnet else 'linear',
      resnet_units=tuple(resnet['num_layers']) if resnet else ())
  model = vit.VisionTransformer(**{**fields, **changes})
  flat = dict(np.load(GOLDEN / f'{name}_weights.npz'))
  params = traverse_util.unflatten_dict(flat, sep='/')
  return model, params, dict(np.load(GOLDEN / f'{name}_io.npz'))


def forward(model, params, images, **more):
  """model.apply on bare parameters, compiled."""
  train = more.pop('train', False)
  return jax.jit(lambda p, x: model.apply({'params': p}, x, train=train, **more))(params, images)


def assert_relative(got, want, tolerance):
  """The largest error is at most `tolerance` of the largest value."""
  assert got.shape == want.shape
  assert np.abs(got - want).max() <= tolerance * np.abs(want).max()


def random_tokens(*shape):
  """Normal numbers f32[shape]."""
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def shapes(module, x, **more):
  """The parameters that the module would make, as shapes and dtypes."""
  return jax.eval_shape(lambda key: module.init(key, x, **more)['params'], KEY)


def random_params(module, x, **more):
  """Normal numbers in the shapes of the module's parameters."""
  return jax.tree.map(lambda leaf: random_tokens(*leaf.shape), shapes(module, x, **more))


@pytest.mark.parametrize('name', CASES)
def test_forward_equals_the_original_code(name):
  model, params, recorded = golden(name)
  logits, state = forward(model, params, recorded['image'], capture_intermediates=True,
                          mutable='intermediates')
  inside = state['intermediates']
  seen = {**inside['Transformer'], 'embedding': inside['embedding'],
          'logits': {'__call__': [logits]}}
  for key in ('embedding', 'encoderblock_0', 'encoder_norm', 'logits'):
    assert_relative(seen[key]['__call__'][0], recorded[key], 1e-5)


@pytest.mark.parametrize('name', ['token', 'gap', 'token_representation'])
def test_without_classes_it_gives_features(name):
  model, params, recorded = golden(name, num_classes=0)
  tokens = recorded['encoder_norm']
  want = tokens.mean(axis=1) if name == 'gap' else tokens[:, 0]
  if name == 'token_representation':
    want = np.tanh(want @ params['pre_logits']['kernel'] + params['pre_logits']['bias'])
  assert_relative(forward(model, params, recorded['image']), want, 1e-5)


def test_bfloat16_model_is_near_float32_and_keeps_its_parameters():
  model, params, recorded = golden('token', dtype=jnp.bfloat16)
  fresh = jax.tree.leaves(shapes(model, recorded['image'], train=False))
  assert {leaf.dtype for leaf in fresh} == {jnp.dtype('float32')}
  logits = forward(model, params, recorded['image'])
  assert logits.dtype == jnp.float32
  # Each rounding to bfloat16 costs up to 0.4 %; two blocks of them stay within 3 %.
  assert_relative(logits, recorded['logits'], 0.03)
  features = forward(model.clone(num_classes=0), params, recorded['image'])
  assert features.dtype == jnp.float32


def test_fresh_head_knows_nothing():
  model, _, recorded = golden('token', num_layers=0)
  init = lambda key: model.init_with_output(key, recorded['image'], train=False)
  logits, _ = jax.jit(init)(KEY)
  np.testing.assert_array_equal(logits, np.zeros((3, 10)))
  loss = losses.cross_entropy(logits, np.eye(10, dtype=np.float32)[[0, 4, 9]])
  np.testing.assert_allclose(loss, [math.log(10)] * 3, rtol=1e-7)


@pytest.mark.parametrize('num_heads, width', [(1, 4), (3, 12)])
def test_attention_equals_flax(num_heads, width):
  oracle = nn.MultiHeadDotProductAttention(num_heads)
  attention = vit.SelfAttention(num_heads)
  x = random_tokens(2, 5, width)
  params = {'params': random_params(oracle, x)}
  towards = np.cos(random_tokens(2, 5, width))

  @jax.jit
  def compare(params, x):
    got, got_vjp = jax.vjp(lambda p, x: attention.apply(p, x, train=False), params, x)
    want, want_vjp = jax.vjp(oracle.apply, params, x)
    return (got, got_vjp(towards)), (want, want_vjp(towards))
  # The key's bias has a gradient of zero: what is found there is rounding.
  close = lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-4, atol=5e-5)
  jax.tree.map(close, *compare(params, x))


@pytest.mark.parametrize('block', [vit.SelfAttention, vit.MlpBlock])
def test_dropout_keeps_the_mean(block):
  # Both outputs are linear in what is dropped, so that the mean over draws is the output without.
  module, x = block(2, dropout_rate=0.3), np.tile(random_tokens(1, 3, 4), (4000, 1, 1))
  params = random_params(module, x, train=False)
  draws = forward(module, params, x, train=True, rngs={'dropout': KEY})
  spread = draws.std(axis=0)
  assert np.all(spread > 0)
  error = np.abs(draws.mean(axis=0) - forward(module, params, x[:1])[0])
  assert np.all(error < 5 * spread / math.sqrt(4000))


@pytest.mark.parametrize('field', ['dropout_rate', 'attention_dropout_rate'])
def test_each_dropout_rate_reaches_its_place(field):
  # At rate one nothing passes: no token, or no value vector.
  model, params, recorded = golden('token', **{field: 1.0})
  images = recorded['image']
  got = forward(model, params, images, train=True, rngs={'dropout': KEY})
  if field == 'attention_dropout_rate':
    flat = traverse_util.flatten_dict(params)
    none = {path: 0 * leaf if 'value' in path else leaf for path, leaf in flat.items()}
    want = forward(model, traverse_util.unflatten_dict(none), images)
  else:
    norm, head = params['Transformer']['encoder_norm'], params['head']
    want = np.tile(norm['bias'] @ head['kernel'] + head['bias'], (3, 1))
  assert_relative(got, want, 1e-5)


def test_encoder_block_drops_both_residual_branches():
  x = random_tokens(1, 3, 4)
  block = vit.EncoderBlock(2, 8, dropout_rate=1.0)
  params = random_params(block, x, train=False)
  np.testing.assert_array_equal(forward(block, params, x, train=True, rngs={'dropout': KEY}), x)


@pytest.mark.parametrize('gelu', ['tanh', 'erf'])
def test_gelu_is_the_one_named(gelu):
  x, block = 3 * random_tokens(2, 5, 4), vit.MlpBlock(8, gelu=gelu)
  params = random_params(block, x, train=False)
  dense = lambda x, name: x @ params[name]['kernel'] + params[name]['bias']
  hidden = dense(x, 'Dense_0')
  # Hendrycks & Gimpel 2016, equation 1 and the approximation after it.
  inner = {'erf': special.erf(hidden / math.sqrt(2)),
           'tanh': np.tanh(math.sqrt(2 / math.pi) * (hidden + .044715 * hidden**3))}[gelu]
  assert_relative(forward(block, params, x), dense(hidden / 2 * (1 + inner), 'Dense_1'), 1e-5)


def norm(x, params, eps):
  """LayerNorm by hand."""
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
  return x * params['scale'] + params['bias']


def test_norms_have_the_epsilon_named():
  x = random_tokens(2, 5, 4)
  encoder = vit.Encoder(0, num_heads=1, mlp_dim=4, learned_positions=False, norm_eps=.5)
  params = random_params(encoder, x, train=False)
  assert_relative(forward(encoder, params, x), norm(x, params['encoder_norm'], .5), 1e-5)


@pytest.mark.parametrize('pool_first', [False, True])
def test_the_mean_leaves_out_a_token_in_front(pool_first):
  # With one block, what comes before the last norm is on record.
  model, params, recorded = golden('token', num_layers=1, num_classes=0, classifier='gap+token', pool_first=pool_first)
  patches, last = recorded['encoderblock_0'][:, 1:], params['Transformer']['encoder_norm']
  want = norm(patches.mean(1), last, 1e-6) if pool_first else norm(patches, last, 1e-6).mean(1)
  assert_relative(forward(model, params, recorded['image']), want, 1e-5)


def test_a_distilled_model_has_two_heads():
  # A distillation token that equals the class token, at its position, answers as it does.
  model, params, recorded = golden('token', classifier='distilled')
  positions = params['Transformer']['posembed_input']
  positions['pos_embedding'] = positions['pos_embedding'][:, [0, *range(17)]]
  params |= {'dist': params['cls'], 'head_dist': jax.tree.map(lambda leaf: 3 * leaf, params['head'])}
  both = forward(model, params, recorded['image'], train=True)
  assert_relative(both[1], 3 * both[0], 1e-5)
  assert_relative(forward(model, params, recorded['image']), both.mean(axis=0), 1e-5)
  assert variants.num_tokens(model, 32) == 18


@pytest.mark.parametrize(('change', 'message'), [
    ({'gelu': 'erv'}, "model.gelu 'erv' is unknown; did you mean erf"), ({'norm_eps': 0.0}, 'norm_eps=0.0 must be'),
    ({'pool_first': True}, "model.pool_first needs model.classifier='gap'; with 'token' nothing is pooled")])
def test_fields_that_cannot_be(change, message):
  with pytest.raises(BadInput, match=message):
    variants.build('ViT-S_16', num_classes=2, **change)


@pytest.mark.parametrize('name', ['token', 'gap'])
def test_sincos_model_is_the_learned_one_with_those_positions(name):
  model, params, recorded = golden(name)
  images = recorded['image'][:, :16, :24]  # Not square: 2×3 patches.
  table = tokens_lib.sincos2d_positions(2, 3, 48)
  if name == 'token':
    table = np.concatenate([np.zeros((1, 1, 48)), table], axis=1)  # None for the class token.
  params['Transformer']['posembed_input'] = {'pos_embedding': table}
  want = forward(model, params, images)
  del params['Transformer']['posembed_input']
  fixed = model.clone(posemb='sincos2d')
  assert_relative(forward(fixed, params, images), want, 1e-5)
  assert 'posembed_input' not in shapes(fixed, images, train=False)['Transformer']


def test_heads_must_divide_the_width():
  match = '(?m)num_heads=5 .*hidden_size=12; these do: 1, 2, 3, 4, 6, 12$'
  with pytest.raises(BadInput, match=match):
    shapes(vit.SelfAttention(5), random_tokens(1, 2, 12), train=False)


def test_patches_are_dropped_after_the_first_blocks_convolution():
  sizes = dict(num_classes=3, patch_size=2, hidden_size=8, num_layers=2, num_heads=2, mlp_dim=16, classifier='gap',
               posemb='sincos2d', conv_positions=True)
  images = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
  dropping = vit.VisionTransformer(**sizes, patch_dropout=0.5)
  params = dropping.init(jax.random.key(1), images, train=False)['params']
  blocks = params['Transformer']
  assert 'ConvPositions' in blocks['encoderblock_0'] and 'ConvPositions' not in blocks['encoderblock_1']
  _, seen = dropping.apply({'params': params}, images, train=True, rngs={'dropout': jax.random.key(2)},
                           capture_intermediates=True)
  seen = seen['intermediates']['Transformer']
  assert seen['encoderblock_0']['ConvPositions']['__call__'][0].shape == (2, 16, 8)
  assert seen['encoderblock_1']['__call__'][0].shape == (2, 8, 8)


def test_stochastic_depth_leaves_out_whole_pictures_and_keeps_the_mean():
  x = np.ones((4000, 2, 3), np.float32)
  kept = tokens_lib.StochasticDepth(0.25).apply({}, x, train=True, rngs={'dropout': KEY})
  np.testing.assert_allclose(np.unique(kept), [0, 4 / 3], rtol=1e-6)
  assert np.all(kept == kept[:, :1, :1])
  assert abs(np.mean(kept) - 1) < 5 * np.sqrt(1 / 3 / 4000)  # The variance of one is p / (1 - p).
  np.testing.assert_array_equal(tokens_lib.StochasticDepth(0.25).apply({}, x, train=False), x)


def test_the_last_block_is_left_out_most_and_the_first_never():
  sizes = dict(num_classes=3, patch_size=4, hidden_size=8, num_heads=2, mlp_dim=16)
  images = jax.random.normal(KEY, (2, 8, 8, 3))
  model = vit.VisionTransformer(**sizes, num_layers=2, drop_path_rate=0.999999)
  params = random_params(model, images, train=False)
  shorter = {**params, 'Transformer': {key: value for key, value in params['Transformer'].items() if key[-1] != '1'}}
  want = forward(vit.VisionTransformer(**sizes, num_layers=1), shorter, images)
  assert_relative(forward(model, params, images, train=True, rngs={'dropout': KEY}), want, 1e-5)


def test_the_rate_of_being_left_out_grows_evenly_from_block_to_block():
  model = vit.VisionTransformer(num_classes=3, patch_size=4, hidden_size=8, num_heads=2, mlp_dim=16, num_layers=3,
                                drop_path_rate=0.6)
  images = jnp.zeros((1, 8, 8, 3))
  params = random_params(model, images, train=False)
  rates = []
  def note(call, args, options, context):
    if isinstance(context.module, tokens_lib.StochasticDepth):
      rates.append(context.module.rate)
    return call(*args, **options)
  with nn.intercept_methods(note):
    forward(model, params, images, train=True, rngs={'dropout': KEY})
  assert rates == pytest.approx([0, 0, .3, .3, .6, .6])  # Of attention and MLP of each block.


@pytest.mark.skipif(not cpu.has_onednn() or jax.default_backend() != 'cpu', reason='needs a jax with oneDNN')
@pytest.mark.parametrize('changes', [{}, dict(stem='conv', stem_channels=(48,), patch_size=4, conv_positions=True)])
def test_gradients_through_onednn_are_those_without(changes):
  # Large enough that oneDNN is asked, with whatever it puts inside its products.
  sizes = dict(num_classes=5, patch_size=4, hidden_size=192, num_layers=2, num_heads=3, mlp_dim=768, classifier='gap')
  model = vit.VisionTransformer(**sizes | changes)
  rng = np.random.default_rng(0)
  images = rng.uniform(-1, 1, (8, 32, 32, 3)).astype(np.float32)
  params = jax.tree.map(lambda leaf: leaf + rng.normal(0, .05, leaf.shape).astype(np.float32),
                        jax.jit(lambda: model.init(KEY, images, train=False))()['params'])
  gradients = jax.jit(jax.grad(lambda params: (model.apply({'params': params}, images, train=True) ** 2).sum()))
  compiled = cpu.compile_fast(gradients, params)
  assert '__onednn$matmul' in compiled.as_text()
  # The key's bias has a gradient of zero: what is found there is rounding.
  close = lambda got, want: np.testing.assert_allclose(got, want, atol=1e-4 * max(np.abs(want).max(), 1))
  jax.tree.map(close, compiled(params), gradients(params))
