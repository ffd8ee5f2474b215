"""Where tokens are, and which of them go on: positions that are learned, fixed or found, dropped patches and layers."""
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vit_jax.errors import BadInput
from vit_jax.models import depthwise


class LearnedPositions(nn.Module):
  """Adds E_pos, one learned vector a position: [B,T,D] -> [B,T,D]."""

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    shape = (1, *tokens.shape[1:])
    positions = self.param('pos_embedding', nn.initializers.normal(0.02), shape)
    return tokens + positions.astype(tokens.dtype)


def check_sincos2d(width: int) -> None:
  """Raises BadInput where 4 does not divide `width`, naming a width that it divides."""
  if width % 4:
    raise BadInput(f'hidden_size={width} must be a multiple of 4 for posemb="sincos2d"; try {width // 4 * 4 or 4}')


def sincos2d_positions(height: int, width: int, features: int, temperature: float = 10_000.0) -> jax.Array:
  """Fixed 2-D sine-cosine positions, f32[1,H*W,D], row-major (Chen et al. 2021; spaced as in Beyer et al. 2022).

  A quarter of the features each: sin(x·ω), cos(x·ω), sin(y·ω), cos(y·ω), with ω from 1 down to 1/temperature.
  Raises BadInput unless 4 divides D.
  """
  check_sincos2d(features)
  y, x = np.mgrid[:height, :width]
  frequencies = temperature ** -np.linspace(0, 1, features // 4)
  angles = [np.outer(axis.ravel(), frequencies) for axis in (x, y)]
  parts = [f(angle) for angle in angles for f in (np.sin, np.cos)]
  return jnp.asarray(np.concatenate(parts, axis=1)[None], jnp.float32)


class ConvPositions(nn.Module):
  """Adds a 3×3 depthwise convolution of the grid to the tokens: [B,T,D] -> [B,T,D] (Chu et al. 2021, CPVT).

  What stands beside a token tells it where it is. `grid` is (h, w) with T = h·w, or more: tokens in front, as
  the class token, are left as they are.
  """
  grid: tuple[int, int]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    b, t, d = tokens.shape
    h, w = self.grid
    kernel = self.param('kernel', nn.initializers.normal(0.02), (3, 3, d)).astype(self.dtype)
    cls, cells = jnp.split(tokens, [t - h * w], axis=1)
    near = depthwise.depthwise(cells.reshape(b, h, w, d), kernel)
    return jnp.concatenate([cls, cells + near.reshape(b, h * w, d)], axis=1)


class PatchDropout(nn.Module):
  """In training keeps a random part of each picture's tokens: [B,T,D] -> [B,T',D] (Liu et al. 2022).

  T' = T - round(rate·T), but one at least; the first `num_kept`, such as a class token, always stay and do not count.
  Fewer tokens are as many times less work, and a kind of augmentation. In evaluation all tokens stay.
  """
  rate: float
  num_kept: int = 0

  @nn.compact
  def __call__(self, tokens: jax.Array, *, train: bool) -> jax.Array:
    if not train or not self.rate:
      return tokens
    always, cells = jnp.split(tokens, [self.num_kept], axis=1)
    b, t, _ = cells.shape
    noise = jax.random.uniform(self.make_rng('dropout'), (b, t))
    kept = jnp.sort(jax.lax.top_k(noise, max(t - round(self.rate * t), 1))[1])
    # As a product with zeros and ones: its gradient is a product too, where that of a gather is a slow scatter.
    chosen = jnp.einsum('bkt,btd->bkd', jax.nn.one_hot(kept, t, dtype=cells.dtype), cells)
    return jnp.concatenate([always, chosen], axis=1)


class StochasticDepth(nn.Module):
  """In training leaves out what a layer adds, for a picture at a time: [B,T,D] -> the same (Huang et al. 2016).

  With probability `rate` it is zero, else divided by 1 - rate, so that its mean stays what it is in evaluation.
  """
  rate: float

  @nn.compact
  def __call__(self, tokens: jax.Array, *, train: bool) -> jax.Array:
    if not train or not self.rate:
      return tokens
    kept = jax.random.bernoulli(self.make_rng('dropout'), 1 - self.rate, (len(tokens), 1, 1))
    return jnp.where(kept, tokens / (1 - self.rate), 0)
