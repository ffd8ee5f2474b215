"""Losses against closed forms, optax and scikit-learn."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import metrics

from vit_jax import losses


def random_logits(b=16, k=5):
  """Logits f32[B,K] and one label each, i32[B]; every class occurs."""
  rng = np.random.default_rng(0)
  return 3 * rng.normal(size=(b, k)).astype(np.float32), np.arange(b) % k


@pytest.mark.parametrize('logits, targets, nats', [
    ([0, np.log(3)], [1, 0], np.log(4)),  # p = (1/4, 3/4)
    ([0, np.log(3)], [0, 1], np.log(4 / 3)),
    ([0, np.log(3)], [0.5, 0.5], np.log(4) - np.log(3) / 2),
    ([7, 7, 7, 7], [0, 0, 1, 0], np.log(4)),
    ([1e4, -1e4], [0, 1], 2e4),  # where exp would overflow
])
def test_cross_entropy_in_closed_form(logits, targets, nats):
  loss = losses.cross_entropy(jnp.array([logits], jnp.float32), jnp.array([targets], jnp.float32))
  np.testing.assert_allclose(loss, [nats], rtol=1e-6)


def test_cross_entropy_equals_optax_and_scikit_learn():
  logits, labels = random_logits()
  soft = jax.nn.softmax(logits[::-1])
  np.testing.assert_allclose(losses.cross_entropy(logits, soft),
                             optax.softmax_cross_entropy(logits, soft), rtol=1e-5)
  mean = losses.cross_entropy(logits, np.eye(5, dtype=np.float32)[labels]).mean()
  probabilities = np.exp(logits.astype(np.float64))
  probabilities /= probabilities.sum(axis=1, keepdims=True)
  np.testing.assert_allclose(mean, metrics.log_loss(labels, probabilities), rtol=1e-5)


def test_gradient_is_probabilities_less_targets():
  logits, labels = random_logits()
  targets = np.eye(5, dtype=np.float32)[labels]
  gradient = jax.grad(lambda x: losses.cross_entropy(x, targets).sum())(logits)
  odds = np.exp(logits)
  np.testing.assert_allclose(gradient, odds / odds.sum(1, keepdims=True) - targets, atol=1e-5)


@pytest.mark.parametrize('smoothing, rows', [
    (0.0, [[0, 0, 1, 0], [1, 0, 0, 0]]),
    (0.2, [[.05, .05, .85, .05], [.85, .05, .05, .05]]),
])
def test_smooth_labels_by_hand(smoothing, rows):
  got = losses.smooth_labels(jnp.array([2, 0]), 4, smoothing)
  np.testing.assert_allclose(got, rows, rtol=1e-6)
  np.testing.assert_allclose(got, optax.smooth_labels(np.eye(4)[[2, 0]], smoothing), rtol=1e-6)
