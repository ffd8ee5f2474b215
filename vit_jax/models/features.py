"""What a model makes of a picture on the way to its answer."""
from collections.abc import Callable
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vit_jax import augment
from vit_jax.models import vit
from vit_jax.types import Flat
from vit_jax.types import Params


def features_and_logits(model: nn.Module, params: Params, images: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Pictures u8[B,S,S,3] -> (f32[B,D], logits f32[B,K]).

  The features are what the head reads, of two heads side by side, and then, of a ViT, the mean and the standard
  deviation over the tokens after the last block (of a model that pools before its norm, of that mean alone, whose
  deviation is zero): what a head for these classes has no use for tells others apart.
  """
  read, tokens = [], []

  def note(next_call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
    if context.module.name in vit.HEADS:
      read.append(args[0].astype(jnp.float32))
    elif context.module.name == 'encoder_norm':
      tokens.append(args[0].astype(jnp.float32))
    return next_call(*args, **kwargs)
  with nn.intercept_methods(note):
    logits = model.apply({'params': params}, augment.normalize(images), train=False)
  spread = [statistic(axis=1) for all_of_them in tokens for statistic in (all_of_them.mean, all_of_them.std)]
  return jnp.concatenate([*read, *spread], axis=-1), jnp.asarray(logits, jnp.float32)


def width(flat: Flat) -> tuple[int, int]:
  """How many of the features the head reads, and how many there are, by a model's parameters {name: array}."""
  head = sum(len(flat[f'{name}/kernel']) for name in vit.HEADS if f'{name}/kernel' in flat)
  return head, head + 2 * len(flat.get('Transformer/encoder_norm/scale', ()))
