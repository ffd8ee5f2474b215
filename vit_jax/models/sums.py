"""Sums of a matrix over one of its dimensions, in an order in which XLA adds quickly on a CPU.

Where XLA's loop over what is added also computes it, it goes number by number; otherwise each number is written to
memory first. A sum of slices is an elementwise operation to it: a loop over whole vectors, in which what is added can
be computed, and which writes an eighth or a sixteenth as much. (Before jax 0.11 that loop is the slower one.)
"""
import functools
import operator

import jax
import jax.numpy as jnp

from vit_jax import cpu

_LANES = 16  # float32 in a vector of AVX-512.
_ROWS = 8


def over_features(numbers: jax.Array) -> jax.Array:
  """f32[N,D] -> f32[N,1]."""
  if _slices_are_faster():
    count, width = numbers.shape
    lanes = jnp.pad(numbers, ((0, 0), (0, -width % _LANES))).reshape(count, -1, _LANES)
    numbers = cpu.barrier(_sum_of_slices(lanes))  # Each is computed once.
  return numbers.sum(-1, keepdims=True)


def over_tokens(numbers: jax.Array) -> jax.Array:
  """f32[N,D] -> f32[D]."""
  if _slices_are_faster():
    count, width = numbers.shape
    numbers = _sum_of_slices(jnp.pad(numbers, ((0, -count % _ROWS), (0, 0))).reshape(-1, _ROWS, width))
  return cpu.barrier(numbers).sum(0)


def _slices_are_faster() -> bool:
  return jax.default_backend() == 'cpu' and cpu.has_onednn()


def _sum_of_slices(parts: jax.Array) -> jax.Array:
  """f32[M,K,D] -> f32[M,D]."""
  return functools.reduce(operator.add, (parts[:, at] for at in range(parts.shape[1])))
