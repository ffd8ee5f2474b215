"""Our own form of weights in one file: safetensors, with names as in the published files and all that predicting needs.

The metadata of the file hold `model.json` of the run, as text, and a line on what the weights are. Beside the
parameters lies the calibration, where there is one, without the features of single training pictures.
"""
from collections.abc import Mapping
import json
import pathlib

from flax import traverse_util
import jax.numpy as jnp

from vit_jax import atomic
from vit_jax import calibration
from vit_jax.errors import BadInput
from vit_jax.errors import one_line
from vit_jax.models import described
from vit_jax.models import variants
from vit_jax.types import Description
from vit_jax.types import Flat
from vit_jax.types import Params
from vit_jax.types import Path

FORMAT = 'vit_jax'
# Before the names of the calibration's arrays.
PREFIX = 'calibration/'
# What a description that is none makes Python raise.
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)


def save(path: Path, params: Params, model: Description | None, about: str, dtype: str = 'float32',
         calibrated: calibration.Calibration | None = None) -> None:
  """Writes parameters f32, a tree or leaves by name, as `dtype`, with the run's `model` description, or nothing.

  `about` is a line on what the weights are, `calibrated` their calibration.Calibration, or None.
  """
  from safetensors import flax as safetensors  # Here, not above: nothing else needs it.

  flat = {name: jnp.asarray(leaf, dtype) for name, leaf in traverse_util.flatten_dict(params, sep='/').items()}
  metadata = {'model': json.dumps(model), 'about': about, 'format': FORMAT}
  if calibrated:
    shared = calibrated.without_pictures()
    flat |= {PREFIX + name: jnp.asarray(array) for name, array in shared.arrays().items()}
    metadata['calibration'] = json.dumps(shared.numbers())
  data = safetensors.save(flat, metadata)
  with atomic.replacing(pathlib.Path(path)) as partial:  # Its own writing would not say what the system said.
    partial.write_bytes(data)


def is_ours(metadata: Mapping[str, str]) -> bool:
  """Whether `save` wrote the file with these metadata {str: str}."""
  return metadata.get('format') == FORMAT


def split(flat: Flat, metadata: Mapping[str, str], path: Path
          ) -> tuple[Flat, calibration.Calibration | None]:
  """The arrays of a file that `save` wrote -> (the parameters by name, calibration.Calibration or None)."""
  params = {name: array for name, array in flat.items() if not name.startswith(PREFIX)}
  if 'calibration' not in metadata:
    return params, None
  arrays = {name.removeprefix(PREFIX): array for name, array in flat.items() if name.startswith(PREFIX)}
  try:
    return params, calibration.made_of(json.loads(metadata['calibration']), arrays)
  except DAMAGE as error:
    raise BadInput(f'{path} holds no weights that can be read: its calibration is damaged ({one_line(error)})'
                   ) from None


def description_of(metadata: Mapping[str, str], path: Path) -> tuple[Description | None, str]:
  """What `save` wrote beside the numbers: -> (model description, line about them); raises BadInput for damage."""
  try:
    model, about = json.loads(metadata['model']), metadata['about']
    if model is not None:
      check_description(model)
    return model, about
  except DAMAGE as error:
    raise BadInput(f'{path} holds no weights that can be read: its description is damaged ({one_line(error)})'
                   ) from None


def check_description(model: Description) -> None:
  """Raises one of DAMAGE where a model.json, as dict, describes no model that we have."""
  variants.check_image_size(described.build(model), model['preprocessing']['image_size'])
  list(model['class_names'])
