"""Eight devices compute what one does; eight are faked in a process of their own."""
import functools
import os
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
import numpy as np
import optax
import pytest

from vit_jax import augment
from vit_jax import evaluate
from vit_jax import sharding
from vit_jax import step as step_lib
from vit_jax.data import pipeline
from vit_jax.data import source
from vit_jax.errors import BadInput
from vit_jax.models import vit


def random_source(n):
  """Random pictures u8[N,8,8,3] of three classes."""
  rng = np.random.default_rng(0)
  return source.Source.whole(rng.integers(0, 256, (n, 8, 8, 3), np.uint8), rng.integers(0, 3, n).astype(np.int32))


def random_state(model, tx):
  """A state before the first step, whose weights are random, the head's too: no gradient gets past its zeros."""
  shapes = jax.eval_shape(lambda: step_lib.create_state(model, tx, jax.random.key(0), 8))
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda leaf: rng.normal(0, .2, leaf.shape).astype(np.float32), shapes.params)
  return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes).replace(params=params, ema=params)


AUGMENT = functools.partial(augment.augment, size=8, flip=True, crop_padding=1, crop_scale=.5, trivial=True,
                            cutmix=1.0)


def outcome(num_devices, accum_steps=1):
  """What three train steps and an evaluation give on so many devices: name -> array."""
  mesh = sharding.make_mesh(jax.devices()[:num_devices])
  whole, split = sharding.replicated(mesh), sharding.split(mesh)
  model = vit.VisionTransformer(num_classes=3, patch_size=4, hidden_size=16, num_layers=1, num_heads=2, mlp_dim=32)
  tx = optax.sgd(.3, momentum=.9)  # AdamW would blow rounding up where the gradient is zero
  train_step = jax.jit(
      step_lib.Step(model, tx, augment=AUGMENT, num_classes=3, label_smoothing=.1, ema_decay=.9,
                    accum_steps=accum_steps, log_every=1).train,
      in_shardings=(whole, split, whole), out_shardings=whole)
  eval_step = jax.jit(evaluate.make_eval_step(model, flip=True), in_shardings=(whole, split), out_shardings=whole)
  state = jax.device_put(random_state(model, tx), whole)
  result = {}
  for i, batch in enumerate(pipeline.eval_batches(random_source(96), batch_size=32)):
    del batch['mask']
    state, metrics = jax.block_until_ready(train_step(state, sharding.shard_batch(batch, mesh), jax.random.key(7)))
    result |= {f'{name} {i}': value for name, value in metrics.items()}
  for path, leaf in jax.tree_util.tree_leaves_with_path({'params': state.params, 'ema': state.ema}):
    result[jax.tree_util.keystr(path)] = leaf
  result |= evaluate.evaluate(eval_step, state.ema, pipeline.eval_batches(random_source(37), batch_size=16), mesh)
  return {name: np.asarray(value) for name, value in result.items()}


def check_full_sharding(mesh):
  """Asserts that large arrays are cut along their longest axis that eight devices can share, and come back whole."""
  spec = lambda *shape: sharding.fully_sharded(shape, mesh).spec
  assert spec(64, 128) == spec(129, 64) == PartitionSpec(None, 'data') and spec(512, 8) == PartitionSpec('data', None)
  assert spec(8, 8) == spec(63, 65) == spec(65, 65) == PartitionSpec()  # Too few numbers, or no such axis.
  values = np.arange(64 * 128, dtype=np.float32).reshape(64, 128)
  cut = jax.device_put(values, sharding.fully_sharded(values.shape, mesh))
  assert {shard.data.shape for shard in cut.addressable_shards} == {(64, 16)}
  np.testing.assert_array_equal(sharding.gathered({'w': cut}, mesh)['w'], values)


def on_eight_devices(path):
  """The child's part: writes what it computes, and what each device holds of a batch, to a file."""
  check_full_sharding(sharding.make_mesh())
  batch = {'x': np.arange(16 * 3).reshape(16, 3)}
  shards = sharding.shard_batch(batch, sharding.make_mesh())['x'].addressable_shards
  held = {f'device {shard.device.id}': np.asarray(shard.data) for shard in shards}
  accumulated = {f'accumulated {name}': value for name, value in outcome(8, accum_steps=4).items()}
  np.savez(path, **outcome(8), **accumulated, **held)


@pytest.mark.slow
def test_eight_devices_compute_what_one_does(tmp_path):
  env = {**os.environ, 'PYTHONPATH': str(pathlib.Path(__file__).parents[1]), 'JAX_PLATFORMS': 'cpu',
         'XLA_FLAGS': '--xla_force_host_platform_device_count=8'}
  subprocess.run([sys.executable, __file__, str(tmp_path / 'eight.npz')], env=env, check=True)
  with np.load(tmp_path / 'eight.npz') as file:
    eight = dict(file)
  held = [eight.pop(f'device {i}') for i in range(8)]
  np.testing.assert_array_equal(held, np.arange(16 * 3).reshape(8, 2, 3))
  want = outcome(1)
  want |= {f'accumulated {name}': value for name, value in want.items()}
  assert eight.keys() == want.keys() and want['count'] == 37
  for name, value in want.items():
    np.testing.assert_allclose(eight[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize('sizes', [(8, 8), (64, 8), (12, 1), (24, 2, 3), (6, 1, 6)])
def test_batch_sizes_that_fit(sizes):
  sharding.check_batch_size('batch_size', *sizes)


@pytest.mark.parametrize('sizes, words', [
    ((4, 8), 'batch_size=4 cannot be cut into equal parts for 8 devices; try batch_size=8'),
    ((100, 8), 'for 8 devices; try batch_size=96'),
    ((102, 8), 'for 8 devices; try batch_size=104'),
    ((32, 1, 5), 'for 1 device times accum_steps=5; try batch_size=30'),
    ((64, 8, 3), 'for 8 devices times accum_steps=3; try batch_size=72'),
])
def test_batch_sizes_that_do_not_fit(sizes, words):
  with pytest.raises(BadInput, match=words) as error:
    sharding.check_batch_size('batch_size', *sizes)
  good = int(re.search(r'=(\d+)$', str(error.value)).group(1))
  sharding.check_batch_size('batch_size', good, *sizes[1:])


def test_default_mesh_is_all_devices():
  mesh = sharding.make_mesh()
  assert mesh.axis_names == ('data',) and list(mesh.devices) == jax.devices()
  whole = jax.device_put(jnp.arange(3), sharding.replicated(mesh))
  assert whole.is_fully_replicated


if __name__ == '__main__':
  on_eight_devices(sys.argv[1])
