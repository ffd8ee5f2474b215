"""What attention does between tokens, with a gradient that keeps little and reads it few times."""
from flax import linen as nn
import jax
import jax.numpy as jnp


def weights_of(q: jax.Array, k: jax.Array) -> jax.Array:
  """A, [B,heads,T,T], each row of which sums to one, for queries and keys [B,T,heads,D_h] (paper, equation 6).

  The queries are those of the paper divided by √D_h: scores that are divided themselves become f32[B,heads,T,T] in
  XLA, and take longer.
  """
  return nn.softmax(jnp.einsum('bqhd,bkhd->bhqk', q, k))


def mix(weights: jax.Array, v: jax.Array) -> jax.Array:
  """A·v: [B,heads,T,T], [B,T,heads,D_h] -> [B,T,heads,D_h] (paper, equation 7)."""
  return jnp.einsum('bhqk,bkhd->bqhd', weights, v)


@jax.custom_vjp
def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
  """`mix(weights_of(q, k), v)`; the backward pass keeps A in the type of `q`, and no scores.

  Its gradient needs, for each query, the sum over keys of A times the gradient of A. That is the sum over features of
  the output times its gradient (Dao et al. 2022, "FlashAttention", appendix B.2): D_h numbers to read in place of T.
  """
  return mix(weights_of(q, k), v)


def _forward(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
  weights = weights_of(q, k)
  mixed = mix(weights, v)
  return mixed, (q, k, v, weights, mixed)


def _backward(kept: tuple[jax.Array, ...], gradient: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  q, k, v, weights, mixed = kept
  of_v = jnp.einsum('bhqk,bqhd->bkhd', weights, gradient)
  of_weights = jnp.einsum('bqhd,bkhd->bhqk', gradient, v)
  sums = (gradient.astype(jnp.float32) * mixed.astype(jnp.float32)).sum(-1)  # f32[B,T,heads]
  of_scores = weights * (of_weights - sums.swapaxes(1, 2)[..., None])
  of_scores = of_scores.astype(q.dtype)
  return jnp.einsum('bhqk,bkhd->bqhd', of_scores, k), jnp.einsum('bhqk,bqhd->bkhd', of_scores, q), of_v


attend.defvjp(_forward, _backward)
