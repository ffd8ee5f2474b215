"""What a trained model knows of its own answers: how sure to be, what is unlike its training, and what is near.

Fitted once, from features of the training part and answers on the validation part, and kept in one small file of
numbers. Of the features it holds a Gaussian for each class with one covariance for all (Lee et al. 2018): a picture far
from each of them is of none of the classes. `experiments/out_of_distribution/` measures how much that sees, and misses.
"""
import dataclasses
import json
import pathlib

import numpy as np

from vit_jax import atomic
from vit_jax.errors import BadInput
from vit_jax.errors import one_line

NAME = 'calibration.safetensors'
# With fewer validation pictures neither temperature nor threshold is fitted: they would be chance.
ENOUGH = 50
# So many of the validation pictures, which are of the classes, would be called unknown.
UNKNOWN = 0.05
# The arrays: a Gaussian a class, and the training pictures' features.
GAUSSIAN, NEAREST = ('means', 'whitening'), ('features', 'positions')


@dataclasses.dataclass(frozen=True)
class Calibration:
  """Each part is None where it could not be fitted; the training pictures' stays behind when weights are exported."""
  temperature: float | None = None
  threshold: float | None = None  # on the distance that `distances` gives
  means: np.ndarray | None = None  # f32[C,D], of classes that have pictures
  whitening: np.ndarray | None = None  # f32[D,D], times its transpose it is the precision
  features: np.ndarray | None = None  # f16[M,H] of training pictures, those that the head reads, each of length one
  positions: np.ndarray | None = None  # i32[M], which pictures of the training part these are

  @property
  def divisor(self):
    """What logits are divided by before they become probabilities: the temperature, 1 where none was fitted."""
    return self.temperature or 1.0

  def distances(self, features):
    """How far pictures are from the nearest class, f[N,D] -> f64[N], in standard deviations (Mahalanobis distance)."""
    white = features.astype(np.float64) @ self.whitening
    return pairwise(white, self.means.astype(np.float64) @ self.whitening).min(axis=1)

  def nearest(self, features, k):
    """The nearest training pictures by features, f[N,D] -> (positions i32[N,k], distances f32[N,k]), nearest first.

    The distance is that of what the head reads, scaled to length one: from 0 for the same to 2 for the opposite.
    """
    away = pairwise(unit(features[:, :self.features.shape[1]]), self.features.astype(np.float64))
    order = np.argsort(away, axis=1, kind='stable')[:, :k]
    return self.positions[order], np.take_along_axis(away, order, axis=1).astype(np.float32)

  def without_pictures(self):
    """The same without the features of single training pictures, which say more of them than others need know."""
    return dataclasses.replace(self, features=None, positions=None)

  def arrays(self):
    """The arrays that there are, by name."""
    return {name: value for name in (*GAUSSIAN, *NEAREST) if (value := getattr(self, name)) is not None}

  def numbers(self):
    """The two numbers, JSON-able."""
    return {'temperature': self.temperature, 'threshold': self.threshold}


def pairwise(rows, others):
  """Euclidean distances, f64[N,D], f64[M,D] -> f64[N,M], without an array of all three sizes."""
  squares = np.square(rows).sum(axis=1)[:, None] + np.square(others).sum(axis=1) - 2 * rows @ others.T
  return np.sqrt(np.maximum(squares, 0))


def unit(features):
  """Features f[N,D] with length one each -> f64[N,D]; zero stays zero."""
  features = features.astype(np.float64)
  return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def fit(train, labels, positions, head, held_out, logits, held_out_labels):
  """From training pictures' features f[M,D], labels i[M] and positions i[M], and the validation part's: -> Calibration.

  The first `head` features are those that the head reads. `held_out` are the validation part's features f[N,D], and
  `logits` its answers f[N,K].
  """
  from vit_jax import metrics  # Here, not above: SciPy, which it needs, takes a fifth of a second that asking need not.

  if not (np.isfinite(train).all() and np.isfinite(held_out).all() and np.isfinite(logits).all()):
    return Calibration()  # Weights that broke in training know nothing.
  means, whitening = gaussian(train, labels)
  found = Calibration(means=means, whitening=whitening, features=unit(train[:, :head]).astype(np.float16),
                      positions=np.asarray(positions, np.int32))
  if len(held_out) < ENOUGH:
    return found
  return dataclasses.replace(found, temperature=metrics.fit_temperature(logits, held_out_labels),
                             # Where all features are the same, so are all distances, and nothing is unlike.
                             threshold=float(np.quantile(found.distances(held_out), 1 - UNKNOWN)) or None)


