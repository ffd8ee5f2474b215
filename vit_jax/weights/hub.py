"""Weights by their name on the Hugging Face Hub: hf://owner/name, or hf://owner/name@revision."""
import pathlib
import re

from vit_jax.errors import BadInput
from vit_jax.errors import one_line

PREFIX = 'hf://'
# What `load.read` opens in a folder, and what says that the weights are in several pieces.
WEIGHTS = ['model.safetensors', 'model.safetensors.index.json']
FILES = ['config.json', 'preprocessor_config.json', *WEIGHTS]


def fetch(name):
  """Downloads a model, or finds it in the Hub's cache: 'hf://owner/name' -> its folder.

  Raises BadInput where the name is none, the extra is not installed, or the model can neither be downloaded nor found.
  """
  match = re.fullmatch(r'hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?', name)
  if not match:
    raise BadInput(f'{name!r} must be of the form hf://owner/name or hf://owner/name@revision')
  try:
    import huggingface_hub
    from huggingface_hub import errors
  except ImportError:
    raise BadInput(f"{name} needs the package huggingface_hub: pip install 'vit_jax[hub]'") from None
  repository, revision = match.groups()
  try:
    folder = huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=FILES)
  except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
    raise BadInput(f'the Hub has no {name}, or it is private: {one_line(error)}') from None
  except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
    raise BadInput(f'{name} can neither be downloaded nor found in the cache of the Hub; without a network, give a '
                   f'folder that holds config.json and model.safetensors ({one_line(error)})') from None
  except errors.HFValidationError as error:
    raise BadInput(f'{name} is no name on the Hub: {one_line(error)}') from None
  if not any((pathlib.Path(folder) / file).exists() for file in WEIGHTS):
    raise BadInput(f'{name} holds no model.safetensors; pytorch_model.bin, a pickle, is never opened: load it with '
                   'transformers or timm, and save it again')
  return folder
