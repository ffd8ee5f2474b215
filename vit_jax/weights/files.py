"""Weights as one file: safetensors, with names as in the published files and all that predicting needs.

The metadata of the file hold `model.json` of the run, as text, and a line on what the weights are.
"""
import json
import pathlib

from flax import traverse_util
import jax.numpy as jnp
import numpy as np

from vit_jax import atomic
from vit_jax.errors import BadInput
from vit_jax.errors import one_line


def save(path, params, model, about, dtype='float32'):
  """Writes parameters f32, a tree or leaves by name, as `dtype`, with the run's `model` description, or nothing.

  `about` is a line on what the weights are.
  """
  from safetensors import flax as safetensors  # Here, not above: nothing else needs it.

  flat = {name: jnp.asarray(leaf, dtype) for name, leaf in traverse_util.flatten_dict(params, sep='/').items()}
  with atomic.replacing(pathlib.Path(path)) as partial:
    safetensors.save_file(flat, str(partial), {'model': json.dumps(model), 'about': about, 'format': 'vit_jax'})


def load(path):
  """Reads what `save` wrote: -> ({name: f32 array}, model description, line about them).

  Raises BadInput for what is no such file, or a damaged one.
  """
  import safetensors

  try:
    with safetensors.safe_open(path, 'flax') as file:
      metadata = file.metadata() or {}
      if metadata.get('format') != 'vit_jax':
        raise BadInput(f'{path} is a safetensors file, but not one of vit_jax')
      flat = {name: np.asarray(file.get_tensor(name), np.float32) for name in file.keys()}  # noqa: SIM118
      return flat, json.loads(metadata['model']), metadata['about']
  except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
    raise BadInput(f'{path} holds no weights that can be read ({one_line(error)})') from None
