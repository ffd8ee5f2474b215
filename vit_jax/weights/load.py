"""One door to weights: a run folder, a file of ours, or the name of shipped ones -> parameters of a model."""
import contextlib
import pathlib

from flax import traverse_util
import numpy as np

from vit_jax import checkpoint
from vit_jax import run
from vit_jax.errors import BadInput
from vit_jax.weights import files

# Weights that come with the package, NAME.safetensors.
SHIPPED = pathlib.Path(__file__).parents[1] / 'pretrained'
# A new head takes the place of one for other classes.
HEAD = ('head/kernel', 'head/bias')


def load_weights(path, like):
  """Reads weights for a model: -> parameters with the names and shapes of the tree `like`, f32 numpy arrays.

  `path` is a run folder, of which the newest checkpoint counts, a .safetensors file of `vit_jax.export`, or the name
  of shipped weights. A head for another number of classes is left out, and `like`'s own is kept. Raises BadInput
  where anything else is missing, unexpected or of another shape, naming the first five.
  """
  return fit(read(path)[0], like, path)


def fit(flat, like, path):
  """Weights by name as a tree like `like`, checked as `load_weights` says; `path` is where they are from."""
  wanted = traverse_util.flatten_dict(like, sep='/')
  # Without classes there is no head at all.
  if any(np.shape(flat.get(name)) != np.shape(wanted.get(name)) for name in HEAD):
    flat = {name: leaf for name, leaf in flat.items() if name not in HEAD}
    flat |= {name: wanted[name] for name in HEAD if name in wanted}
  problems = [f'{name} is missing' for name in sorted(wanted.keys() - flat.keys())]
  problems += [f'{name} is not part of the model' for name in sorted(flat.keys() - wanted.keys())]
  problems += [f'{name} is {np.shape(flat[name])} there and {np.shape(wanted[name])} in the model'
               for name in sorted(wanted.keys() & flat.keys()) if np.shape(flat[name]) != np.shape(wanted[name])]
  if problems:
    raise BadInput(f'the weights of {path} do not fit the model; is it of the same --config.model.variant? '
                   + '; '.join(problems[:5]) + (f'; and {len(problems) - 5} more' if len(problems) > 5 else ''))
  return traverse_util.unflatten_dict(flat, sep='/')


def read(path):
  """Reads weights as they are: -> ({name: f32 array}, model description, line about them)."""
  place = pathlib.Path(path).expanduser()
  if place.is_dir():
    return read_run(place)
  if place.is_file():
    return files.load(place)
  shipped = sorted(file.stem for file in SHIPPED.glob('*.safetensors'))
  if str(path) not in shipped:
    raise BadInput(f'weights {str(path)!r} do not exist; name a run folder or a .safetensors file'
                   + (f', or one of those that come with vit_jax: {", ".join(shipped)}' if shipped else ''))
  return files.load(SHIPPED / f'{path}.safetensors')


def read_run(path):
  """The running mean of the weights in the newest checkpoint of a run, as `read` gives them."""
  folder = run.RunFolder(path)
  model = folder.read_json('model.json')
  with contextlib.closing(folder.checkpoints()) as manager:
    step, state = checkpoint.newest(manager)
  flat = {name: np.asarray(leaf, np.float32)
          for name, leaf in traverse_util.flatten_dict(state['ema'], sep='/').items()}
  return flat, model, f'step {step} of {path}'
