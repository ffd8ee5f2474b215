"""One picture → what a model says of it, where that is in the picture, and the training pictures nearest to it."""
import dataclasses
import sys

import numpy as np

from vit_jax import paths
from vit_jax import predictor as predictor_lib
from vit_jax.data import picture
from vit_jax.errors import BadInput
from vit_jax.explain import explainer as explainer_lib
from vit_jax.explain import faithfulness

# Squares a side that are covered in turn, at most: with more, large models would be waited for.
SQUARES = 8
NEAREST = 6

# What a map can show; the last two are read off the attention, which not every model has.
COVERING, RELEVANCE, HEAD = 'covering', 'relevance', 'head'


@dataclasses.dataclass(eq=False)
class Seen:
  """A picture that was answered; what else is asked about it is worked out once, and kept."""
  image: np.ndarray  # u8[S,S,3], the middle square, as the model gets it
  probabilities: np.ndarray  # f32[K]
  known: bool  # False where it is unlike the training
  features: np.ndarray  # f32[1,D]
  maps: dict = dataclasses.field(default_factory=dict)

  @property
  def best(self):
    """The most probable class."""
    return int(self.probabilities.argmax())


@dataclasses.dataclass(eq=False)
class Looker:
  """Weights with everything that can be asked of them."""
  predictor: predictor_lib.Predictor
  explainer: explainer_lib.Explainer | None  # None for a model without attention
  no_memory: str  # why no training pictures can be shown, '' where they can

  @classmethod
  def load(cls, path, cache_dir):
    """Opens what Predictor.load opens, and the training pictures where they are at hand."""
    predictor = predictor_lib.Predictor.load(path, cache_dir)
    opened = predictor.opened
    try:
      explainer = explainer_lib.Explainer(opened.model, opened.params, opened.class_names, opened.image_size)
    except BadInput:
      explainer = None
    return cls(predictor, explainer, why_no_memory(predictor))

  @property
  def layers_and_heads(self):
    """(layers, heads) that a map can be asked of, (0, 0) where there are none."""
    return (self.explainer.model.num_layers, self.explainer.model.num_heads) if self.explainer else (0, 0)

  def see(self, data):
    """The bytes of a file -> Seen; raises picture.Unreadable with the reason."""
    image, _ = picture.read(data, self.predictor.image_size)
    answers = self.predictor.answer(image[None])
    return Seen(image, answers.probabilities[0], bool(answers.known[0]), answers.features)

  def map(self, seen, kind, layer=0, head=0):
    """Where it is in a picture: -> f32[h,w], high where it matters, or where a head of a layer looks; both from 0."""
    if kind not in seen.maps:
      image = seen.image[None]
      if kind == COVERING:
        answer = lambda images: self.predictor.answer(images).probabilities
        probability, cells = seen.probabilities[seen.best], 2 * (squares(len(seen.image)),)
        seen.maps[kind] = faithfulness.occlusion_map(answer, seen.image, seen.best, probability, cells)
      elif not self.explainer:
        raise BadInput(f'there is no map {kind!r} of a model without attention')
      elif kind == RELEVANCE:
        seen.maps[kind] = self.explainer.look(image, [[seen.best]]).relevance[0, 0]
      else:
        seen.maps[kind] = self.explainer.head_maps(image)[0]
    return seen.maps[kind][layer, head] if kind == HEAD else seen.maps[kind]

  def nearest(self, seen):
    """The training pictures that are most like it: -> [(u8[S,S,3], class name, distance), …]; none if `no_memory`."""
    if self.no_memory:
      return []
    positions, distances = self.predictor.nearest(seen.features, NEAREST)
    return list(zip(*self.predictor.training_pictures(positions[0]), distances[0].tolist(), strict=True))

  def warm_up(self):
    """Compiles all that will be asked, so that the first picture need not wait for it."""
    size = self.predictor.image_size
    image = np.full((size, size, 3), faithfulness.GREY, np.uint8)
    answers = self.predictor.answer(image[None])
    seen = Seen(image, answers.probabilities[0], True, answers.features)
    for kind in (COVERING, RELEVANCE, HEAD) if self.explainer else (COVERING,):
      self.map(seen, kind)
    self.nearest(seen)


def why_no_memory(predictor):
  """Whether the pictures that the model was trained on can be shown: -> '', or the reason why not."""
  try:
    if not predictor.remembers:
      predictor.nearest(np.zeros((1, 1), np.float32), 1)  # It says why.
    predictor.training_pictures(np.zeros(1, np.int64))
  except BadInput as error:  # It says where things are on this machine, which visitors need not know.
    print(f'note: no training pictures are shown: {error}', file=sys.stderr, flush=True)
    return f'{paths.name_of(predictor.path)} knows no training pictures, or they are not here'
  return ''


def squares(image_size):
  """How many equal squares a side, at most SQUARES, divide a picture of so many pixels a side."""
  return max(count for count in range(1, SQUARES + 1) if image_size % count == 0)
