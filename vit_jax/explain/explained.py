"""An answer explained, as one picture: what was asked, what the answer rests on, the training pictures most like it."""
import hashlib
import itertools
import os
import pathlib

from PIL import Image
from PIL import PngImagePlugin

from vit_jax import atomic
from vit_jax import paths
from vit_jax.errors import BadInput
from vit_jax.explain import explainer
from vit_jax.explain import faithfulness
from vit_jax.explain import overlay
from vit_jax.models import variants
from vit_jax.models import vit

NEAREST = 5
# By this the files are known as ours, and may be written anew.
SOFTWARE = 'vit_jax.predict'


def source_of(name, image):
  """What tells the picture's file from those of others, a digest: of its whole path, or of u8[S,S,3] where it has none.

  Nobody who is shown the file can tell from it where the picture was.
  """
  return hashlib.sha256(image.tobytes() if name == '-' else os.fsencode(os.path.abspath(name))).hexdigest()


def place(folder, name, source):
  """The file for the picture `name`: FOLDER/NAME.png, or NAME-2.png and so on where that is something else's.

  A file that was written for the same picture before, so with the same `source_of`, has the place again.
  """
  stem = 'stdin' if name == '-' else pathlib.PurePath(name).stem
  numbered = (folder / f'{stem}{"" if number == 1 else f"-{number}"}.png' for number in itertools.count(1))
  return next(path for path in numbered if not path.exists() or is_of(path, source))


def is_of(path, source):
  """Whether a file was written by `Sheets` for a picture of this `source_of`."""
  try:
    with Image.open(path) as image:
      return (image.info.get('Software'), image.info.get('Source')) == (SOFTWARE, source)
  except Exception:  # Whatever a decoder stumbles over.
    return False


class Sheets:
  """Writes a PNG for each answered picture into a folder, which is made; raises BadInput where that cannot be."""

  def __init__(self, predictor, folder, kind):
    opened = predictor.opened
    self.predictor, self.kind = predictor, kind
    self.folder = paths.typed(folder)
    self.cells = 2 * (opened.image_size // variants.stride(opened.model),)
    self.why_not = None  # The reason why there are no nearest training pictures, once it is known.
    if kind != 'occlusion':
      if not isinstance(opened.model, vit.VisionTransformer):
        raise BadInput(f'--map={kind} is read off the attention, which this model has not; take --map=occlusion')
      self.seer = explainer.Explainer(opened.model, opened.params, opened.class_names, opened.image_size)
    try:
      self.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise BadInput(f'{folder} cannot be made ({error.strerror}); name another folder for the explanations'
                     ) from None

  def map(self, image, label, probability):
    """What the class rests on, f32[h,w]."""
    if self.kind == 'occlusion':
      answer = lambda images: self.predictor.answer(images).probabilities
      return faithfulness.occlusion_map(answer, image, label, probability, self.cells)
    look = self.seer.look(image[None], [[label]])
    return look.rollout[0] if self.kind == 'rollout' else look.relevance[0, 0]

  def nearest(self, features):
    """The training pictures most like one with these features f32[D], with captions; [] where they cannot be had."""
    if self.why_not:
      return []
    try:
      positions, distances = self.predictor.nearest(features[None], NEAREST)
      pictures, names = self.predictor.training_pictures(positions[0])
    except BadInput as error:
      self.why_not = str(error)
      return []
    return [(picture, f'near: {name}, {distance:.2f}')
            for picture, name, distance in zip(pictures, names, distances[0], strict=True)]

  def write(self, name, image, probabilities, known, features):
    """One picture u8[S,S,3] with its answer f32[K] and features f32[D]: -> the path of its file."""
    label = int(probabilities.argmax())
    values = self.map(image, label, probabilities[label])
    answer = f'{self.predictor.class_names[label]} {probabilities[label]:.0%}'
    row = [(image, answer if known else f'none? {answer}'), (overlay.overlay(image, values, 256), self.kind)]
    near = self.nearest(features)
    source = source_of(name, image)
    path = place(self.folder, name, source)
    info = PngImagePlugin.PngInfo()
    info.add_text('Software', SOFTWARE)
    info.add_text('Source', source)
    with atomic.replacing(path) as partial:
      overlay.sheet([row, near] if near else [row]).save(partial, 'PNG', pnginfo=info)
    return path
