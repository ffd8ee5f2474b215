"""What is timed is what it should be: the arithmetic of the step, and answers of the same model."""
import jax
import numpy as np
import pytest

from vit_jax.benchmarks import ours
from vit_jax.benchmarks.setting import CLASSES
from vit_jax.benchmarks.setting import PATCH
from vit_jax.benchmarks.setting import Setting
from vit_jax.models import vit

SIZES = dict(batch_size=4, tokens=9, width=8, depth=2)
B, N, D, L = SIZES.values()


@pytest.fixture(scope='module')
def job():
  return ours.made_up_job(Setting('train', **SIZES))


def test_flops_of_a_step_are_the_formula_and_what_stands_around_it(job):
  patches, head = B * N * PATCH**2 * 3 * D, B * D * CLASSES
  # Training is three passes, but for the gradient of the pictures, which nobody needs.
  assert ours.step_flops(job) == Setting('train', **SIZES).theory() + 2 * (2 * patches + 3 * head)


def test_parameters(job):
  block = 4 * (D * D + D) + (D * 4 * D + 4 * D) + (4 * D * D + D) + 2 * 2 * D
  expected = PATCH**2 * 3 * D + D + N * D + L * block + 2 * D + D * CLASSES + CLASSES
  assert vit.num_params(job.abstract_state.params) == expected


def test_nothing_is_done_to_pictures_and_labels(job):
  batch = ours.first_batch(job)
  assert batch['image'].shape == (B, 12, 12, 3)
  images, targets, _ = job.step(12).prepared(0, batch, jax.random.key(0))
  np.testing.assert_allclose(images, batch['image'] / np.float32(127.5) - 1, rtol=1e-6)
  np.testing.assert_array_equal(targets, np.eye(CLASSES)[batch['label']])


@pytest.mark.slow
def test_steps_are_taken():
  training = ours.make(Setting('train', way='step', **SIZES))
  training.run(3)
  assert int(training.state.step) == 3
  facts = training.facts()
  # The state and its new values, one in the place of the other, and more besides.
  assert facts['compiled_memory'] > 4 * 4 * facts['parameters']
  assert facts['flops'] == ours.step_flops(training.job)


@pytest.mark.slow
def test_both_ways_to_answer_give_the_same(tmp_path):
  evaluation, answering = (ours.make(Setting('predict', way=way, cache_dir=str(tmp_path), **SIZES))
                           for way in ('evaluation', 'Predictor'))
  images = evaluation.batch['image']
  assert len(images) == evaluation.facts()['pictures'] == answering.facts()['pictures'] == B
  # The head starts at zero; with one that does not, all pictures have answers of their own.
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda leaf: rng.normal(0, .5, leaf.shape).astype(np.float32), evaluation.params)
  expected = jax.nn.softmax(evaluation.job.model.apply({'params': params}, images / 127.5 - 1.0, train=False))
  np.testing.assert_allclose(evaluation.step(params, images), expected, rtol=1e-4, atol=1e-6)
  answering.answer.__self__.opened.params.update(params)
  np.testing.assert_allclose(answering.answer(images).probabilities, expected, rtol=1e-4, atol=1e-6)
  evaluation.run(1)
  answering.run(1)


def test_the_product_knows_the_machine(monkeypatch):
  monkeypatch.setattr(ours.forecast, 'measured', lambda dtype: (1e9, None if dtype == np.float32 else 5.0))
  product = ours.make(Setting('product', 'bfloat16'))
  assert product.facts()['environment']['versions']['jax'] == jax.__version__
  assert {'flops_per_second': 1e9, 'watts': 5.0}.items() <= product.turn(1.0).items()
