"""A dense layer as Flax has it, parameters and numbers alike, whose gradient is faster on a CPU."""
import math
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
  """[N,D], [D] -> [N,D]."""
  return x + bias


def _add_bias_backward(_: None, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
  # Without the barrier XLA fuses the sum with what comes before it, and then adds column by column.
  gradient = jax.lax.optimization_barrier(gradient)
  return gradient, gradient.sum(0)


add_bias.defvjp(lambda x, bias: (x + bias, None), _add_bias_backward)


def add(x: jax.Array, y: jax.Array) -> jax.Array:
  """[...,D], [...,D] -> [...,D], their sum."""
  # By rows, the shape that products have: between two shapes XLA copies what oneDNN adds inside a product.
  rows = lambda numbers: numbers.reshape(-1, numbers.shape[-1])
  return (rows(x) + rows(y)).reshape(x.shape)


class Dense(nn.Module):
  """Multiplies the last dimensions of its input with a kernel: [..., *inputs] -> [..., *features].

  `num_inputs` says how many dimensions that are. The parameters are those of `nn.DenseGeneral`: kernel
  f32[*inputs, *features], bias f32[*features]; they are drawn as for [prod(inputs), prod(features)]. The output is
  `scale` times theirs, by way of both, which are fewer numbers than it.
  """
  features: tuple[int, ...]
  num_inputs: int = 1
  dtype: Any = jnp.float32
  bias_init: Any = nn.initializers.zeros
  scale: float = 1.0

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    outer, inputs = x.shape[:-self.num_inputs], x.shape[-self.num_inputs:]
    flat = math.prod(inputs), math.prod(self.features)
    draw = lambda key, shape: nn.initializers.xavier_uniform()(key, flat).reshape(shape)
    kernel = self.param('kernel', draw, (*inputs, *self.features))
    bias = self.param('bias', lambda key, shape: self.bias_init(key, flat[1:]).reshape(shape), self.features)
    if self.scale != 1:
      kernel, bias = kernel * self.scale, bias * self.scale
    y = x.astype(self.dtype).reshape(-1, flat[0]) @ kernel.astype(self.dtype).reshape(flat)
    return add_bias(y, bias.astype(self.dtype).reshape(-1)).reshape(*outer, *self.features)
