"""What all tests share: quiet libraries and quick compiling, set up before the first of them is imported."""
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import pytest

from vit_jax import quiet
from vit_jax.models import described

# Programs that run for a moment need no optimising, which takes half of these tests' time. The commands that tests
# start inherit it. With 0 in its place everything runs as users have it, and must pass as well.
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
quiet.silence()


@pytest.fixture(scope='session')
def parse():
  """A function of a recipe and flags that gives the config which a command would have of them."""
  from absl import flags
  from ml_collections import config_flags

  from vit_jax import command

  def parse(recipe, *overrides):
    known, argv = flags.FlagValues(), ['program', f'--config={recipe}', *overrides]
    config_flags.DEFINE_config_file('config', None, flag_values=known, sys_argv=argv)
    command.parse_flags(argv, known=known)
    return known['config'].value
  return parse


@pytest.fixture(scope='session')
def tiny_digits():
  """A function of changes that gives the digits' recipe with a model that trains in no time."""
  from configs import digits

  def tiny_digits(**changes):
    config = digits.get_config()
    with config.unlocked():
      config.update_from_flattened_dict({'model.hidden_size': 16, 'model.num_layers': 1, 'model.num_heads': 2,
                                         'model.mlp_dim': 16, **changes})
    return config
  return tiny_digits


@pytest.fixture(scope='session')
def free_port():
  """A function that gives a port of this machine which nobody listens on."""
  def free_port():
    with socket.socket() as found:
      found.bind(('127.0.0.1', 0))
      return found.getsockname()[1]
  return free_port


@pytest.fixture(scope='session')
def save_random_weights():
  """A function that writes random weights of a model for three classes into a file, and gives its path."""
  # Here, not above: most tests need none of this.
  import jax
  import numpy as np

  from vit_jax.models import variants
  from vit_jax.weights import files

  def save(path, model, image_size, class_names=('cat', 'dog', 'eel')):
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(0, .5, leaf.shape).astype(np.float32),
                          variants.abstract_params(model, image_size))
    files.save(path, params, described.describe(model, class_names, image_size), 'made by a test')
    return path
  return save


@pytest.fixture(scope='session')
def small_weights(save_random_weights, tmp_path_factory):
  """The file of a small ViT with random weights, for pictures of 8×8 pixels."""
  from vit_jax.models import variants
  model = variants.build('small-digits', num_classes=3, image_size=8, hidden_size=16, mlp_dim=32, patch_size=2)
  return save_random_weights(tmp_path_factory.mktemp('weights') / 'w.safetensors', model, 8)


@pytest.fixture(scope='session')
def wheel(tmp_path_factory):
  """The wheel that a release would be, made from an sdist, as `python -m build` does it, of a copy of what is here."""
  folder, copy = tmp_path_factory.mktemp('wheel'), tmp_path_factory.mktemp('copy') / 'vit_jax'
  leave_out = shutil.ignore_patterns('.*', '*.egg-info', '__pycache__', 'experiments', 'runs', 'env')
  shutil.copytree(pathlib.Path(__file__).parents[1], copy, ignore=leave_out)
  done = subprocess.run([sys.executable, '-m', 'build', '--outdir', folder, copy], text=True, capture_output=True,
                        check=False)
  assert done.returncode == 0, done.stdout + done.stderr
  return next(folder.glob('*.whl'))
