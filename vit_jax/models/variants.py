"""A table: name -> sizes. `build` makes a checked model of a row.

The first rows are published models, under their published names; the last are the reduced sizes that this
project trains from scratch on small pictures. Any cell can be overridden by config
(`--config.model.num_layers=3`).
"""
from collections.abc import Mapping
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from vit_jax.errors import BadInput
from vit_jax.errors import choose
from vit_jax.models import resnet
from vit_jax.models import tokens
from vit_jax.models import vit
from vit_jax.types import Params

Model = vit.VisionTransformer | resnet.ResNet
# A row of the table: fields of a model.
Sizes = Mapping[str, Any]

# Sizes of the encoder: table 1 of the paper; Ti and S are Touvron et al.'s (2021).
_SIZES = {
    'Ti': dict(hidden_size=192, num_layers=12, num_heads=3, mlp_dim=768),
    'S': dict(hidden_size=384, num_layers=12, num_heads=6, mlp_dim=1536),
    'B': dict(hidden_size=768, num_layers=12, num_heads=12, mlp_dim=3072),
    'L': dict(hidden_size=1024, num_layers=24, num_heads=16, mlp_dim=4096),
    'H': dict(hidden_size=1280, num_layers=32, num_heads=16, mlp_dim=5120),
}


def _published(size: str, patch_size: int, **more: Any) -> Sizes:
  return dict(_SIZES[size], patch_size=patch_size, **more)


VARIANTS = {
    'ViT-Ti_16': _published('Ti', 16),
    'ViT-S_16': _published('S', 16),
    'ViT-S_32': _published('S', 32),
    'ViT-B_8': _published('B', 8),
    'ViT-B_16': _published('B', 16),
    'ViT-B_32': _published('B', 32),
    'ViT-L_16': _published('L', 16, dropout_rate=0.1),
    'ViT-L_32': _published('L', 32),
    'ViT-H_14': _published('H', 14, dropout_rate=0.1),
    'ViT-S_16-gap-norep': _published('S', 16, classifier='gap'),
    'ViT-S_32-gap-norep': _published('S', 32, classifier='gap'),
    'ViT-B_16-gap-norep': _published('B', 16, classifier='gap'),
    'ViT-B_32-gap-norep': _published('B', 32, classifier='gap'),
    # Hybrids: patch_size counts cells of the stem's feature map, which is 4, 16 or 32 times smaller.
    'R+ViT-Ti_16': _published('Ti', 8, stem='resnet'),
    'R26+ViT-S_32': _published('S', 1, stem='resnet', resnet_units=(2, 2, 2, 2)),
    'R26+ViT-B_32': _published('B', 1, stem='resnet', resnet_units=(2, 2, 2, 2)),
    'R50+ViT-B_16': _published('B', 1, stem='resnet', resnet_units=(3, 4, 9), dropout_rate=0.1),
    'R50+ViT-L_32': _published('L', 1, stem='resnet', resnet_units=(3, 4, 6, 3), dropout_rate=0.1),
    # Ours. With stem='conv' the patch embedding is a 3×3 convolution, and patch_size its stride.
    'small-digits': dict(hidden_size=64, num_layers=2, num_heads=4, mlp_dim=128, patch_size=1, classifier='gap',
                         posemb='sincos2d', stem='conv'),
    'small-conv': dict(hidden_size=128, num_layers=2, num_heads=4, mlp_dim=256, patch_size=2, classifier='gap',
                       posemb='sincos2d', conv_positions=True, stem='conv', stem_channels=(64,)),
    # The same for pictures of 64×64 pixels: a token for 8×8 of them.
    'small-conv_8': dict(hidden_size=128, num_layers=2, num_heads=4, mlp_dim=256, patch_size=2, classifier='gap',
                         posemb='sincos2d', conv_positions=True, stem='conv', stem_channels=(32, 64)),
    'medium-conv_8': dict(hidden_size=192, num_layers=6, num_heads=6, mlp_dim=384, patch_size=2, classifier='gap',
                          posemb='sincos2d', conv_positions=True, patch_dropout=0.5, stem='conv',
                          stem_channels=(32, 64)),
    # Not a ViT but what it is measured against, of about the cost of small-conv behind the same stem.
    'resnet-small': dict(stage_features=(64, 128, 256), num_units=1, stem_channels=(32,)),
    # A teacher for pictures of 64×64: 17 M parameters.
    'resnet-large': dict(stage_features=(128, 256, 512), num_units=3, stem_channels=(64,)),
}


def make(sizes: Sizes, *, num_classes: int, dtype: DTypeLike) -> Model:
  """The model of these sizes, unchecked: a VisionTransformer, or a ResNet where they are those of one."""
  kind = resnet.ResNet if 'stage_features' in sizes else vit.VisionTransformer
  return kind(**sizes, num_classes=num_classes, dtype=dtype)


