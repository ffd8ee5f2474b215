"""How good answers are, from logits and labels of a whole part, on the host and in float64."""
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# Bins of confidence, of equal width, that calibration is judged in (Guo et al. 2017).
NUM_BINS = 15


def softmax(logits: ArrayLike, temperature: float = 1.0) -> np.ndarray:
  """Probabilities f64[N,K] of logits f[N,K] at a temperature."""
  from scipy import special  # Here, not above, as what follows: a training that starts needs none of it.

  return special.softmax(np.asarray(logits, np.float64) / temperature, axis=-1)


def cross_entropy(logits: ArrayLike, labels: np.ndarray, temperature: float = 1.0) -> float:
  """Mean over pictures of -log of the label's probability, in nats."""
  from scipy import special

  log_p = special.log_softmax(np.asarray(logits, np.float64) / temperature, axis=-1)
  return float(-log_p[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: ArrayLike, labels: np.ndarray) -> float:
  """The temperature of the least cross-entropy (Guo et al. 2017, section 4.2), from 0.05 to 20.

  To be fitted on a held-out part, never on the one that is judged: one number changes no class, only how sure it is.
  """
  from scipy import optimize

  loss = lambda log_t: cross_entropy(logits, labels, np.exp(log_t))
  found = optimize.minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method='bounded', options={'xatol': 1e-4})
  return float(np.exp(found.x))


def interval(correct: int, count: int) -> tuple[float, float]:
  """Where the accuracy lies with 95 % confidence, after so many pictures: Wilson's interval, (low, high) in [0,1]."""
  from scipy import stats

  low, high = stats.binomtest(int(correct), int(count)).proportion_ci(0.95, method='wilson')
  return float(low), float(high)


def bins(probabilities: np.ndarray, labels: np.ndarray) -> list[dict[str, float]]:
  """Confidence beside accuracy, for each bin with pictures: [{'low', 'high', 'count', 'confidence', 'accuracy'}].

  A picture's confidence is the highest of its probabilities; a bin holds (low, high].
  """
  confidence, right = probabilities.max(-1), probabilities.argmax(-1) == labels
  which = np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
  return [{'low': i / NUM_BINS, 'high': (i + 1) / NUM_BINS, 'count': int(inside.sum()),
           'confidence': float(confidence[inside].mean()), 'accuracy': float(right[inside].mean())}
          for i in range(NUM_BINS) if (inside := which == i).any()]


def calibration_error(rows: list[dict[str, float]]) -> float:
  """Expected calibration error: |confidence - accuracy| of what `bins` gives, by its pictures (Guo et al. 2017)."""
  gaps = [row['count'] * abs(row['confidence'] - row['accuracy']) for row in rows]
  return sum(gaps) / sum(row['count'] for row in rows)


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
  """Mean squared distance of the probabilities from the label's one-hot vector, in [0,2] (Brier 1950)."""
  return float(np.square(probabilities - np.eye(probabilities.shape[1])[labels]).sum(-1).mean())


def sureness(logits: ArrayLike, labels: np.ndarray, temperature: float = 1.0) -> dict[str, Any]:
  """What a temperature changes, JSON-able: 'loss' (nats), 'brier', 'calibration_error' and 'calibration_bins'."""
  probabilities = softmax(logits, temperature)
  rows = bins(probabilities, labels)
  return {'loss': cross_entropy(logits, labels, temperature), 'brier': brier_score(probabilities, labels),
          'calibration_error': calibration_error(rows), 'calibration_bins': rows}


def summary(logits: np.ndarray, labels: ArrayLike) -> dict[str, Any]:
  """Everything at once, JSON-able: f[N,K] and i[N] -> accuracy and all that the functions above say.

  'accuracy', 'accuracy_interval', 'top5' (with more than 5 classes) and what `sureness` gives; 'per_class':
  [{'count', 'precision', 'recall', 'f1'}]; 'confusion'[label][answer] in pictures. Precision is
  None where a class was never the answer, and recall where it has no picture.
  """
  from sklearn import metrics

  labels = np.asarray(labels)
  count, num_classes = logits.shape
  answers = logits.argmax(-1)
  correct = int((answers == labels).sum())
  classes = np.arange(num_classes)
  precision, recall, f1, support = metrics.precision_recall_fscore_support(
      labels, answers, labels=classes, zero_division=np.nan)
  number = lambda value: None if np.isnan(value) else float(value)
  found = {
      'count': count, 'accuracy': correct / count, 'accuracy_interval': interval(correct, count),
      **sureness(logits, labels),
      'per_class': [{'count': int(n), 'precision': number(p), 'recall': number(r), 'f1': number(f)}
                    for n, p, r, f in zip(support, precision, recall, f1, strict=True)],
      'confusion': metrics.confusion_matrix(labels, answers, labels=classes).tolist(),
  }
  if num_classes > 5:
    found['top5'] = float(metrics.top_k_accuracy_score(labels, logits, k=5, labels=classes))
  return found
