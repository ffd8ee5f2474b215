"""The optimizers against rates by hand, AdamW in numpy, and singular value decompositions."""
import functools

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import contrib
import pytest

from vit_jax import muon
from vit_jax import optim
from vit_jax.errors import BadInput
from vit_jax.models import variants

BLOCK = 'Transformer/encoderblock_0/'
ATTENTION = BLOCK + 'MultiHeadDotProductAttention_1/'
MATRICES = {ATTENTION + f'{name}/kernel' for name in ('query', 'key', 'value', 'out')} | {
    BLOCK + f'MlpBlock_3/Dense_{i}/kernel' for i in (0, 1)}
DECAYED = MATRICES | {'embedding/kernel', 'head/kernel'}


@functools.cache
def shapes():
  """The parameters of a real model: one block of width 8, two heads, MLP of 32."""
  model = variants.build('ViT-Ti_16', num_classes=3, patch_size=4, num_layers=1, hidden_size=8,
                         num_heads=2, mlp_dim=32)
  return variants.abstract_params(model, 8)


def tree(seed, size=1.0):
  """Normal numbers times `size` in those shapes."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda leaf: size * rng.normal(size=leaf.shape).astype(np.float32), shapes())


def flat(params):
  """Parameters by name."""
  return traverse_util.flatten_dict(params, sep='/')


def make(params, **changes):
  """make_optimizer with numbers that leave nothing out."""
  settings = {'name': 'adamw', 'peak_lr': 0.01, 'muon_lr': 0.05, 'weight_decay': 0.1,
              'warmup_steps': 0, 'total_steps': 100, 'grad_clip': 0.0}
  return optim.make_optimizer(params, **{**settings, **changes})


def first_update(params, gradients, **changes):
  """What the first step adds to each parameter, by name."""
  tx, _ = make(params, **changes)
  return flat(jax.jit(lambda g, p: tx.update(g, tx.init(p), p)[0])(gradients, params))


def test_decay_mask_names_the_kernels():
  mask = flat(optim.decay_mask(tree(0)))
  assert {name for name, on in mask.items() if on} == DECAYED
  assert {'cls', 'head/bias', 'Transformer/encoder_norm/scale',
          'Transformer/posembed_input/pos_embedding'} < {n for n, on in mask.items() if not on}
  assert not optim.decay_mask({'cls': 0, 'dist': 0})['dist']


@pytest.mark.parametrize('step, fraction', [
    (0, 0), (5, 0.5), (10, 1), (35, (1 + np.sqrt(0.5)) / 2), (60, 0.5), (110, 0), (500, 0)])
def test_rate_by_hand(step, fraction):
  _, rate = make(tree(0), peak_lr=0.02, warmup_steps=10, total_steps=110)
  np.testing.assert_allclose(rate(step), 0.02 * fraction, atol=1e-9)


def test_no_warmup_starts_at_the_peak():
  np.testing.assert_allclose(make(tree(0))[1](0), 0.01)


@pytest.mark.parametrize('grad_clip', [0.0, 1.0])
def test_three_steps_equal_adamw_in_closed_form(grad_clip):
  params = tree(0)
  # Large, then small: what the first step clips must be seen in the moments of the later ones.
  gradients = [tree(1, size=1.0), tree(2, size=0.01), tree(3, size=0.1)]
  tx, rate = make(params, grad_clip=grad_clip, warmup_steps=2, total_steps=10)
  state, step = tx.init(params), jax.jit(tx.update)
  p = {name: leaf.astype(np.float64) for name, leaf in flat(params).items()}
  m, v = dict.fromkeys(p, 0.0), dict.fromkeys(p, 0.0)
  for t, gradient in enumerate(gradients):
    updates, state = step(gradient, state, params)
    params = jax.tree.map(np.add, params, updates)
    g = flat(gradient)
    norm = np.sqrt(sum(np.sum(leaf.astype(np.float64)**2) for leaf in g.values()))
    scale = grad_clip / norm if grad_clip and norm > grad_clip else 1.0
    for name in p:
      m[name] = 0.9 * m[name] + 0.1 * scale * g[name]
      v[name] = 0.999 * v[name] + 0.001 * (scale * g[name])**2
      direction = (m[name] / (1 - 0.9**(t + 1))) / (np.sqrt(v[name] / (1 - 0.999**(t + 1))) + 1e-8)
      p[name] -= rate(t) * (direction + 0.1 * p[name] * (name in DECAYED))
  for name, leaf in flat(params).items():
    np.testing.assert_allclose(leaf, p[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize('name', ['adamw', 'muon'])
def test_without_gradient_only_the_kernels_shrink(name):
  params = tree(0)
  updates = first_update(params, jax.tree.map(np.zeros_like, params), name=name)
  for key, leaf in flat(params).items():
    rate = 0.05 if name == 'muon' and key in MATRICES else 0.01
    want = -rate * 0.1 * leaf if key in DECAYED else 0 * leaf
    np.testing.assert_allclose(updates[key], want, rtol=1e-5, atol=0, err_msg=key)


def as_matrix(name, leaf):
  """A block's kernel as inputs × outputs, heads folded."""
  inputs = leaf.shape[0] * leaf.shape[1] if '/out/' in name else leaf.shape[0]
  return np.reshape(leaf, (inputs, -1))


