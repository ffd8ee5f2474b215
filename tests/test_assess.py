"""What an evaluation makes of answers, on made-up pictures and a model that answers with a column of them."""
import types

import numpy as np
from scipy import special

from vit_jax import answerer
from vit_jax import assess
from vit_jax import job as job_lib
from vit_jax import run
from vit_jax.data import source

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (40, 8, 8, 3), np.uint8), RNG.integers(0, 3, 40).astype(np.int32)


class Columns:
  """Answers with the second row's leftmost pixel: three colours, three classes."""

  def logits(self, part, change=lambda images: images):
    return change(part.read(np.arange(len(part)))['image'])[:, 1, 0].astype(np.float64)


def test_mirrored_and_both_views_are_of_pictures_mirrored_left_to_right(tmp_path, monkeypatch):
  monkeypatch.setattr(assess, 'CORRUPTED', 7)
  folder = run.RunFolder(tmp_path)
  found = assess.judge(Columns(), types.SimpleNamespace(test=source.Source.whole(IMAGES, LABELS)), folder, 3, 1.0)
  left, right = IMAGES[:, 1, 0].astype(np.float64), IMAGES[:, 1, -1].astype(np.float64)
  assert found['test']['accuracy'] == np.mean(left.argmax(1) == LABELS)
  assert found['mirrored'] == np.mean(right.argmax(1) == LABELS)
  both = special.softmax(left, axis=1) + special.softmax(right, axis=1)
  assert found['both_views'] == np.mean(both.argmax(1) == LABELS)
  some = [0, 6, 13, 19, 26, 32, 39]
  assert (found['corrupted_count'], found['uncorrupted']) == (7, np.mean(left.argmax(1)[some] == LABELS[some]))
  with np.load(tmp_path / 'predictions.npz') as kept:
    assert kept['step'] == 3
    np.testing.assert_array_equal(kept['labels'], LABELS)
    np.testing.assert_array_equal(kept['logits'], left)


def test_of_many_training_pictures_some_are_remembered_by_their_places(tmp_path, monkeypatch, tiny_digits):
  monkeypatch.setattr(answerer, 'REMEMBERED', 100)
  job = job_lib.prepare(tiny_digits(), tmp_path)
  folder, params = run.RunFolder(tmp_path), job.initial_state().ema
  found = answerer.calibrate(job, params, folder)
  np.testing.assert_array_equal(found.positions, np.linspace(0, len(job.data.train) - 1, 100).astype(int))
  at = found.positions[[3, 50, 99]]
  features, _ = answerer.Answerer(job, params)(job.data.train.take(at))
  positions, distances = found.nearest(features, 1)
  np.testing.assert_array_equal(positions[:, 0], at)
  assert distances.max() < .01