def build(name: str | None, *, num_classes: int, image_size: int | None = None, dtype: DTypeLike = jnp.float32,
          row: Sizes | None = None, **overrides: Any) -> Model:
  """Makes the model called `name`, or of the sizes `row`; `overrides` replace cells of the row (None leaves them).

  With `image_size` (pixels) the model is also traced on one picture of that size, without computing
  anything. Raises BadInput for an unknown name and for sizes that do not fit together.
  """
  row = row or VARIANTS[choose(name, VARIANTS, 'model.variant')]
  sizes = {**row, **{key: value for key, value in overrides.items() if value is not None}}
  if 'stage_features' in sizes:
    if wrong := sizes.keys() - row.keys():
      raise BadInput(f'model.{min(wrong)} is a size of ViTs; {name or "the model of these weights"} is none')
    channels = sizes['stem_channels']
    if not channels or any(count < 1 for count in channels) or channels[-1] % resnet.GROUP_SIZE:
      raise BadInput(f'model.stem_channels={channels} of a ResNet must end in a multiple of {resnet.GROUP_SIZE}')
    model = make(sizes, num_classes=num_classes, dtype=dtype)
  else:
    model = make_vit(sizes, num_classes=num_classes, dtype=dtype)
  if image_size is not None:
    check_image_size(model, image_size)
    abstract_params(model, image_size)
  return model


def make_vit(sizes: Sizes, *, num_classes: int, dtype: DTypeLike) -> vit.VisionTransformer:
  """The VisionTransformer of these sizes; raises BadInput where they do not fit together."""
  choose(sizes.get('stem', 'linear'), ('linear', 'conv', 'resnet'), 'model.stem')
  choose(sizes.get('classifier', 'token'), vit.CLASSIFIERS, 'model.classifier')
  choose(sizes.get('posemb', 'learned'), ('learned', 'sincos2d'), 'model.posemb')
  choose(sizes.get('gelu', 'tanh'), ('tanh', 'erf'), 'model.gelu')
  for key in ('hidden_size', 'num_layers', 'num_heads', 'mlp_dim', 'patch_size'):
    if sizes[key] < 1:
      raise BadInput(f'model.{key}={sizes[key]} must be at least 1')
  for key in ('dropout_rate', 'attention_dropout_rate', 'patch_dropout', 'drop_path_rate'):
    if not 0 <= sizes.get(key, 0.0) < 1:
      raise BadInput(f'model.{key}={sizes[key]} must be at least 0 and less than 1')
  model = vit.VisionTransformer(**sizes, num_classes=num_classes, dtype=dtype)
  if model.representation_size < 0:
    raise BadInput(f'model.representation_size={model.representation_size} must be at least 0')
  if model.norm_eps <= 0:
    raise BadInput(f'model.norm_eps={model.norm_eps} must be more than 0')
  if model.pool_first and vit.CLASSIFIERS[model.classifier][1] != 'mean':
    raise BadInput(f"model.pool_first needs model.classifier='gap'; with {model.classifier!r} nothing is pooled")
  vit.check_heads(model.hidden_size, model.num_heads)
  if model.posemb == 'sincos2d':
    tokens.check_sincos2d(model.hidden_size)
  return model


def stride(model: Model) -> int:
  """Pixels along each side that a token stands for, or a cell of a ResNet's last grid."""
  if isinstance(model, resnet.ResNet):
    return 2 ** (len(model.stem_channels) + len(model.stage_features) - 1)
  stem = {'linear': 1, 'conv': 2 ** len(model.stem_channels),
          'resnet': 4 * 2 ** max(len(model.resnet_units) - 1, 0)}[model.stem]
  return stem * model.patch_size


def check_image_size(model: Model, image_size: int) -> None:
  """Raises BadInput where `image_size` (pixels) does not divide into whole tokens, naming the nearest that does."""
  pixels = stride(model)
  if image_size < 1 or image_size % pixels:
    near = max(round(image_size / pixels), 1) * pixels
    linear = isinstance(model, vit.VisionTransformer) and model.stem == 'linear'
    patch = 'patch_size' if linear else 'what a token covers, which is'
    raise BadInput(f'image_size={image_size} is not a multiple of {patch} {pixels}; try image_size={near}')


@functools.cache
def abstract_params(model: Model, image_size: int) -> Params:
  """The parameter tree as shapes and dtypes only: nothing is computed, no memory is taken."""
  images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
  init = lambda images: model.init(jax.random.key(0), images, train=False)['params']
  return jax.eval_shape(init, images)


def num_tokens(model: Model, image_size: int) -> int:
  """Tokens of one picture in the encoder, T: the grid and what stands in front of it; 0 in a ResNet."""
  if isinstance(model, resnet.ResNet):
    return 0
  return math.prod([image_size // stride(model)] * 2) + len(vit.CLASSIFIERS[model.classifier][0])