def gaussian(features, labels):
  """Means of the classes f32[C,D] and a whitening f32[D,D] of what is left, f[M,D], i[M] -> both.

  The covariance is shrunk towards an even one as far as so few pictures ask for (Ledoit & Wolf 2004).
  """
  from sklearn import covariance  # Here, not above: only fitting needs it.

  features = features.astype(np.float64)
  classes, which = np.unique(labels, return_inverse=True)
  means = np.stack([features[which == i].mean(axis=0) for i in range(len(classes))])
  shrunk, _ = covariance.ledoit_wolf(features - means[which], assume_centered=True)
  values, directions = np.linalg.eigh(shrunk)
  # A direction in which nothing varies has no scale of its own; it gets a very small one.
  values = np.maximum(values, 1e-6 * max(values.max(), 1e-12))
  return means.astype(np.float32), (directions / np.sqrt(values)).astype(np.float32)


def save(path, found, weights_sha256):
  """Writes a Calibration of the weights with this digest, as one file, whole or not at all."""
  from safetensors import numpy as safetensors  # Here, not above: start-up need not wait for it.

  metadata = {'calibration': json.dumps(found.numbers()), 'weights_sha256': weights_sha256}
  data = safetensors.save(found.arrays(), metadata)
  with atomic.replacing(pathlib.Path(path)) as partial:  # Its own writing would not say what the system said.
    partial.write_bytes(data)


def read(path, weights_sha256):
  """The Calibration in a file of `save`, or None where there is none, or it is of other weights.

  Raises BadInput for a damaged one.
  """
  import safetensors

  if not pathlib.Path(path).exists():
    return None
  try:
    with safetensors.safe_open(path, 'numpy') as file:
      metadata = file.metadata()
      arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata['weights_sha256'] != weights_sha256:
      return None
    return made_of(json.loads(metadata['calibration']), arrays)
  except PermissionError:
    raise BadInput(f'{path} cannot be read (no permission)') from None
  except Exception as error:  # Whatever a decoder stumbles over.
    raise BadInput(f'{path} is damaged ({one_line(error)}); remove it, and vit_jax.main --evaluate writes it anew'
                   ) from None


def made_of(numbers, arrays):
  """A Calibration of its two numbers and its arrays by name; raises ValueError, KeyError or TypeError for damage."""
  for name in ('temperature', 'threshold'):
    value = numbers[name]
    if value is not None and not (np.isfinite(value) and value > 0):
      raise ValueError(f'{name} is {value!r}')
  found = Calibration(**{name: numbers[name] for name in ('temperature', 'threshold')}, **arrays)
  for pair in (GAUSSIAN, NEAREST):
    if any((getattr(found, name) is None) != (getattr(found, pair[0]) is None) for name in pair):
      raise ValueError(f'of {" and ".join(pair)} one is missing')
  if found.threshold is not None and found.means is None:
    raise ValueError('there is a threshold and no means')
  for name, array in found.arrays().items():
    if array.ndim != (1 if name == 'positions' else 2) or not array.size or not np.isfinite(array).all():
      raise ValueError(f'{name} has the shape {array.shape}, or numbers that are none')
  if found.means is not None and found.whitening.shape != 2 * found.means.shape[1:]:
    raise ValueError(f'means {found.means.shape} and whitening {found.whitening.shape} do not fit')
  if found.features is not None and len(found.features) != len(found.positions):
    raise ValueError(f'{len(found.features)} features have {len(found.positions)} positions')
  return found


def check_width(found, head, width, path):
  """Raises BadInput where a Calibration is not of a model with so many features, and so many that the head reads."""
  for name, wanted in (('means', width), ('features', head)):
    if (array := getattr(found, name)) is not None and array.shape[1] != wanted:
      raise BadInput(f'the calibration of {path} is of another model ({name} of {array.shape[1]} numbers, not '
                     f'{wanted}); remove it, and vit_jax.main --evaluate writes it anew')
