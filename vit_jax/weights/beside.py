"""What lies beside other people's weights: JSON files that say what tensors cannot, and the form it is handed on in."""
import dataclasses
import json
import math

from vit_jax.errors import BadInput

# Mean and standard deviation of pixels in [0, 1], by channel, that a model was trained on.
HALVES = ((.5, .5, .5), (.5, .5, .5))  # [-1, 1], as here
IMAGENET = ((.485, .456, .406), (.229, .224, .225))


@dataclasses.dataclass
class Found:
  """Weights of another program under our names, and what its files say besides."""
  format: str  # whose they are, for people
  flat: dict  # {our name: f32 array}; names that we do not know are as they were
  sizes: dict = dataclasses.field(default_factory=dict)  # cells of the model that the arrays do not show
  class_names: tuple = ()
  normalization: tuple = HALVES
  note: str = ''  # what had to be assumed
  agree: dict = dataclasses.field(default_factory=dict)  # sizes that those of the arrays must be equal to


def read_json(folder, name):
  """The JSON object in a file of the folder, {} where there is no such file; raises BadInput where it is broken."""
  path = folder / name
  if not path.is_file():
    return {}
  try:
    value = json.loads(path.read_text(encoding='utf-8'))
  except (ValueError, OSError, RecursionError) as error:
    raise BadInput(f'{path} is damaged: {error}') from None
  if not isinstance(value, dict):
    raise BadInput(f'{path} is damaged: it holds no JSON object')
  return value


def positive(config, key, default, kind=int):
  """A number above zero of `kind`, int or float, out of a JSON object; raises BadInput for anything else."""
  value = config.get(key)
  if value is None:
    return default
  fits = isinstance(value, (int, kind)) and not isinstance(value, bool)
  if not fits or not 0 < value < math.inf:
    raise BadInput(f'{key}={value!r} in config.json must be {"a whole number" if kind is int else "a number"} above 0')
  return value


def word(config, key, default=None):
  """A text out of a JSON object, None where it holds null; raises BadInput for anything else."""
  value = config.get(key, default)
  if value is not None and not isinstance(value, str):
    raise BadInput(f'{key}={value!r} in config.json must be a text')
  return value


def section(config, key):
  """An object inside a JSON object, {} where there is none; raises BadInput where it is something else."""
  value = config.get(key)
  if value is not None and not isinstance(value, dict):
    raise BadInput(f'{key}={value!r} in config.json must be a JSON object')
  return value or {}


def mean_and_std(config, mean_key, std_key, default):
  """((mean of each channel), (standard deviation of each)) out of a JSON object; raises BadInput for anything else."""
  values = []
  for key, otherwise, low in ((mean_key, default[0], -math.inf), (std_key, default[1], 0)):
    value = config.get(key) or otherwise
    numbers = isinstance(value, (list, tuple)) and all(isinstance(x, (int, float)) for x in value)
    if not numbers or len(value) != 3 or not all(low < x < math.inf for x in value):
      raise BadInput(f'{key}={value!r} must be three numbers, a channel each')
    values.append(tuple(map(float, value)))
  return tuple(values)