@pytest.mark.parametrize('dtype, atol', [('float32', 1e-4), ('bfloat16', 0.05)])
def test_muon_orthogonalises_the_matrices_of_the_blocks(dtype, atol):
  params, gradients = tree(0), flat(tree(1))
  for name in MATRICES:  # Singular values far apart, but none too weak for five iterations.
    u, _, vt = np.linalg.svd(as_matrix(name, gradients[name]), full_matrices=False)
    gradients[name] = (u * np.geomspace(1, 20, u.shape[1]) @ vt).reshape(gradients[name].shape)
  updates = first_update(params, traverse_util.unflatten_dict(gradients, sep='/'), name='muon',
                         weight_decay=0.0, dtype=jnp.dtype(dtype))
  for name in MATRICES:
    assert updates[name].dtype == np.float32
    u, _, vt = np.linalg.svd(as_matrix(name, gradients[name]), full_matrices=False)
    scale = -0.05 * np.sqrt(max(1, vt.shape[1] / u.shape[0]))
    # Newton-Schulz is loose: it brings each singular value somewhere between 0.5 and 1.5.
    values = u.T @ as_matrix(name, updates[name]) @ vt.T / scale
    assert np.all(np.abs(values - np.eye(len(values))) < 0.5), name
    np.testing.assert_allclose(as_matrix(name, updates[name]) / scale, u @ values @ vt, atol=atol)


