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
from vit_jax.models import attention
from vit_jax.models import dense as dense_lib
from vit_jax.models import gelu as gelu_lib
from vit_jax.models import norm as norm_lib
from vit_jax.models import stem
from vit_jax.models import tokens as tokens_lib
from vit_jax.types import Params

# classifier -> the learned tokens in front of the patches, and what the head reads: the class token, the mean over the
# patches, or the class token and the distillation token with a head each.
CLASSIFIERS = {
    'token': (('cls',), 'cls'),  # the paper's
    'gap': ((), 'mean'),
    'distilled': (('cls', 'dist'), 'both'),  # Touvron et al. 2021
    # As other people's weights sometimes come: with a token in front that is not read.
    'gap+token': (('cls',), 'mean'),
    'token+dist': (('cls', 'dist'), 'cls'),
}
# What a model for other classes has anew, and what learns where the head learns alone.
HEADS = ('head', 'head_dist')


class SelfAttention(nn.Module):
  """Multi-head self-attention, MSA(z): [B,T,D] -> [B,T,D] (paper, appendix A, equations 5-8).

  Raises BadInput where `num_heads` does not divide D.
  """
  num_heads: int
  dropout_rate: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens: jax.Array, *, train: bool) -> jax.Array:
    width = tokens.shape[-1]
    check_heads(width, self.num_heads)
    size = width // self.num_heads  # D_h
    split = lambda name, scale=1.0: dense_lib.Dense((self.num_heads, size), dtype=self.dtype, scale=scale, name=name)(
        tokens)
    q, k, v = split('query', size**-.5), split('key'), split('value')  # [B,T,heads,D_h] each
    asked = self.has_variable('perturbations', 'weights') or any(
        map(self.is_mutable_collection, ('intermediates', 'perturbations')))
    seen = asked and not self.is_initializing()
    if seen or (train and self.dropout_rate):
      weights = attention.weights_of(q, k)
      if seen:  # For explain/: A can be read, and the gradient with respect to it.
        weights = self.perturb('weights', weights)
        self.sow('intermediates', 'weights', weights)
      mixed = attention.mix(nn.Dropout(self.dropout_rate, deterministic=not train)(weights), v)
    else:
      mixed = attention.attend(q, k, v)
    return dense_lib.Dense((width,), num_inputs=2, dtype=self.dtype, name='out')(mixed)


def check_heads(width: int, num_heads: int) -> None:
  """Raises BadInput where `num_heads` does not divide `width`, naming the head counts that do."""
  if width % num_heads:
    fits = [n for n in range(1, 33) if width % n == 0]
    raise BadInput(f'num_heads={num_heads} does not divide hidden_size={width}; '
                   f'these do: {", ".join(map(str, fits))}')


class MlpBlock(nn.Module):
  """Two dense layers with GELU between, for each token alone: [B,T,D] -> [B,T,D].

  `gelu` is 'erf', the function itself (Hendrycks & Gimpel 2016), or 'tanh', its approximation in the published models.
  """
  mlp_dim: int
  dropout_rate: float = 0.0
  dtype: Any = jnp.float32
  gelu: str = 'tanh'

  @nn.compact
  def __call__(self, tokens: jax.Array, *, train: bool) -> jax.Array:
    dense = lambda features, name: dense_lib.Dense(
        (features,), dtype=self.dtype, bias_init=nn.initializers.normal(1e-6), name=name)
    dropout = nn.Dropout(self.dropout_rate, deterministic=not train)
    flat = tokens.reshape(-1, tokens.shape[-1])  # So that nothing stands between the product and GELU.
    hidden = dropout(gelu_lib.gelu(dense(self.mlp_dim, 'Dense_0')(flat), self.gelu == 'tanh'))
    return dropout(dense(tokens.shape[-1], 'Dense_1')(hidden).reshape(tokens.shape))


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
  gelu: str = 'tanh'
  norm_eps: float = 1e-6
  drop_path_rate: float = 0.0

  @nn.compact
  def __call__(self, tokens: jax.Array, *, train: bool) -> jax.Array:
    if self.conv_grid:
      tokens = tokens_lib.ConvPositions(self.conv_grid, self.dtype, name='ConvPositions')(tokens)
    tokens = tokens_lib.PatchDropout(self.patch_dropout, self.num_kept, name='PatchDropout')(tokens, train=train)
    norm = lambda name: norm_lib.LayerNorm(self.norm_eps, self.dtype, name=name)
    attend = SelfAttention(self.num_heads, self.attention_dropout_rate, self.dtype,
                           name='MultiHeadDotProductAttention_1')
    mlp = MlpBlock(self.mlp_dim, self.dropout_rate, self.dtype, self.gelu, name='MlpBlock_3')
    mixed = attend(norm('LayerNorm_0')(tokens), train=train)
    mixed = nn.Dropout(self.dropout_rate, deterministic=not train)(mixed)
    drop_path = lambda name, added: tokens_lib.StochasticDepth(self.drop_path_rate, name=name)(added, train=train)
    tokens = dense_lib.add(tokens, drop_path('drop_path_0', mixed))  # z'_l = MSA(LN(z_{l-1})) + z_{l-1}
    added = mlp(norm('LayerNorm_2')(tokens), train=train)
    return dense_lib.add(tokens, drop_path('drop_path_1', added))  # z_l = MLP(LN(z'_l)) + z'_l


