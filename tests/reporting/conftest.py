"""A run on the digits as training leaves it, with random weights, and all that a report says of it."""
import contextlib

import jax
import numpy as np
import pytest

from configs import digits
from vit_jax import checkpoint
from vit_jax import digests
from vit_jax import job as job_lib
from vit_jax import run
from vit_jax.models import described
from vit_jax.reporting import findings

STEPS = 20


def pytest_collection_modifyitems(items):
  """Whatever looks at the run is slow: it is evaluated first."""
  for item in items:
    if 'run_folder' in getattr(item, 'fixturenames', ()):
      item.add_marker(pytest.mark.slow)


@pytest.fixture(scope='session')
def run_folder(tmp_path_factory):
  """A finished run, which gets most digits wrong: nothing was trained, to save the time."""
  config = digits.get_config()
  with config.unlocked():
    config.update_from_flattened_dict({
        'model.hidden_size': 16, 'model.num_layers': 1, 'model.num_heads': 2, 'model.mlp_dim': 16,
        'model.patch_size': 2, 'epochs': 1.0, 'optim.warmup_epochs': 0.5, 'optim.name': 'adamw', 'dtype': 'float32'})
  path = tmp_path_factory.mktemp('runs') / 'small'
  job = job_lib.prepare(config, path.parent / 'cache')
  folder = run.open_run(path, config)
  folder.create(config, described.describe(job.model, job.data.class_names, 8), job.describe_data())
  rng = np.random.default_rng(0)
  state = job.initial_state()
  state = state.replace(ema=jax.tree.map(lambda leaf: rng.normal(0, .4, leaf.shape).astype(np.float32), state.ema))
  with contextlib.closing(folder.checkpoints(keep=1)) as manager:
    checkpoint.save(manager, STEPS, state)
  for step in (STEPS // 2, STEPS):
    validation = {'val_accuracy': .5, 'val_loss': 1.5} if step == STEPS else {}
    folder.log({'step': step, 'epoch': step / STEPS, 'seconds': 3.0 * step, 'loss': 2 - step / STEPS,
                'accuracy': step / 40} | validation)
  folder.write_json('result.json', {'test_accuracy': .1, 'seconds': 63.0, 'cpu_seconds': 100.0, 'steps': STEPS,
                                    'peak_memory': None, 'weights_sha256': digests.of_tree(state.ema)})
  return path


@pytest.fixture(scope='session')
def said():
  """What was said while the run was looked at."""
  return []


@pytest.fixture(scope='session')
def found(run_folder, said):
  return findings.gather(run_folder, cache_dir=run_folder.parent / 'cache', say=said.append)