def test_muon_in_stacks_equals_muon_matrix_by_matrix():
  model = variants.build('ViT-Ti_16', num_classes=3, patch_size=4, num_layers=3, hidden_size=8, num_heads=2, mlp_dim=32)
  rng = np.random.default_rng(0)
  params, first, second = (jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32),
                                        variants.abstract_params(model, 8)) for _ in range(3))
  matrices = {name: as_matrix(name, leaf) for name, leaf in flat(params).items()
              if 'block' in name and 'kernel' in name}
  assert len(matrices) == 3 * 6
  # optax's own, on plain matrices that it takes one after the other.
  plain, stacked = contrib.muon(0.05, weight_decay=0.1), make(params, name='muon', total_steps=10**6)[0]
  plain_state, state = plain.init(matrices), stacked.init(params)
  for gradients in (first, second):
    folded = {name: as_matrix(name, flat(gradients)[name]) for name in matrices}
    want, plain_state = jax.jit(plain.update)(folded, plain_state, matrices)
    updates, state = jax.jit(stacked.update)(gradients, state, params)
    for name in matrices:
      np.testing.assert_allclose(as_matrix(name, flat(updates)[name]), want[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_convolution_is_a_matrix_to_muon():
  params = variants.abstract_params(variants.build('resnet-small', num_classes=10), 32)
  matrices = {'/'.join(path): shape for path, shape in muon.matrices(params).items()}
  assert matrices == {
      f'stage{i}_unit0/{name}/kernel': shape for i, (c, f) in enumerate([(32, 64), (64, 128), (128, 256)])
      for name, shape in [('conv_0', (9 * c, f)), ('conv_1', (9 * f, f)), ('shortcut', (c, f))]}


def test_a_convolution_between_blocks_is_a_matrix_of_as_many_inputs_as_its_side():
  shapes = muon.matrices(variants.abstract_params(variants.build('small-conv', num_classes=2), 32))
  assert shapes['Transformer', 'encoderblock_0', 'ConvPositions', 'kernel'] == (3, 3 * 128)


def test_muon_leaves_the_rest_to_adamw():
  params, gradients = tree(0), tree(1)
  mixed, adamw = (first_update(params, gradients, name=name) for name in ('muon', 'adamw'))
  for name in flat(params):
    same = np.allclose(mixed[name], adamw[name], rtol=1e-6, atol=0)
    assert same == (name not in MATRICES), name


def test_sgd_is_momentum_written_out():
  params = tree(0)
  tx, rate = make(params, name='sgd', peak_lr=0.1, weight_decay=0.01)
  state, want = tx.init(params), flat(params)
  momentum = dict.fromkeys(want, 0.0)
  for step in range(3):
    gradients = tree(step + 1)
    updates, state = tx.update(gradients, state, params)
    params = optax.apply_updates(params, updates)
    for name, gradient in flat(gradients).items():
      momentum[name] = 0.9 * momentum[name] + gradient + (0.01 * want[name] if name in DECAYED else 0)
      want[name] = want[name] - float(rate(step)) * momentum[name]
  for name, leaf in flat(params).items():
    np.testing.assert_allclose(leaf, want[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_rates_fall_from_block_to_block():
  model = variants.build('ViT-Ti_16', num_classes=3, patch_size=4, num_layers=3, hidden_size=8, num_heads=2, mlp_dim=32,
                         representation_size=8)
  params = variants.abstract_params(model, 8)
  found = flat(optim.layer_rates(params, 0.5))
  want = {'head/bias': 1, 'pre_logits/kernel': 1 / 2, 'Transformer/encoder_norm/scale': 1 / 2,
          'embedding/kernel': 1 / 16, 'cls': 1 / 16, 'Transformer/posembed_input/pos_embedding': 1 / 16} | {
              f'Transformer/encoderblock_{i}/LayerNorm_0/scale': 2.0 ** (i - 3) for i in range(3)}
  assert {name: found[name] for name in want} == want
  assert set(found.values()) == {1, 1 / 2, 1 / 4, 1 / 8, 1 / 16}
  with pytest.raises(BadInput, match='this model has no encoder blocks'):
    optim.layer_rates(variants.abstract_params(variants.build('resnet-small', num_classes=3), 32), 0.5)


def test_both_heads_of_deit_have_the_heads_rate():
  model = variants.build('ViT-Ti_16', num_classes=3, patch_size=4, num_layers=1, hidden_size=8, num_heads=2, mlp_dim=32,
                         classifier='distilled')
  found = flat(optim.layer_rates(variants.abstract_params(model, 8), 0.0))
  assert {name for name, rate in found.items() if rate} == {
      'head/kernel', 'head/bias', 'head_dist/kernel', 'head_dist/bias'}


@pytest.mark.parametrize('name', ['adamw', 'muon', 'sgd'])
def test_updates_are_scaled_and_with_none_the_head_alone_moves(name):
  params, gradients = tree(0), tree(1)
  whole, half, head = (first_update(params, gradients, name=name, layer_decay=decay) for decay in (1.0, 0.5, 0.0))
  rates = flat(optim.layer_rates(params, 0.5))
  for path, update in whole.items():
    np.testing.assert_allclose(half[path], rates[path] * update, rtol=1e-6)
    np.testing.assert_array_equal(head[path], update if path.startswith('head') else 0 * update)


@pytest.mark.parametrize('change, message', [
    ({'name': 'adam'}, "optim.name 'adam' is unknown; did you mean adamw"),
    ({'layer_decay': 1.5}, 'optim.layer_decay=1.5 must be from 0, where the head alone learns, to 1'),
    ({'peak_lr': -1.0}, 'optim.lr=-1.0 must be'),
    ({'muon_lr': np.inf}, 'optim.muon_lr=inf must be'),
    ({'weight_decay': np.nan}, 'optim.weight_decay=nan must be'),
    ({'grad_clip': -0.5}, 'optim.grad_clip=-0.5 must be'),
    ({'warmup_steps': 100}, '100 warm-up steps do not fit into 100 steps'),
    ({'warmup_steps': -1}, '-1 warm-up steps'), ({'total_steps': 0}, 'do not fit into 0 steps')])
def test_errors(change, message):
  with pytest.raises(BadInput, match=message):
    make(tree(0), **change)
