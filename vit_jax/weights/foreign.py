"""Weights that other programs wrote: the published ViT files, big_vision's, timm's and Hugging Face's.

Whose they are, their names say. Everything the models here take is a picture in [-1, 1]; where a model was trained on
pixels of another mean and standard deviation, that is folded into its patch embedding, which is linear, so that the
function from the picture to the logits stays the same.
"""
import dataclasses

from flax import traverse_util
import jax.numpy as jnp
import numpy as np

from vit_jax.errors import BadInput
from vit_jax.models import described
from vit_jax.models import variants
from vit_jax.weights import adapt
from vit_jax.weights import beside
from vit_jax.weights import huggingface
from vit_jax.weights import published
from vit_jax.weights import sizes
from vit_jax.weights import timm


def read(flat, path):
  """{name: f32 array} of a file, whose JSON files lie beside it -> (the same as ours, model description, a line).

  Raises BadInput where the arrays are not those of one whole model that we have.
  """
  try:
    found = recognise(flat, path.parent)
    found = with_all_positions(folded(found))
    cells = sizes.infer(found.flat, found.sizes)
    check_agreement(found, cells)
    model = variants.make_vit({key: value for key, value in cells.items() if key != 'num_classes'},
                              num_classes=cells['num_classes'], dtype=jnp.float32)
    size = sizes.image_size(found.flat, model)
    variants.check_image_size(model, size)
    if problems := adapt.compare(found.flat, parameters(model, size)):
      raise BadInput(adapt.summary(problems))
  except BadInput as error:
    raise BadInput(f'the weights of {path} are not those of a ViT that vit_jax has: {error}') from None
  # Without a head there are no classes, whatever config.json has kept of them.
  names = (found.class_names or tuple(map(str, range(model.num_classes)))) if model.num_classes else ()
  about = f'{sizes.variant(cells) or "a ViT"} of {found.format}, {path}' + (f' ({found.note})' if found.note else '')
  return found.flat, described.describe(model, names, size), about


def parameters(model, image_size):
  """The shapes of a model's parameters by name. Its blocks are alike: one is traced, as 24 of them take seconds."""
  one = traverse_util.flatten_dict(variants.abstract_params(model.clone(num_layers=1), image_size), sep='/')
  blocks = lambda name: range(model.num_layers if '/encoderblock_0/' in name else 1)
  return {name.replace('encoderblock_0', f'encoderblock_{i}'): leaf for name, leaf in one.items() for i in blocks(name)}


def recognise(flat, folder):
  """Whose weights these are, by their names -> Found; raises BadInput where it is nobody's we know."""
  if published.matches(flat):
    return published.read(flat)
  if timm.matches(flat):
    return timm.read(flat, beside.read_json(folder, 'config.json'))
  if huggingface.matches(flat):
    return huggingface.read(flat, beside.read_json(folder, 'config.json'),
                            beside.read_json(folder, 'preprocessor_config.json'))
  if any(name.startswith('patch_embed.backbone.') for name in flat):
    raise BadInput("timm's hybrids are not read; the published .npz of the same models are")
  raise BadInput(f'its names are those of no ViT: {", ".join(sorted(flat)[:5]) or "there are none"}')


def folded(found):
  """The same for pictures in [-1, 1]: with x = 2u - 1, (u - mean) / std = x / (2 std) + (0.5 - mean) / std."""
  kernel, bias = found.flat.get('embedding/kernel'), found.flat.get('embedding/bias')
  if found.normalization == beside.HALVES or np.shape(kernel)[2:3] != (3,) or np.shape(kernel)[3:] != np.shape(bias):
    return found
  mean, std = (np.asarray(values, np.float64) for values in found.normalization)
  shift = np.einsum('hwcd,c->d', kernel, (.5 - mean) / std)
  new = {'embedding/kernel': (kernel / (2 * std)[:, None]).astype(np.float32),
         'embedding/bias': (bias + shift).astype(np.float32)}
  return dataclasses.replace(found, flat=found.flat | new)


def with_all_positions(found):
  """The same with a position for each token: big_vision and some of timm's give none to those in front, so zero."""
  table, front = found.flat.get(sizes.POSITIONS), sizes.num_front(found.flat)
  is_grid = lambda count: count > 0 and round(count**.5)**2 == count
  if np.ndim(table) != 3 or not front or is_grid(table.shape[1] - front) or not is_grid(table.shape[1]):
    return found
  zeros = np.zeros((1, front, table.shape[2]), np.float32)
  return dataclasses.replace(found, flat=found.flat | {sizes.POSITIONS: np.concatenate([zeros, table], axis=1)})


def check_agreement(found, cells):
  """Raises BadInput where the files beside the weights speak of another model."""
  for key, value in found.agree.items():
    if value != cells[key]:
      raise BadInput(f'config.json says that {key} is {value!r}, and the arrays that it is {cells[key]}')
  if found.class_names and len(found.class_names) != cells['num_classes'] > 0:
    raise BadInput(f'config.json names {len(found.class_names)} classes, and the arrays have {cells["num_classes"]}')