class Encoder(nn.Module):
  """The stack of blocks between positions and the last norm: [B,T,D] -> [B,T,D] (equations 1-4).

  With `pool_first` the last norm sees the mean over all but the first `num_kept` tokens: -> [B,1,D].
  """
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
  gelu: str = 'tanh'
  norm_eps: float = 1e-6
  pool_first: bool = False
  drop_path_rate: float = 0.0

  @nn.compact
  def __call__(self, tokens: jax.Array, *, train: bool) -> jax.Array:
    if self.learned_positions:
      tokens = tokens_lib.LearnedPositions(name='posembed_input')(tokens)
    tokens = nn.Dropout(self.dropout_rate, deterministic=not train)(tokens)
    for i in range(self.num_layers):
      # Patches are dropped once, in the first block; those that are left no longer are a grid.
      grid = self.conv_grid if i == 0 or not self.patch_dropout else None
      block = EncoderBlock(self.num_heads, self.mlp_dim, grid, self.patch_dropout if i == 0 else 0.0, self.num_kept,
                           self.dropout_rate, self.attention_dropout_rate, self.dtype, self.gelu, self.norm_eps,
                           self.drop_path_rate * i / max(self.num_layers - 1, 1),  # The later, the more dispensable.
                           name=f'encoderblock_{i}')
      tokens = block(tokens, train=train)
    if self.pool_first:
      tokens = tokens[:, self.num_kept:].mean(axis=1, keepdims=True)
    # In `dtype` like the others: Flax keeps its statistics in float32 anyway, and a cast to float32
    # here is what XLA's oneDNN rewriter cannot digest.
    return norm_lib.LayerNorm(self.norm_eps, self.dtype, name='encoder_norm')(tokens)


class VisionTransformer(nn.Module):
  """Pictures f32[B,H,W,C] in [-1,1] -> logits f32[B,K]; without classes -> features f32[B,D].

  With classifier='distilled' evaluation gives the mean of both heads' logits, as DeiT does, and training the two of
  them, f32[2,B,K]: `logits, distilled = model.apply(…)`. Parameters are float32 and activations `dtype`.
  `models/variants.py` builds it by name and checks the sizes; its table explains the fields.
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
  drop_path_rate: float = 0.0  # of the last block; it falls to 0 in the first, which a single one is
  dtype: Any = jnp.float32
  # The published models' unless said otherwise; weights of timm and Hugging Face bring their own.
  gelu: str = 'tanh'  # see MlpBlock
  norm_eps: float = 1e-6  # of the encoder's LayerNorms
  pool_first: bool = False  # the mean over the patches before the last norm, as in timm, not after it

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
    grid = self.embed(images)
    b, h, w, d = grid.shape
    tokens = grid.reshape(b, h * w, d)
    if self.posemb == 'sincos2d':
      tokens += tokens_lib.sincos2d_positions(h, w, d).astype(tokens.dtype)
    front, reads = CLASSIFIERS[self.classifier]
    if front:
      first = [self.param(name, nn.initializers.zeros, (1, 1, d)).astype(tokens.dtype) for name in front]
      tokens = jnp.concatenate([*(jnp.tile(token, (b, 1, 1)) for token in first), tokens], axis=1)
    encoder = Encoder(self.num_layers, self.num_heads, self.mlp_dim, self.posemb == 'learned',
                      (h, w) if self.conv_positions else None, self.patch_dropout, len(front),
                      self.dropout_rate, self.attention_dropout_rate, self.dtype, self.gelu, self.norm_eps,
                      self.pool_first, self.drop_path_rate, name='Transformer')
    tokens = encoder(tokens, train=train)
    if reads == 'mean':
      features = tokens[:, 0] if self.pool_first else tokens[:, len(front):].mean(axis=1)
    else:
      features = tokens[:, 0] if reads == 'cls' else tokens[:, :2].swapaxes(0, 1)
    answers = self.answer(features.astype(jnp.float32))
    return answers.mean(axis=0) if reads == 'both' and not train else answers

  def answer(self, features: jax.Array) -> jax.Array:
    """What follows the encoder: f32[B,D] -> logits f32[B,K]; f32[2,B,D] -> f32[2,B,K], a head for each of the two."""
    if self.representation_size:
      features = jnp.tanh(nn.Dense(self.representation_size, name='pre_logits')(features))
    if not self.num_classes:
      return features
    # Zero: the first loss is ln K exactly, and a new head starts without an opinion.
    head = lambda name: nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros, name=name)
    if features.ndim == 3:
      return jnp.stack([head('head')(features[0]), head('head_dist')(features[1])])
    return head('head')(features)

  def embed(self, images: jax.Array) -> jax.Array:
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


def num_params(params: Params) -> int:
  """The number of parameters in a tree of arrays or of their shapes."""
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
