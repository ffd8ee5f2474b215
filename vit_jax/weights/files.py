"""Our own form of weights in one file: safetensors, with names as in the published files and all that predicting needs.

The metadata of the file hold `model.json` of the run, as text, and a line on what the weights are.
"""
import json
import pathlib

from flax import traverse_util
import jax.numpy as jnp

from vit_jax import atomic
from vit_jax import run
from vit_jax.errors import BadInput
from vit_jax.errors import one_line
from vit_jax.models import variants

FORMAT = 'vit_jax'


def save(path, params, model, about, dtype='float32'):
  """Writes parameters f32, a tree or leaves by name, as `dtype`, with the run's `model` description, or nothing.

  `about` is a line on what the weights are.
  """
  from safetensors import flax as safetensors  # Here, not above: nothing else needs it.

  flat = {name: jnp.asarray(leaf, dtype) for name, leaf in traverse_util.flatten_dict(params, sep='/').items()}
  with atomic.replacing(pathlib.Path(path)) as partial:
    safetensors.save_file(flat, str(partial), {'model': json.dumps(model), 'about': about, 'format': FORMAT})


def is_ours(metadata):
  """Whether `save` wrote the file with these metadata {str: str}."""
  return metadata.get('format') == FORMAT


def described(metadata, path):
  """What `save` wrote beside the numbers: -> (model description, line about them); raises BadInput for damage."""
  try:
    model = json.loads(metadata['model'])
    if model is not None:
      variants.check_image_size(run.model_from(model), model['preprocessing']['image_size'])
      list(model['class_names'])
    return model, metadata['about']
  except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
    raise BadInput(f'{path} holds no weights that can be read: its description is damaged ({one_line(error)})'
                   ) from None
