"""Evaluation against scikit-learn, with a model whose logits are known beforehand."""
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from vit_jax import evaluate
from vit_jax import sharding
from vit_jax.data import pipeline
from vit_jax.data import source

N = 37


def stub(num_classes):
  """A 'model' whose logits are a fixed matrix times the pixels, and numpy's version of it in float64."""
  weights = np.random.default_rng(1).normal(size=(2 * 3 * 3, num_classes)).astype(np.float32)
  def apply(variables, images, *, train):
    assert not train and images.dtype == jnp.float32
    return images.reshape(len(images), -1) @ variables['params']['w']
  def by_numpy(images):
    return (images / 127.5 - 1).reshape(len(images), -1) @ weights.astype(np.float64)
  return types.SimpleNamespace(apply=apply), {'w': jnp.array(weights)}, by_numpy


def random_source(num_classes):
  """Random pictures u8[N,2,3,3] and labels; every class occurs."""
  images = np.random.default_rng(0).integers(0, 256, (N, 2, 3, 3), np.uint8)
  return source.Source.whole(images, np.arange(N, dtype=np.int32) % num_classes)


def softmax(logits):
  odds = np.exp(logits - logits.max(axis=1, keepdims=True))
  return odds / odds.sum(axis=1, keepdims=True)


def run(num_classes, *, flip, batch_size):
  """Evaluates the stub on the random pictures."""
  model, params, _ = stub(num_classes)
  step = jax.jit(evaluate.make_eval_step(model, flip=flip))
  batches = pipeline.eval_batches(random_source(num_classes), batch_size=batch_size)
  return evaluate.evaluate(step, params, batches, sharding.make_mesh(jax.devices()[:1]))


@pytest.mark.parametrize('num_classes', [2, 5, 7])
@pytest.mark.parametrize('batch_size', [1, 10, N, N + 5])
def test_metrics_are_scikit_learns_at_any_batch_size(num_classes, batch_size):
  part = random_source(num_classes)
  _, _, by_numpy = stub(num_classes)
  logits, classes = by_numpy(part.images), np.arange(num_classes)
  mirrored = by_numpy(part.images[:, :, ::-1])
  want = {
      'accuracy': metrics.accuracy_score(part.labels, logits.argmax(1)),
      'accuracy_flip': metrics.accuracy_score(part.labels, (softmax(logits) + softmax(mirrored)).argmax(1)),
      'loss': metrics.log_loss(part.labels, softmax(logits), labels=classes),
      'count': N,
  }
  if num_classes > 5:
    want['top5'] = metrics.top_k_accuracy_score(part.labels, logits, k=5, labels=classes)
  got = run(num_classes, flip=True, batch_size=batch_size)
  assert got == pytest.approx(want, rel=1e-5) and isinstance(got['count'], int)


def test_without_flip_there_is_no_mean_over_views():
  assert set(run(3, flip=False, batch_size=8)) == {'accuracy', 'loss', 'count'}


def test_flip_means_the_probabilities_of_both_views_by_hand():
  """One view says class 0 with little doubt, the mirrored one class 1 with less: together class 1."""
  view = {0: np.log([.6, .4]), 255: np.log([.1, .9])}  # by the pixel at the left
  apply = lambda _, images, train: jnp.where(images[:, 0, :1, 0] < 0, jnp.array(view[0]), jnp.array(view[255]))
  pixels = np.zeros((1, 1, 2, 3), np.uint8)
  pixels[0, 0, 1] = 255
  batch = {'image': pixels, 'label': np.array([1]), 'mask': np.array([True])}
  sums = evaluate.make_eval_step(types.SimpleNamespace(apply=apply), flip=True)({}, batch)
  want = {'correct': 0, 'correct_flip': 1, 'loss': -np.log(.4), 'count': 1}
  assert {key: float(value) for key, value in sums.items()} == pytest.approx(want)


def test_a_mask_hides_even_what_is_not_a_number():
  apply = lambda _, images, train: jnp.log(images[:, 0, 0, :2])  # log(-1) where a pixel is 0
  images = np.array([255, 0], np.uint8)[:, None, None, None] * np.ones((1, 1, 1, 3), np.uint8)
  batch = {'image': images, 'label': np.array([0, 0]), 'mask': np.array([True, False])}
  sums = evaluate.make_eval_step(types.SimpleNamespace(apply=apply), flip=False)({}, batch)
  assert {key: float(value) for key, value in sums.items()} == pytest.approx(
      {'correct': 1, 'loss': np.log(2), 'count': 1})


def test_big_counts_are_exact():
  # In float32, 2**24 + 1 is 2**24.
  sums = [{'correct': np.float32(n), 'loss': np.float32(0), 'count': np.float32(n)} for n in (2**24, 1, 1, 1)]
  step = lambda _, batch: sums[int(batch['x'][0])]
  result = evaluate.evaluate(step, {}, [{'x': np.array([i])} for i in range(4)], sharding.make_mesh(jax.devices()[:1]))
  assert result == {'accuracy': 1.0, 'loss': 0.0, 'count': 2**24 + 3}
