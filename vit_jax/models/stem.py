"""What may stand before the encoder: linear patches, a conv stem, the paper's ResNet stem.

Each stem turns pictures f32[B,H,W,C] into a grid of features [B,h,w,D']; the patch embedding then makes
tokens of it. The functions here are called inside a compact Linen module and create their layers in
*its* scope, because in the published files the stem's parameters lie at the root of the tree.
"""
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from vit_jax.errors import BadInput
from vit_jax.models import dense
from vit_jax.models import norm
from vit_jax.models import shifts


def patchify(images: jax.Array, patch_size: int) -> jax.Array:
  """Cuts pictures into patches: [B,H,W,C] -> [B,N,P*P*C], both row-major (paper, section 3.1: x_p).

  Raises BadInput where H or W is not a multiple of P.
  """
  b, h, w, c = images.shape
  p = patch_size
  for size in (h, w):
    if size % p:
      near = max(size // p * p, p)
      raise BadInput(f'image_size={size} is not a multiple of patch_size={p}; try image_size={near}')
  grid = images.reshape(b, h // p, p, w // p, p, c)
  return grid.transpose(0, 1, 3, 2, 4, 5).reshape(b, (h // p) * (w // p), p * p * c)


def shifted_patches(x: jax.Array, kernel_size: int, stride: int) -> jax.Array:
  """Gathers each k×k neighbourhood with SAME padding: [B,H,W,C] -> [B,h,w,k*k*C], as a convolution sees it."""
  sides = x.shape[1:3]
  out = [-(-size // stride) for size in sides]
  pads = []
  for size, n in zip(sides, out, strict=True):
    pad = max((n - 1) * stride + kernel_size - size, 0)
    pads.append((pad // 2, pad - pad // 2))
  return jnp.concatenate(shifts.shifts(jnp.pad(x, ((0, 0), *pads, (0, 0))), kernel_size, stride), axis=-1)


class PatchEmbedding(nn.Module):
  """A strided convolution written as one matrix product: [B,H,W,C] -> [B,h,w,D].

  The parameters are `nn.Conv`'s (kernel f32[k,k,C,D], bias f32[D]) and so are the numbers, but a CPU's
  fast path is the matrix product. Without overlap (stride = k, the paper's E) H and W must be multiples of
  k; with overlap the borders are padded as in SAME.
  """
  features: int
  kernel_size: int
  stride: int
  use_bias: bool = True
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    b, h, w, c = x.shape
    k = self.kernel_size
    kernel = self.param('kernel', nn.initializers.lecun_normal(), (k, k, c, self.features))
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    if k == self.stride:
      patches = patchify(x, k).reshape(b, h // k, w // k, k * k * c)
    else:
      patches = shifted_patches(x, k, self.stride)
    y = patches @ kernel.reshape(-1, self.features)
    if self.use_bias:
      bias = self.param('bias', nn.initializers.zeros, (self.features,))
      y = dense.add_bias(y.reshape(-1, self.features), bias.astype(self.dtype)).reshape(y.shape)
    return y


def conv_stem(x: jax.Array, *, channels: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
  """3×3 convolutions of stride 2, each with LayerNorm and GELU (Xiao et al. 2021): halves the grid per layer."""
  for i, features in enumerate(channels):
    x = PatchEmbedding(features, kernel_size=3, stride=2, dtype=dtype, name=f'stem_conv_{i}')(x)
    x = nn.gelu(norm.LayerNorm(dtype=dtype, name=f'stem_norm_{i}')(x))
  return x


class StdConv(nn.Module):
  """A convolution whose kernel is standardised over its inputs (Qiao et al. 2019), without bias, SAME padding."""
  features: int
  kernel_size: int
  stride: int = 1
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
    kernel = self.param('kernel', nn.initializers.lecun_normal(), shape)
    axes = (0, 1, 2)
    kernel = (kernel - kernel.mean(axes)) / (kernel.std(axes) + 1e-5)
    return jax.lax.conv_general_dilated(
        x.astype(self.dtype), kernel.astype(self.dtype), (self.stride,) * 2, 'SAME',
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


class ResidualUnit(nn.Module):
  """A bottleneck unit with GroupNorm (He et al. 2016, as BiT uses it): [B,H,W,C] -> [B,H/s,W/s,4F]."""
  features: int
  stride: int = 1
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    conv = lambda features, k, stride, name: StdConv(features, k, stride, self.dtype, name=name)
    norm = lambda name, **kw: nn.GroupNorm(dtype=self.dtype, name=name, **kw)
    wide = 4 * self.features
    shortcut = x
    if x.shape[-1] != wide or self.stride != 1:
      shortcut = norm('gn_proj')(conv(wide, 1, self.stride, 'conv_proj')(x))
    x = nn.relu(norm('gn1')(conv(self.features, 1, 1, 'conv1')(x)))
    x = nn.relu(norm('gn2')(conv(self.features, 3, self.stride, 'conv2')(x)))
    # The last norm starts at zero, so that each unit starts as the identity.
    x = norm('gn3', scale_init=nn.initializers.zeros)(conv(wide, 1, 1, 'conv3')(x))
    return nn.relu(shortcut + x)


class ResNetStage(nn.Module):
  """Residual units at one resolution; the first one may halve it."""
  num_units: int
  features: int
  stride: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for i in range(self.num_units):
      stride = self.stride if i == 0 else 1
      x = ResidualUnit(self.features, stride, self.dtype, name=f'unit{i + 1}')(x)
    return x


def resnet_stem(x: jax.Array, *, num_units: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
  """The hybrid's ResNet without its head (paper, section 3.1, "Hybrid Architecture"): stride 4, then 2 per stage."""
  x = StdConv(64, kernel_size=7, stride=2, dtype=dtype, name='conv_root')(x)
  x = nn.relu(nn.GroupNorm(dtype=dtype, name='gn_root')(x))
  x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding='SAME')
  for i, units in enumerate(num_units):
    stage = ResNetStage(units, 64 * 2**i, 1 if i == 0 else 2, dtype, name=f'block{i + 1}')
    x = stage(x)
  return x
