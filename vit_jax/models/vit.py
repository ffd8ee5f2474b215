"""The Vision Transformer (Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", section 3.1).

Modules are pure `init`/`apply`. Each has an explicit name, and the names are the published file format:
`Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel` and so on.
"""
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vit_jax.errors import BadInput
from vit_jax.models import stem


class SelfAttention(nn.Module):
  """Multi-head self-attention, MSA(z): [B,T,D] -> [B,T,D] (paper, appendix A, equations 5-8).

  Raises BadInput where `num_heads` does not divide D.
  """
  num_heads: int
  dropout_rate: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens, *, train):
    width = tokens.shape[-1]
    check_heads(width, self.num_heads)
    split = lambda name: nn.DenseGeneral(
        (self.num_heads, width // self.num_heads), dtype=self.dtype,
        kernel_init=nn.initializers.xavier_uniform(), name=name)(tokens)
    q, k, v = split('query'), split('key'), split('value')  # [B,T,heads,D_h]
    scores = jnp.einsum('bqhd,bkhd->bhqk', q, k) / np.sqrt(q.shape[-1]).astype(self.dtype)
    weights = nn.softmax(scores)  # A, [B,heads,T,T]: each row sums to one
    weights = nn.Dropout(self.dropout_rate, deterministic=not train)(weights)
    mixed = jnp.einsum('bhqk,bkhd->bqhd', weights, v)
    return nn.DenseGeneral(width, axis=(-2, -1), dtype=self.dtype,
                           kernel_init=nn.initializers.xavier_uniform(), name='out')(mixed)


def check_heads(width, num_heads):
  """Raises BadInput where `num_heads` does not divide `width`, naming the head counts that do."""
  if width % num_heads:
    fits = [n for n in range(1, 33) if width % n == 0]
    raise BadInput(f'num_heads={num_heads} does not divide hidden_size={width}; '
                   f'these do: {", ".join(map(str, fits))}')


class MlpBlock(nn.Module):
  """Two dense layers with GELU between, for each token alone: [B,T,D] -> [B,T,D]."""
  mlp_dim: int
  dropout_rate: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens, *, train):
    dense = lambda features, name: nn.Dense(
        features, dtype=self.dtype, kernel_init=nn.initializers.xavier_uniform(),
        bias_init=nn.initializers.normal(1e-6), name=name)
    dropout = nn.Dropout(self.dropout_rate, deterministic=not train)
    hidden = dropout(nn.gelu(dense(self.mlp_dim, 'Dense_0')(tokens)))
    return dropout(dense(tokens.shape[-1], 'Dense_1')(hidden))


class ConvPositions(nn.Module):
  """Adds a 3×3 depthwise convolution of the grid to the tokens: [B,T,D] -> [B,T,D] (Chu et al. 2021, CPVT).

  What stands beside a token tells it where it is. `grid` is (h, w) with T = h·w, or h·w + 1: a class token in
  front is left as it is.
  """
  grid: tuple[int, int]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens):
    b, t, d = tokens.shape
    h, w = self.grid
    kernel = self.param('kernel', nn.initializers.normal(0.02), (3, 3, d)).astype(self.dtype)
    cls, cells = jnp.split(tokens, [t - h * w], axis=1)
    padded = jnp.pad(cells.reshape(b, h, w, d), ((0, 0), (1, 1), (1, 1), (0, 0)))
    # Nine shifted products: faster than a grouped convolution on a CPU.
    near = sum(padded[:, y:y + h, x:x + w] * kernel[y, x] for y in range(3) for x in range(3))
    return jnp.concatenate([cls, cells + near.reshape(b, h * w, d)], axis=1)


class PatchDropout(nn.Module):
  """In training keeps a random part of each picture's tokens: [B,T,D] -> [B,T',D] (Liu et al. 2022).

  T' = T - round(rate·T); the first `num_kept` tokens, such as a class token, always stay and do not count.
  Fewer tokens are as many times less work, and a kind of augmentation. In evaluation all tokens stay.
  """
  rate: float
  num_kept: int = 0

  @nn.compact
  def __call__(self, tokens, *, train):
    if not train or not self.rate:
      return tokens
    always, cells = jnp.split(tokens, [self.num_kept], axis=1)
    b, t, _ = cells.shape
    noise = jax.random.uniform(self.make_rng('dropout'), (b, t))
    kept = jnp.sort(jax.lax.top_k(noise, t - round(self.rate * t))[1])
    # As a product with zeros and ones: its gradient is a product too, where that of a gather is a slow scatter.
    chosen = jnp.einsum('bkt,btd->bkd', jax.nn.one_hot(kept, t, dtype=cells.dtype), cells)
    return jnp.concatenate([always, chosen], axis=1)


class EncoderBlock(nn.Module):
  """One pre-norm Transformer layer: [B,T,D] -> [B,T,D] (paper, equations 2 and 3).

  With `conv_grid` the tokens first look at their neighbours on that grid, see ConvPositions; with
  `patch_dropout` only some of them go on after that, see PatchDropout.
  """
  num_heads: int
  mlp_dim: int
  conv_grid: tuple[int, int] | None = None
  patch_dropout: float = 0.0
  num_kept: int = 0
  dropout_rate: float = 0.0
  attention_dropout_rate: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens, *, train):
    if self.conv_grid:
      tokens = ConvPositions(self.conv_grid, self.dtype, name='ConvPositions')(tokens)
    tokens = PatchDropout(self.patch_dropout, self.num_kept, name='PatchDropout')(tokens, train=train)
    norm = lambda name: nn.LayerNorm(dtype=self.dtype, name=name)
    attention = SelfAttention(self.num_heads, self.attention_dropout_rate, self.dtype,
                              name='MultiHeadDotProductAttention_1')
    mlp = MlpBlock(self.mlp_dim, self.dropout_rate, self.dtype, name='MlpBlock_3')
    mixed = attention(norm('LayerNorm_0')(tokens), train=train)
    mixed = nn.Dropout(self.dropout_rate, deterministic=not train)(mixed)
    tokens = tokens + mixed  # z'_l = MSA(LN(z_{l-1})) + z_{l-1}
    return tokens + mlp(norm('LayerNorm_2')(tokens), train=train)  # z_l = MLP(LN(z'_l)) + z'_l


