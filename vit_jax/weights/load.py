"""One door to weights: a run folder, a file of ours or of others, or shipped ones by name -> parameters of a model."""
import contextlib
import dataclasses
import os
import pathlib
from typing import Any

from absl import logging
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from vit_jax import calibration
from vit_jax import checkpoint
from vit_jax import digests
from vit_jax import paths
from vit_jax import run
from vit_jax.errors import BadInput
from vit_jax.errors import one_line
from vit_jax.models import described
from vit_jax.models import features
from vit_jax.models import variants
from vit_jax.types import Description
from vit_jax.types import Flat
from vit_jax.types import Params
from vit_jax.types import Path
from vit_jax.weights import adapt
from vit_jax.weights import files
from vit_jax.weights import foreign
from vit_jax.weights import hub
from vit_jax.weights import sizes
from vit_jax.weights import tensors

# Weights that come with the package, NAME.safetensors.
SHIPPED = pathlib.Path(__file__).parents[1] / 'pretrained'
# What `read_calibrated` gives.
Read = tuple[Flat, Description | None, str, calibration.Calibration | None]


def load_weights(path: Path, like: Params, positions: str = 'bilinear') -> Params:
  """Reads weights for a model: -> parameters with the names and shapes of the tree `like`, f32 numpy arrays.

  `path` is a run folder, of which the newest checkpoint counts; a .safetensors file of `vit_jax.export`, of timm or of
  Hugging Face, or a folder that holds one as model.safetensors; a published .npz; hf://owner/name;
  or the name of shipped weights. What a file is, its contents say. Head, positions, class token and `pre_logits` are
  fitted to the model as `adapt.to_model` says, positions by 'bilinear' or 'bicubic' interpolation. Raises BadInput
  where anything else is missing, unexpected or of another shape, naming the first five.
  """
  return fit(read(path)[0], like, path, positions)


def fit(flat: Flat, like: Params, path: Path, positions: str = 'bilinear') -> Params:
  """Weights by name as a tree like `like`, checked as `load_weights` says; `path` is where they are from."""
  wanted = traverse_util.flatten_dict(like, sep='/')
  flat = adapt.to_model(flat, wanted, positions)
  if problems := adapt.compare(flat, wanted):
    raise BadInput(f'the weights of {path} do not fit the model; is it of the same --config.model.variant? '
                   + looks_like(flat) + adapt.summary(problems))
  return traverse_util.unflatten_dict(flat, sep='/')


@dataclasses.dataclass(frozen=True)
class Opened:
  """Weights as a model that answers, and all that is known about them."""
  model: Any  # It computes in float32 whatever it was trained in, so that all machines give the same answer.
  params: Any
  class_names: tuple[str, ...]
  image_size: int
  about: str  # which weights these are
  calibration: Any  # calibration.Calibration; an empty one where there is none


def open_model(path: Path) -> Opened:
  """Opens what `load_weights` takes: -> Opened; raises BadInput for what is none of it, or names no classes."""
  flat, description, about, calibrated = read_calibrated(path)
  if not description or not description['class_names']:
    raise BadInput(f'{path} has no head, so it names no classes; train one with --config.init={path}')
  model = described.build(description | {'dtype': 'float32'})
  size = description['preprocessing']['image_size']
  params = fit(flat, variants.abstract_params(model, size), path)
  calibrated = calibrated or calibration.Calibration()
  calibration.check_width(calibrated, *features.width(traverse_util.flatten_dict(params, sep='/')), path)
  params = jax.tree.map(jnp.asarray, params)
  return Opened(model, params, tuple(description['class_names']), size, about, calibrated)


def looks_like(flat: Flat) -> str:
  """The variant that the weights are of, as the beginning of a sentence, '' for none in the table."""
  try:
    name = sizes.variant(sizes.infer(flat, {}))
  except BadInput:
    return ''
  return name and f'They are of {name}: '


def read(path: Path) -> tuple[Flat, Description | None, str]:
  """Reads weights as they are: -> ({name: f32 array}, model description, line about them).

  As `read_calibrated` does, without the calibration.
  """
  return read_calibrated(path)[:3]


