"""Metrics against numbers by hand, scikit-learn and closed forms."""
import json

import numpy as np
import pytest
from scipy import special
from sklearn import metrics as sklearn_metrics

from vit_jax import metrics


def made(count=2_000, num_classes=7, temperature=1.0, seed=0):
  """Logits, and labels that really are drawn from them at a temperature."""
  rng = np.random.default_rng(seed)
  logits = 2 * rng.normal(size=(count, num_classes))
  p = special.softmax(logits / temperature, axis=-1)
  return logits, (p.cumsum(-1) > rng.uniform(size=(count, 1))).argmax(-1)


def test_summary_is_what_scikit_learn_says():
  logits, labels = made()
  found, p = metrics.summary(logits, labels), special.softmax(logits, axis=-1)
  answers = logits.argmax(-1)
  report = sklearn_metrics.classification_report(labels, answers, output_dict=True)
  assert found['accuracy'] == pytest.approx(report['accuracy'])
  assert found['loss'] == pytest.approx(sklearn_metrics.log_loss(labels, p))
  among_five = [label in np.argsort(row)[-5:] for row, label in zip(p, labels, strict=True)]
  assert found['top5'] == pytest.approx(np.mean(among_five))
  for i, row in enumerate(found['per_class']):
    assert row['count'] == report[str(i)]['support']
    for ours, theirs in [('precision', 'precision'), ('recall', 'recall'), ('f1', 'f1-score')]:
      assert row[ours] == pytest.approx(report[str(i)][theirs])
  confusion = np.zeros((7, 7), int)
  np.add.at(confusion, (labels, answers), 1)
  assert found['confusion'] == confusion.tolist()
  # One class against the rest, summed: scikit-learn has Brier's score of two classes.
  assert found['brier'] == pytest.approx(
      sum(sklearn_metrics.brier_score_loss(labels == k, p[:, k]) for k in range(7)))
  json.dumps(found)


def test_interval_by_hand():
  # Wilson 1927: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.959964.
  low, high = metrics.interval(83, 100)
  z, p, n = 1.959964, 0.83, 100
  middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
  assert (low, high) == pytest.approx(((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)), abs=1e-6)
  assert metrics.interval(10, 10)[1] == 1.0 and metrics.interval(0, 10)[0] == 0.0


def test_calibration_error_by_hand():
  # Two pictures at 0.9, one of them right, and two at 0.6, both right: (2·|.9 - .5| + 2·|.6 - 1|) / 4.
  p = np.array([[.9, .1], [.9, .1], [.4, .6], [.6, .4]])
  labels = np.array([0, 1, 1, 0])
  assert metrics.calibration_error(metrics.bins(p, labels)) == pytest.approx(0.4)
  assert [(row['count'], row['accuracy']) for row in metrics.bins(p, labels)] == [(2, 1.0), (2, 0.5)]
  # Edges belong to the bin below; 1 and 1/K have a bin too.
  sure = metrics.bins(np.array([[1.0, 0.0], [2 / 3, 1 / 3]]), np.array([0, 0]))
  assert [(row['low'], row['high']) for row in sure] == [(9 / 15, 10 / 15), (14 / 15, 1.0)]


def test_what_is_drawn_from_the_probabilities_is_calibrated():
  logits, labels = made(100_000)
  assert metrics.sureness(logits, labels)['calibration_error'] < 0.01
  assert metrics.sureness(3 * logits, labels)['calibration_error'] > 0.1
  # A temperature takes that back.
  mended, plain = metrics.sureness(3 * logits, labels, temperature=3.0), metrics.sureness(logits, labels)
  for name in ('loss', 'brier', 'calibration_error'):
    assert mended[name] == pytest.approx(plain[name])


@pytest.mark.parametrize('temperature', [0.3, 1.0, 4.0])
def test_the_temperature_that_made_the_labels_is_found(temperature):
  logits, labels = made(50_000, temperature=temperature)
  assert metrics.fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_classes_without_pictures_or_answers_are_none_and_two_classes_have_no_top5():
  found = metrics.summary(np.array([[5.0, 0, 0], [5.0, 0, 0]]), np.array([0, 1]))
  first, second, third = found['per_class']
  assert first == {'count': 1, 'precision': 0.5, 'recall': 1.0, 'f1': pytest.approx(2 / 3)}
  assert (second['precision'], second['recall']) == (None, 0.0)
  assert (third['count'], third['precision'], third['recall']) == (0, None, None)
  assert 'top5' not in found
