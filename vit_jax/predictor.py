"""Weights that answer: pictures in; out come probabilities, whether they are of the classes at all, and the nearest."""
from collections.abc import Callable
import dataclasses
import functools
import pathlib

import jax
import numpy as np
from numpy.typing import ArrayLike

from vit_jax import answerer
from vit_jax import paths
from vit_jax.data.source import Source
from vit_jax.errors import BadInput
from vit_jax.models import features as features_lib
from vit_jax.types import Params
from vit_jax.weights import load

# Pictures that are answered in one piece.
BATCH = 64


@dataclasses.dataclass(frozen=True)
class Answers:
  """What the model says of N pictures."""
  probabilities: np.ndarray  # f32[N,K], as sure as the validation pictures allow, where they could say
  known: np.ndarray  # bool[N], False for what is unlike the training; all True where nobody can say
  features: np.ndarray  # f32[N,D], see models/features.py


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
  """A model with its weights and its calibration, and where they are from."""
  opened: load.Opened
  path: str
  cache_dir: pathlib.Path

  @classmethod
  def load(cls, path: str, cache_dir: str = '~/.cache/vit_jax') -> 'Predictor':
    """Opens a run folder, a .safetensors file or shipped weights by name; raises BadInput for what is none of them.

    It computes in float32 whatever it was trained in, so that all machines give the same answer. `cache_dir` is where
    `training_pictures` finds decoded ones.
    """
    return cls(load.open_model(path), path, paths.typed(cache_dir))

  @property
  def class_names(self) -> tuple[str, ...]:
    """The names of the K classes."""
    return self.opened.class_names

  @property
  def image_size(self) -> int:
    """Pixels a side of the pictures that it takes, S."""
    return self.opened.image_size

  @property
  def calibrated(self) -> bool:
    """Whether the probabilities are at a temperature that was fitted on validation pictures."""
    return self.opened.calibration.temperature is not None

  @property
  def can_tell(self) -> bool:
    """Whether `known` says anything: there is a threshold on how unlike the training a picture may be."""
    return self.opened.calibration.threshold is not None

  @property
  def remembers(self) -> bool:
    """Whether `nearest` finds anything: the features of training pictures are there."""
    return self.opened.calibration.features is not None

  @property
  def can_learn(self) -> bool:
    """Whether this is a run that was never calibrated, so that an evaluation would do it."""
    return not self.remembers and self._is_run

  @property
  def _is_run(self) -> bool:
    """Whether the weights are those of a run folder, which says what it was trained on."""
    return (paths.typed(self.path) / 'config.json').exists()

  def answer(self, images: np.ndarray) -> Answers:
    """Pictures u8[N,S,S,3] -> Answers."""
    probabilities, features = answerer.in_batches(BATCH, self._answer, images)
    known = np.ones(len(images), bool)
    if self.can_tell:
      known = self.opened.calibration.distances(features) <= self.opened.calibration.threshold
    return Answers(probabilities, known, features)

  def nearest(self, features: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The training pictures most like those with these features, f32[N,D]: -> (positions i32[N,k], distances f32[N,k]).

    Positions are in the run's training part, nearest first; see `calibration.Calibration.nearest` for the distance.
    Of a training part with fewer pictures, all. Raises BadInput where `remembers` is False.
    """
    if not self.remembers:
      raise BadInput(f'{self.path} knows no training pictures: exported weights never hold them, as they are private, '
                     'and a run gets them from vit_jax.main --evaluate')
    return self.opened.calibration.nearest(features, k)

  def training_pictures(self, positions: ArrayLike) -> tuple[np.ndarray, list[str]]:
    """Pictures of the run's training part, i32[k] -> (u8[k,S,S,3], the names of their classes).

    The first call reads the run's data. Raises BadInput where they are gone or not what they were, or `path` is no run.
    """
    found = self._train.read(np.asarray(positions, np.int64))
    return found['image'], [self.class_names[label] for label in found['label']]

  @functools.cached_property
  def _train(self) -> Source:
    from vit_jax import job as job_lib  # Here, not above: nothing else needs the data.
    from vit_jax import run

    if not self._is_run:
      raise BadInput(f'{self.path} is no run folder, so its training pictures are not known')
    return job_lib.of_run(run.RunFolder(self.path), self.cache_dir).data.train

  @functools.cached_property
  def _answer(self) -> Callable[[np.ndarray], tuple[jax.Array, jax.Array]]:
    model, temperature = self.opened.model, self.opened.calibration.divisor

    @jax.jit
    def answer(params: Params, images: jax.Array) -> tuple[jax.Array, jax.Array]:
      found, logits = features_lib.features_and_logits(model, params, images)
      return jax.nn.softmax(logits / temperature), found
    return functools.partial(answer, self.opened.params)