def read_described(path: Path) -> tuple[Flat, Description, str, calibration.Calibration | None]:
  """As `read_calibrated`, of weights that say what model they are of; raises BadInput for others, too."""
  flat, description, about, calibrated = read_calibrated(path)
  if not description:
    raise BadInput(f'{path} does not say what model it is of; export it anew with vit_jax.export, from its run folder')
  return flat, description, about, calibrated


def read_calibrated(path: Path) -> Read:
  """Reads weights as they are: -> ({name: f32 array}, model description, line about them, Calibration or None).

  Warns of numbers that are not finite. Raises BadInput for what is no weights of a model that we have, or damaged.
  """
  place = hub.fetch(path) if str(path).startswith(hub.PREFIX) else path
  with np.errstate(all='ignore'):  # What numpy would warn of, this does by name.
    flat, description, about, calibrated = read_folder(place) or read_file(place)
    # A sum is quick, and finite unless something in it is not.
    broken = [name for name, leaf in flat.items() if not np.isfinite(leaf.sum()) and not np.isfinite(leaf).all()]
  if broken:
    logging.warning('%s holds numbers that are not finite, in %d of %d arrays: %s', path, len(broken), len(flat),
                    ', '.join(broken[:5]))
  return flat, description, about, calibrated


def shipped() -> list[str]:
  """The names of the weights that come with the package."""
  return sorted(file.stem for file in SHIPPED.glob('*.safetensors'))


def read_folder(path: Path) -> Read | None:
  """What `read_calibrated` gives, of a run or of model.safetensors in a folder; None where it is no folder."""
  folder = paths.typed(path)
  if not os.path.isdir(folder):
    return None
  if (folder / 'model.json').exists():
    return read_run(folder)
  for name in ('model.safetensors', 'pytorch_model.bin'):  # The second to be refused with the reason.
    if (folder / name).is_file():
      return read_file(folder / name)
  if (folder / 'model.safetensors.index.json').exists():
    raise BadInput(f'{folder} holds weights in several pieces; open them once with transformers and save them again '
                   "with max_shard_size='100GB'")
  if str(path) in shipped():  # Weights of ours, whatever data or studies lie here under their name.
    return None
  return read_run(folder)  # Which says what is missing.


def read_file(path: Path) -> Read:
  """The weights in a file, or shipped ones by name, as `read_calibrated` gives them."""
  place = paths.typed(path)
  if not os.path.isfile(place):
    if str(path) not in (names := shipped()):
      raise BadInput(f'weights {str(path)!r} do not exist; name a run folder or a .safetensors file'
                     + (f', or one of those that come with vit_jax: {", ".join(names)}' if names else ''))
    place = SHIPPED / f'{path}.safetensors'
  flat, metadata = tensors.read(place)
  if not files.is_ours(metadata):
    return *foreign.read(flat, place), None
  flat, calibrated = files.split(flat, metadata, place)
  return flat, *files.description_of(metadata, place), calibrated


def read_run(path: Path) -> Read:
  """The running mean of the weights in the newest checkpoint of a run, as `read_calibrated` gives them."""
  folder = run.RunFolder(path)
  model = folder.read_json('model.json')
  try:
    files.check_description(model)
  except files.DAMAGE as error:
    raise BadInput(f'{path}/model.json describes no model of this version of vit_jax ({one_line(error)}); take the '
                   'version that trained it, or train it anew') from None
  if not (folder.path / 'checkpoints').is_dir():  # Which Orbax would make.
    raise BadInput(f'{path} is a run without its checkpoints/; copy that folder too, or train the run first')
  with contextlib.closing(folder.checkpoints()) as manager:
    step, state = checkpoint.newest(manager)
  calibrated = calibration.read(folder.path / calibration.NAME, digests.of_tree(state['ema']))
  flat = {name: np.asarray(leaf, np.float32)
          for name, leaf in traverse_util.flatten_dict(state['ema'], sep='/').items()}
  return flat, model, f'step {step} of {path}', calibrated
