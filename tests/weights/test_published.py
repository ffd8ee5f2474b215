"""big_vision's names and older files are the published ones in other words."""
import pathlib
import re

import numpy as np
import pytest

from vit_jax.errors import BadInput
from vit_jax.weights import load
from vit_jax.weights import sizes

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
BLOCK = 'Transformer/encoderblock_'


def golden(name='token'):
  return dict(np.load(GOLDEN / f'{name}_weights.npz'))


def read_npz(folder, flat):
  np.savez(folder / 'w.npz', **flat)
  return load.read(folder / 'w.npz')


def as_big_vision(flat):
  """The same weights as big_vision numbers them."""
  numbers = {'MultiHeadDotProductAttention_1': 'MultiHeadDotProductAttention_0', 'LayerNorm_2': 'LayerNorm_1',
             'MlpBlock_3': 'MlpBlock_0', 'Transformer/posembed_input/pos_embedding': 'pos_embedding'}
  return {re.sub('|'.join(numbers), lambda match: numbers[match[0]], name): leaf for name, leaf in flat.items()}


def in_one_stack(flat):
  """The same with both blocks in one array, as big_vision's scan keeps them."""
  stacked = {name.replace(f'{BLOCK}0', f'{BLOCK[:-1]}'): np.stack([leaf, flat[name.replace('_0', '_1', 1)]])
             for name, leaf in flat.items() if name.startswith(f'{BLOCK}0')}
  return {name: leaf for name, leaf in flat.items() if not name.startswith(BLOCK)} | stacked


def with_prefix(prefix, **more):
  return lambda flat: {f'{prefix}{name}': leaf for name, leaf in flat.items()} | more


@pytest.mark.parametrize('change', [
    lambda flat: flat, as_big_vision, in_one_stack, lambda flat: in_one_stack(as_big_vision(flat)),
    with_prefix('params/', **{'opt/0/mu/cls': np.zeros(3), 'opt/step': np.zeros(())}),
    with_prefix('params/img/', **{'params/txt/head/kernel': np.zeros(3), 'params/t': np.zeros(1)}),
    lambda flat: with_prefix('img/', **{'txt/head/kernel': np.zeros(3)})(as_big_vision(flat))])
def test_big_visions_names_are_read(tmp_path, change):
  flat, description, about = read_npz(tmp_path, change(golden()))
  assert flat.keys() == golden().keys() and about.startswith('a ViT of Flax')
  for name, leaf in golden().items():
    np.testing.assert_array_equal(flat[name], leaf)
  assert (description['sizes']['gelu'], description['sizes']['norm_eps']) == ('tanh', 1e-6)


def test_positions_without_one_for_the_class_token_have_zero_for_it(tmp_path):
  positions = golden()[sizes.POSITIONS]
  flat, _, _ = read_npz(tmp_path, as_big_vision(golden()) | {'pos_embedding': positions[:, 1:]})
  np.testing.assert_array_equal(flat[sizes.POSITIONS], np.concatenate([0 * positions[:, :1], positions[:, 1:]], 1))


def test_a_model_without_learned_positions_has_sine_and_cosine(tmp_path):
  gap = {name: leaf for name, leaf in golden('gap').items() if name != sizes.POSITIONS}
  _, description, _ = read_npz(tmp_path, gap)
  assert (description['sizes']['posemb'], description['preprocessing']['image_size']) == ('sincos2d', 224)


def test_older_hybrids_have_wider_norms(tmp_path):
  old = {name: leaf[None, None, None] if '/gn' in name or name.startswith('gn') else leaf
         for name, leaf in golden('hybrid').items()}
  assert any(old[name].ndim == 4 and leaf.ndim == 1 for name, leaf in golden('hybrid').items())
  flat, description, _ = read_npz(tmp_path, old)
  assert all(np.array_equal(flat[name], leaf) and flat[name].shape == leaf.shape
             for name, leaf in golden('hybrid').items())
  assert description['sizes']['resnet_units'] == (1, 1)


def test_a_part_under_both_names_is_refused(tmp_path):
  part = {name.replace('LayerNorm_2', 'LayerNorm_1'): leaf for name, leaf in golden().items() if 'LayerNorm_2' in name}
  with pytest.raises(BadInput, match='under two names, the published one and that of big_vision'):
    read_npz(tmp_path, golden() | part)
