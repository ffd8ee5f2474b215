"""Sizes and the formula, against numbers worked out by hand."""
import pytest

from vit_jax.benchmarks import setting
from vit_jax.errors import BadInput

Setting = setting.Setting


def test_the_formula():
  # 2 pictures, 3 blocks; a block on 4 tokens of width 8: 12·4·64 + 2·16·8 multiply-adds.
  assert Setting('train', batch_size=2, depth=3, tokens=4, width=8).theory() == 3 * 2 * 2 * 3 * (3072 + 256)


@pytest.mark.parametrize(('width', 'heads'), [(16, 1), (128, 2), (192, 3), (384, 6), (200, 2)])
def test_heads_have_about_64_features(width, heads):
  assert Setting('train', width=width).num_heads == heads


def test_names():
  assert Setting('product', 'bfloat16').name == 'matrix product, bfloat16'
  assert Setting('train', way='step').name == 'vit_jax step, float32'
  assert Setting('train', framework='torch', way='eager').name == 'torch eager, float32, pages kept'
  assert Setting('train', framework='torch', way='eager', keep_pages=False).name == 'torch eager, float32'


def test_tokens_are_a_square():
  assert Setting('train', tokens=256).image_size == 64
  setting.check_tokens(256)
  with pytest.raises(BadInput, match='--tokens=200 is no square, as those of square pictures are; try 196'):
    setting.check_tokens(200)
