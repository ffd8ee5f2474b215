"""Losses of logits against targets, in nats, one number per picture."""
import jax
import jax.numpy as jnp


def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
  """Softmax cross-entropy, -Σ_k t_k log p_k: f32[…,B,K], f32[B,K] -> f32[…,B] in nats."""
  return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)


def smooth_labels(labels: jax.Array, num_classes: int, smoothing: float) -> jax.Array:
  """One-hot targets that give `smoothing` of their mass to all classes alike: i32[B] -> f32[B,K].

  Source: Szegedy et al. 2016, section 7. `smoothing` in [0, 1).
  """
  onehot = jax.nn.one_hot(labels, num_classes)
  return onehot * (1 - smoothing) + smoothing / num_classes
