"""Weights that explain themselves: pictures in, probabilities and maps out."""
from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from vit_jax import answerer
from vit_jax import augment
from vit_jax.errors import BadInput
from vit_jax.explain import attention
from vit_jax.types import Params
from vit_jax.weights import load

# Pictures in one piece: answered, and looked at. Of ViT-B/16 the latter takes 2.3 GB of memory.
ANSWERED, LOOKED_AT = 64, 8


@dataclasses.dataclass(frozen=True)
class Look:
  """What a model answers on N pictures, and what it looks at, as maps on the grid of patches."""
  probabilities: np.ndarray  # f32[N,K]
  classes: np.ndarray  # i64[N,C], those that `relevance` is for
  rollout: np.ndarray  # f32[N,h,w], the same for each class
  relevance: np.ndarray  # f32[N,C,h,w]


@dataclasses.dataclass(frozen=True, eq=False)
class Explainer:
  """A model with its weights, the names of its classes, and the size of the pictures it takes."""
  model: Any
  params: Any
  class_names: tuple[str, ...]
  image_size: int

  def __post_init__(self) -> None:
    attention.grid(self.model, (self.image_size, self.image_size, 3))

  @classmethod
  def load(cls, path: str) -> 'Explainer':
    """Opens a run folder, a .safetensors file or shipped weights by name; raises BadInput for what is none of them.

    So it does for a ResNet, which has no attention.
    """
    opened = load.open_model(path)
    attention.check(opened.model)
    return cls(opened.model, opened.params, opened.class_names, opened.image_size)

  @property
  def cells(self) -> tuple[int, int]:
    """Patches down and across, (h, w)."""
    return attention.grid(self.model, (self.image_size, self.image_size, 3))

  def look(self, images: np.ndarray, classes: ArrayLike | None = None, num_classes: int = 2) -> Look:
    """Pictures u8[N,S,S,3] -> Look; with maps for `classes` i[N,C], or for the `num_classes` most probable, best first.

    Raises BadInput where a class is none of the model's.
    """
    probabilities = self.probabilities(images)
    if classes is None:
      classes = np.argsort(-probabilities, axis=1, kind='stable')[:, :num_classes]
    classes = np.asarray(classes)
    known = len(self.class_names)
    if classes.size and not 0 <= classes.min() <= classes.max() < known:
      raise BadInput(f'class {classes.min() if classes.min() < 0 else classes.max()} is none of the {known} that the '
                     f'model knows; take 0 to {known - 1}')
    rollout, relevance = answerer.in_batches(LOOKED_AT, self._maps, images, classes.astype(np.int32))
    return Look(probabilities, classes, rollout, relevance)

  def probabilities(self, images: np.ndarray) -> np.ndarray:
    """Pictures u8[N,S,S,3] -> probabilities f32[N,K], as they are before any calibration."""
    return answerer.in_batches(ANSWERED, self._answer, images)[0]

  def attention(self, images: np.ndarray) -> np.ndarray:
    """Pictures u8[N,S,S,3] -> attention f32[N,L,H,T,T]: of each layer and head, what each token takes from each."""
    return answerer.in_batches(LOOKED_AT, self._attention, images)[0]

  def head_maps(self, images: np.ndarray) -> np.ndarray:
    """Pictures u8[N,S,S,3] -> f32[N,L,H,h,w]: what each head takes from each patch for the tokens that are read out."""
    return np.asarray(attention.on_grid(self.model, self.attention(images), self.cells))

  def mean_attention(self, images: np.ndarray) -> np.ndarray:
    """Pictures u8[N,S,S,3] -> their mean attention from patch to patch f32[L,H,N,N], for `distances` and heads.py."""
    total = np.zeros(())
    for start in range(0, len(images), LOOKED_AT):
      maps = attention.between_patches(self.model, self.attention(images[start:start + LOOKED_AT]))
      total = total + np.asarray(maps, np.float64).sum(axis=0)
    return (total / len(images)).astype(np.float32)

  def distances(self, mean_attention: np.ndarray) -> np.ndarray:
    """How far each head looks, in pixels: what `mean_attention` gave -> f32[L,H]."""
    return attention.distances(self.model, mean_attention, self.cells)

  @functools.cached_property
  def _answer(self) -> Callable:
    model = self.model.clone(dtype=jnp.float32)  # As its maps are.
    answer = lambda params, images: model.apply({'params': params}, augment.normalize(images), train=False)
    compiled = jax.jit(lambda params, images: (jax.nn.softmax(answer(params, images)),))
    return functools.partial(compiled, self.params)

  @functools.cached_property
  def _attention(self) -> Callable:
    attend = lambda params, images: attention.attend(self.model, params, augment.normalize(images))[1]
    compiled = jax.jit(lambda params, images: (jnp.moveaxis(attend(params, images), 1, 0),))
    return functools.partial(compiled, self.params)

  @functools.cached_property
  def _maps(self) -> Callable:
    def maps(params: Params, images: jax.Array, classes: jax.Array) -> tuple[jax.Array, jax.Array]:
      _, seen, related = attention.attend_and_relate(self.model, params, augment.normalize(images), classes)
      of_classes = attention.relevance_map(self.model, related, self.cells)
      return attention.rollout_map(self.model, seen, self.cells), jnp.moveaxis(of_classes, 0, 1)
    return functools.partial(jax.jit(maps), self.params)