class LearnedPositions(nn.Module):
  """Adds E_pos, one learned vector a position: [B,T,D] -> [B,T,D]."""

  @nn.compact
  def __call__(self, tokens):
    shape = (1, *tokens.shape[1:])
    positions = self.param('pos_embedding', nn.initializers.normal(0.02), shape)
    return tokens + positions.astype(tokens.dtype)


class Encoder(nn.Module):
  """The stack of blocks between positions and the last norm: [B,T,D] -> [B,T,D] (equations 1-4)."""
  num_layers: int
  num_heads: int
  mlp_dim: int
  learned_positions: bool = True
  conv_grid: tuple[int, int] | None = None
  patch_dropout: float = 0.0
  num_kept: int = 0
  dropout_rate: float = 0.0
  attention_dropout_rate: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens, *, train):
    if self.learned_positions:
      tokens = LearnedPositions(name='posembed_input')(tokens)
    tokens = nn.Dropout(self.dropout_rate, deterministic=not train)(tokens)
    for i in range(self.num_layers):
      # Patches are dropped once, in the first block; those that are left no longer are a grid.
      grid = self.conv_grid if i == 0 or not self.patch_dropout else None
      block = EncoderBlock(self.num_heads, self.mlp_dim, grid, self.patch_dropout if i == 0 else 0.0, self.num_kept,
                           self.dropout_rate, self.attention_dropout_rate, self.dtype, name=f'encoderblock_{i}')
      tokens = block(tokens, train=train)
    # In `dtype` like the others: Flax keeps its statistics in float32 anyway, and a cast to float32
    # here is what XLA's oneDNN rewriter cannot digest.
    return nn.LayerNorm(dtype=self.dtype, name='encoder_norm')(tokens)


def check_sincos2d(width):
  """Raises BadInput where 4 does not divide `width`, naming a width that it divides."""
  if width % 4:
    raise BadInput(f'hidden_size={width} must be a multiple of 4 for posemb="sincos2d"; try {width // 4 * 4 or 4}')


def sincos2d_positions(height, width, features, temperature=10_000.0):
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


class VisionTransformer(nn.Module):
  """Pictures f32[B,H,W,C] in [-1,1] -> logits f32[B,K]; without classes -> features f32[B,D].

  Parameters are float32 and activations `dtype`. `models/variants.py` builds it by name and checks the
  sizes; its table explains the fields.
  """
  num_classes: int
  patch_size: int
  hidden_size: int
  num_layers: int
  num_heads: int
  mlp_dim: int
  stem: str = 'linear'
  stem_channels: tuple[int, ...] = ()
  resnet_units: tuple[int, ...] = ()
  classifier: str = 'token'
  posemb: str = 'learned'
  conv_positions: bool = False
  patch_dropout: float = 0.0
  representation_size: int = 0
  dropout_rate: float = 0.0
  attention_dropout_rate: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, images, *, train):
    grid = self.embed(images)
    b, h, w, d = grid.shape
    tokens = grid.reshape(b, h * w, d)
    if self.posemb == 'sincos2d':
      tokens += sincos2d_positions(h, w, d).astype(tokens.dtype)
    if self.classifier == 'token':
      cls = self.param('cls', nn.initializers.zeros, (1, 1, d)).astype(tokens.dtype)
      tokens = jnp.concatenate([jnp.tile(cls, (b, 1, 1)), tokens], axis=1)
    encoder = Encoder(self.num_layers, self.num_heads, self.mlp_dim, self.posemb == 'learned',
                      (h, w) if self.conv_positions else None, self.patch_dropout, int(self.classifier == 'token'),
                      self.dropout_rate, self.attention_dropout_rate, self.dtype, name='Transformer')
    tokens = encoder(tokens, train=train)
    features = tokens[:, 0] if self.classifier == 'token' else tokens.mean(axis=1)
    features = features.astype(jnp.float32)
    if self.representation_size:
      features = jnp.tanh(nn.Dense(self.representation_size, name='pre_logits')(features))
    if not self.num_classes:
      return features
    # Zero: the first loss is ln K exactly, and a new head starts without an opinion.
    return nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros, name='head')(features)

  def embed(self, images):
    """Stem and patch embedding: f32[B,H,W,C] -> [B,h,w,D], the grid of tokens before positions."""
    x = images
    kernel_size = self.patch_size
    if self.stem == 'conv':
      x = stem.conv_stem(x, channels=self.stem_channels, dtype=self.dtype)
      kernel_size = 3
    elif self.stem == 'resnet':
      x = stem.resnet_stem(x, num_units=self.resnet_units, dtype=self.dtype)
    return stem.PatchEmbedding(self.hidden_size, kernel_size, self.patch_size, dtype=self.dtype,
                               name='embedding')(x)


def num_params(params):
  """The number of parameters in a tree of arrays or of their shapes."""
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
