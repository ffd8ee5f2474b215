"""FLOPs against a closed form, XLA's own count and the published number."""
import jax
import jax.numpy as jnp
import pytest

from vit_jax.models import flops
from vit_jax.models import variants

SMALL = dict(hidden_size=192, num_layers=2, num_heads=3, mlp_dim=500)
CONV = dict(SMALL, stem='conv', patch_size=2, classifier='gap')


def encoder_macs(tokens, width, layers, mlp):
  """Multiply-adds of the blocks: query, key, value and out; scores and their mix; the two MLP layers."""
  return layers * (4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * mlp)


def test_closed_form_of_linear_patches():
  model = variants.build('ViT-S_16', num_classes=7, **SMALL, representation_size=30)
  patches = 4 * 4 * (16 * 16 * 3) * 192
  macs = patches + encoder_macs(17, 192, 2, 500) + 192 * 30 + 30 * 7
  assert flops.flops_per_image(model, 64) == 2 * macs


def test_closed_form_of_the_conv_stem():
  model = variants.build('ViT-S_16', num_classes=10, **CONV, stem_channels=(8, 24))
  # Two 3×3 convolutions of stride 2 (64 -> 32 -> 16 pixels), a third to 8×8 tokens; no class token.
  stem = 32 * 32 * 27 * 8 + 16 * 16 * 72 * 24 + 8 * 8 * 216 * 192
  assert flops.flops_per_image(model, 64) == 2 * (stem + encoder_macs(64, 192, 2, 500) + 192 * 10)


@pytest.mark.parametrize('name, changes, size', [
    ('ViT-S_16', SMALL, 160),
    ('ViT-S_16', dict(CONV, stem_channels=(64, 128)), 96),
    ('R26+ViT-S_32', dict(num_layers=1, resnet_units=(1, 1)), 96)])
def test_xla_counts_a_few_percent_more(name, changes, size):
  model = variants.build(name, num_classes=10, **changes)
  params = variants.abstract_params(model, size)
  images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  forward = jax.jit(lambda params, images: model.apply({'params': params}, images, train=False))
  xla = forward.lower(params, images).cost_analysis()['flops']
  # XLA counts norms, GELU and softmax as well.
  assert 1 < xla / flops.flops_per_image(model, size) < 1.03


@pytest.mark.parametrize('name, gmacs', [
    ('ViT-Ti_16', 1.26), ('ViT-S_16', 4.6), ('ViT-B_16', 17.6), ('ViT-L_16', 61.6)])
def test_published_models(name, gmacs):
  # timm's table of results, at 224 pixels.
  model = variants.build(name, num_classes=1000)
  assert flops.flops_per_image(model, 224) == pytest.approx(2e9 * gmacs, rel=.01)


def test_products_inside_other_functions_count():
  inner = jax.checkpoint(lambda a, b: jax.jit(jnp.dot)(a, b))
  traced = jax.make_jaxpr(lambda a, b: inner(a, b) + inner(a, b))(jnp.ones((3, 5)), jnp.ones((5, 7)))
  assert flops.count(traced.jaxpr) == 2 * (2 * 3 * 5 * 7)


def test_dtype_changes_nothing():
  count = lambda dtype: flops.flops_per_image(variants.build('small-digits', num_classes=10, dtype=dtype), 8)
  assert count(jnp.bfloat16) == count(jnp.float32) > 0
