"""A small residual network: what a ViT is measured against, and what may teach one."""
import functools
import operator
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vit_jax.models import shifts
from vit_jax.models import stem

GROUP_SIZE = 16  # channels that a GroupNorm takes together


class Conv3x3(nn.Module):
  """`nn.Conv` of 3×3, stride 1, SAME, no bias, as nine matrix products: [B,H,W,C] -> [B,H,W,F].

  The kernel, f32[3,3,C,F], is `nn.Conv`'s, and so are the numbers in float32; in bfloat16 each of the nine is rounded.
  On a CPU the products are faster than the convolution.
  """
  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    c = x.shape[-1]
    kernel = self.param('kernel', nn.initializers.he_normal(), (3, 3, c, self.features)).astype(self.dtype)
    x = jnp.pad(x.astype(self.dtype), ((0, 0), (1, 1), (1, 1), (0, 0)))
    parts = zip(shifts.shifts(x, 3), kernel.reshape(9, c, self.features), strict=True)
    return functools.reduce(operator.add, (part @ cell for part, cell in parts))


class BasicUnit(nn.Module):
  """Two convolutions beside a shortcut, norm and ReLU before each (He et al. 2016b): [B,H,W,C] -> [B,H,W,F]."""
  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    # In groups, not over the batch (Wu & He 2018): each picture's answer is its own, and there is no other state.
    act = lambda name, x: nn.relu(nn.GroupNorm(num_groups=None, group_size=GROUP_SIZE, dtype=self.dtype, name=name)(x))
    y = act('norm_0', x)
    if x.shape[-1] != self.features:
      x = nn.Dense(self.features, use_bias=False, dtype=self.dtype, name='shortcut')(y)
    y = Conv3x3(self.features, self.dtype, name='conv_0')(y)
    return x + Conv3x3(self.features, self.dtype, name='conv_1')(act('norm_1', y))


class ResNet(nn.Module):
  """Pictures f32[B,H,W,3] in [-1,1] -> logits f32[B,K]; without classes -> features f32[B,D].

  The conv stem of our ViTs, then one stage for each of `stage_features`, the grid halved between two stages.
  `models/variants.py` builds it by name.
  """
  num_classes: int
  stage_features: tuple[int, ...]
  num_units: int  # of each stage
  stem_channels: tuple[int, ...] = ()
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
    del train  # Nothing is dropped.
    x = stem.conv_stem(images, channels=self.stem_channels, dtype=self.dtype)
    for i, width in enumerate(self.stage_features):
      if i:
        x = nn.avg_pool(x, window_shape=(2, 2), strides=(2, 2))
      for j in range(self.num_units):
        x = BasicUnit(width, self.dtype, name=f'stage{i}_unit{j}')(x)
    x = nn.relu(nn.GroupNorm(num_groups=None, group_size=GROUP_SIZE, dtype=self.dtype, name='norm')(x))
    features = x.mean(axis=(1, 2)).astype(jnp.float32)
    if not self.num_classes:
      return features
    return nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros, name='head')(features)
