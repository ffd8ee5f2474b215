"""The table of sizes against the published parameter trees, and its errors."""
import json
import pathlib
import re

from flax import traverse_util
import jax.numpy as jnp
import pytest

from vit_jax.errors import BadInput
from vit_jax.models import variants
from vit_jax.models import vit

PUBLISHED = json.loads(
    (pathlib.Path(__file__).parents[1] / 'golden/published_variants.json').read_text())


def flat_params(model, image_size):
  """Name -> abstract parameter."""
  return traverse_util.flatten_dict(variants.abstract_params(model, image_size), sep='/')


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_variant(name):
  row = PUBLISHED[name]
  model = variants.build(name, num_classes=1000)
  params = flat_params(model, 224)
  assert {key: list(leaf.shape) for key, leaf in params.items()} == row['params']
  assert {leaf.dtype for leaf in params.values()} == {jnp.dtype('float32')}
  assert vit.num_params(params) == row['num_params']
  assert variants.num_tokens(model, 224) == row['params'][
      'Transformer/posembed_input/pos_embedding'][1]
  rates = ('dropout_rate', 'attention_dropout_rate')
  assert [getattr(model, key) for key in rates] == [row['config']['transformer'][k] for k in rates]


# Encoder block of width D and MLP M: 4 D(D+1) + M(D+1) + D(M+1) + 4 D.
BLOCK_64, BLOCK_128 = 33_472, 132_480


@pytest.mark.parametrize('name, image_size, tokens, num_params', [
    # Convolution 9·3 -> 64, blocks, last norm, head of ten; fixed positions have no parameters.
    ('small-digits', 8, 64, 1792 + 2 * BLOCK_64 + 128 + 650),
    # Convolution 9·3 -> 64 and its norm, convolution 9·64 -> 128, blocks with a depthwise 9·128 each, norm, head.
    ('small-conv', 64, 256, 1792 + 128 + 73_856 + 2 * (BLOCK_128 + 1152) + 256 + 1290),
])
def test_our_variants_counted_by_hand(name, image_size, tokens, num_params):
  model = variants.build(name, num_classes=10, image_size=image_size)
  assert variants.num_tokens(model, image_size) == tokens
  assert vit.num_params(variants.abstract_params(model, image_size)) == num_params


def test_the_resnet_counted_by_hand_and_without_the_sizes_of_vits():
  model = variants.build('resnet-small', num_classes=10, image_size=32)
  # Stem 9·3 -> 32 and its norm; units of two convolutions, two norms and a shortcut; last norm; head.
  unit = lambda c, f: 9 * c * f + 9 * f * f + 2 * c + 2 * f + c * f
  assert vit.num_params(variants.abstract_params(model, 32)) == (
      28 * 32 + 64 + unit(32, 64) + unit(64, 128) + unit(128, 256) + 512 + 2570)
  assert (variants.num_tokens(model, 32), variants.stride(model)) == (0, 8)
  with pytest.raises(BadInput, match=r"model\.num_heads is a size of ViTs; resnet-small is none"):
    variants.build('resnet-small', num_classes=10, num_heads=4)
  with pytest.raises(BadInput, match=r'image_size=30 .* what a token covers, which is 8; try image_size=32$'):
    variants.build('resnet-small', num_classes=10, image_size=30)
  for channels in ((), (24,), (0, 16)):
    with pytest.raises(BadInput, match=r'model\.stem_channels=.* of a ResNet must end in a multiple of 16'):
      variants.build('resnet-small', num_classes=10, image_size=32, stem_channels=channels)


def test_overrides_replace_cells_and_none_leaves_them():
  changes = {'num_layers': 1, 'hidden_size': 9, 'classifier': 'gap', 'stem': 'conv',
             'stem_channels': (4,)}
  model = variants.build('ViT-Ti_16', num_classes=5, dtype=jnp.bfloat16, mlp_dim=None, **changes)
  want = dict(changes, mlp_dim=768, num_heads=3, patch_size=16, num_classes=5, dtype=jnp.bfloat16)
  assert {key: getattr(model, key) for key in want} == want


@pytest.mark.parametrize('name, changes, image_size', [
    ('ViT-S_16', {}, 30), ('ViT-S_16', {}, 3), ('ViT-S_16', {}, 0),
    ('ViT-S_16', {'stem': 'conv', 'patch_size': 2, 'stem_channels': (8,)}, 62),
    ('ViT-S_16', {'stem': 'conv', 'patch_size': 2, 'stem_channels': (8, 8)}, 28),
    ('R26+ViT-S_32', {}, 40), ('R+ViT-Ti_16', {}, 8)])
def test_image_size_error_suggests_one_that_works(name, changes, image_size):
  make = lambda size: variants.build(name, num_classes=2, image_size=size, num_layers=1, **changes)
  with pytest.raises(BadInput, match=f'image_size={image_size} ') as error:
    make(image_size)
  good = int(re.search(r'try image_size=(\d+)$', str(error.value)).group(1))
  assert abs(good - image_size) <= variants.stride(make(good))


def test_heads_error_suggests_heads_that_work():
  with pytest.raises(BadInput, match='num_heads=7 does not divide hidden_size=192') as error:
    variants.build('ViT-Ti_16', num_classes=2, num_heads=7)
  heads = [int(n) for n in re.search(r'these do: (.*)$', str(error.value)).group(1).split(',')]
  assert heads == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]


@pytest.mark.parametrize('name, hint', [
    ('vit-b_16', 'did you mean .*ViT-B_16'), ('ViT-B_61', 'did you mean .*ViT-B_16'),
    ('B/16', 'did you mean .*ViT-B_16'), ('R50', r'did you mean .*R50\+ViT-L_32'),
    ('xyz', 'known: ViT-Ti_16, .*ViT-H_14')])
def test_unknown_variant_lists_the_nearest(name, hint):
  with pytest.raises(BadInput, match=f"'{name}' is unknown; {hint}"):
    variants.build(name, num_classes=2)


@pytest.mark.parametrize('change, message', [
    ({'stem': 'konv'}, "model.stem 'konv' is unknown; did you mean conv"),
    ({'classifier': 'tokn'}, "model.classifier 'tokn' is unknown; did you mean token"),
    ({'classifier': 'zzz'}, "model.classifier 'zzz' is unknown; known: token, gap"),
    ({'posemb': 'sincos'}, "model.posemb 'sincos' is unknown; did you mean sincos2d"),
    ({'num_heads': 0}, 'model.num_heads=0 must be at least 1'),
    ({'patch_size': -2}, 'model.patch_size=-2 must be at least 1'),
    ({'hidden_size': 6, 'num_heads': 2, 'posemb': 'sincos2d'}, 'hidden_size=6 .*of 4.*try 4'),
])
def test_impossible_cells(change, message):
  with pytest.raises(BadInput, match=message):
    variants.build('ViT-S_16', num_classes=2, image_size=32, **change)
