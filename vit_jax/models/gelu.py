"""GELU, computed in float32 whatever it is given, with a gradient that keeps its input alone."""
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from vit_jax import cpu


def of_float32(x: jax.Array, approximate: bool) -> jax.Array:
  """The one that is asked for, whatever is faster; `gelu` gives it where it is differentiated."""
  return nn.gelu(x.astype(jnp.float32), approximate).astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def gelu(x: jax.Array, approximate: bool) -> jax.Array:
  """x·Φ(x) for each number (Hendrycks & Gimpel 2016), or its approximation by tanh, in the type of `x`.

  With constants of bfloat16 the approximation would be off by 0.1 %, and XLA would not know it as what oneDNN can
  compute inside the product before it. The backward pass computes it anew: `x` is all that it keeps.

  On a CPU, where nothing is differentiated, bfloat16 is given the function itself in either case: oneDNN computes that
  in half the time, they differ by less than 0.0005, and a model's logits by a tenth of what rounding to bfloat16 does.
  """
  exact_is_faster = x.dtype == jnp.bfloat16 and jax.default_backend() == 'cpu'
  return of_float32(x, approximate and not exact_is_faster)


def _forward(x: jax.Array, approximate: bool) -> tuple[jax.Array, jax.Array]:
  return of_float32(cpu.barrier(x), approximate), x


def _backward(approximate: bool, x: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
  # Without barriers XLA keeps tanh or erf from the forward pass, in float32, which takes twice the memory of `x` and no
  # less time. With this one alone it would put GELU into the product before it, and give its result to this function
  # for `x`; with the same one in both places it would see that both compute the same.
  x, gradient = cpu.barrier((x, gradient))
  return jax.vjp(lambda x: of_float32(x, approximate), x)[1](gradient)


gelu.defvjp(_forward, _backward)
