"""A LayerNorm as Flax has it, parameters and numbers alike, whose gradient is faster on a CPU."""
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vit_jax import cpu
from vit_jax.models import sums


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalize(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, dtype: Any) -> jax.Array:
  """[...,D], f32[D], f32[D] -> [...,D] of `dtype`; mean and variance are those of float32 (Ba et al. 2016)."""
  flaxs: Any = nn.LayerNorm(epsilon, dtype=dtype, parent=None)
  return flaxs.apply({'params': {'scale': scale, 'bias': bias}}, x)


def _forward(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, dtype: Any) -> tuple[jax.Array, tuple[
    jax.Array, jax.Array]]:
  return normalize(x, scale, bias, epsilon, dtype), (x, scale)


def _backward(epsilon: float, dtype: Any, kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[
    jax.Array, jax.Array, jax.Array]:
  del dtype
  # The barriers are for XLA on a CPU. Without the first one it would share the statistics with the forward pass, and
  # then not know that as a LayerNorm, which oneDNN computes; without the others it would compute sums anew where they
  # are used.
  x, scale = cpu.barrier(kept)
  width = x.shape[-1]
  rows, by = x.reshape(-1, width).astype(jnp.float32), gradient.reshape(-1, width).astype(jnp.float32)
  average = lambda numbers: sums.over_features(numbers) / width
  mean = average(rows)
  variance = jnp.maximum(average(rows * rows) - mean * mean, 0)  # As Flax computes it.
  mean, inverse = cpu.barrier((mean, jax.lax.rsqrt(variance + epsilon)))
  normal, scaled = (rows - mean) * inverse, by * scale
  along = cpu.barrier((average(scaled), average(scaled * normal)))
  of_x = inverse * (scaled - along[0] - normal * along[1])
  return of_x.astype(x.dtype).reshape(x.shape), sums.over_tokens(by * normal), sums.over_tokens(by)


normalize.defvjp(_forward, _backward)


class LayerNorm(nn.Module):
  """Each token to mean 0 and variance 1, then times a scale plus a bias: [...,D] -> [...,D]."""
  epsilon: float = 1e-6
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    scale = self.param('scale', nn.initializers.ones, (x.shape[-1],))
    bias = self.param('bias', nn.initializers.zeros, (x.shape[-1],))
    return normalize(x, scale, bias, self.epsilon, self.dtype)
