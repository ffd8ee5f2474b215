"""Checkpoints against the arrays that were saved, whatever is done to the files in between."""
import contextlib
import errno
import os
import pathlib
import shutil
import subprocess
import sys

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from vit_jax import checkpoint
from vit_jax import digests
from vit_jax import processes
from vit_jax.errors import BadInput

ROOT = pathlib.Path(__file__).parents[1]
# Orbax leaves coroutines behind when a read fails.
pytestmark = pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')


class State(struct.PyTreeNode):
  step: jax.Array
  weights: dict


def make_state(step):
  rng = np.random.default_rng(step)
  weights = {'kernel': jnp.asarray(rng.normal(size=(40, 30)), jnp.float32),
             'bias': jnp.asarray(rng.normal(size=30), jnp.bfloat16)}
  return State(jnp.int32(step), weights)


def assert_same(state, expected):
  jax.tree.map(np.testing.assert_array_equal, state, expected)


@contextlib.contextmanager
def manager_of(folder, keep=2):
  with contextlib.closing(checkpoint.open_manager(folder / 'checkpoints', keep=keep)) as manager:
    yield manager


def save_all(folder, steps, keep=10, accuracies=None):
  with manager_of(folder, keep) as manager:
    for step in steps:
      metrics = {'accuracy': accuracies[step]} if accuracies else None
      checkpoint.save(manager, step, make_state(step), metrics)
    manager.wait_until_finished()
    return sorted(manager.all_steps())


def test_round_trip_is_exact(tmp_path):
  save_all(tmp_path, [3, 7])
  with manager_of(tmp_path) as manager:
    state, step = checkpoint.restore_latest(manager, make_state(0))
  assert step == 7
  assert_same(state, make_state(7))


def test_nothing_saved_yet(tmp_path):
  with manager_of(tmp_path) as manager:
    assert checkpoint.restore_latest(manager, make_state(0)) == (None, 0)


def test_one_without_digests_was_not_saved_to_its_end(tmp_path, caplog):
  save_all(tmp_path, [3, 7])
  (tmp_path / 'checkpoints' / '7' / digests.NAME).unlink()
  with manager_of(tmp_path) as manager:
    state, step = checkpoint.restore_latest(manager, make_state(0))
  assert step == 3 and 'SHA256SUMS is missing: it was not saved to its end' in caplog.text
  assert_same(state, make_state(3))


def test_the_first_one_is_begun_anew_where_it_was_not_saved_to_its_end(tmp_path):
  save_all(tmp_path, [3])
  (tmp_path / 'checkpoints' / '3' / digests.NAME).unlink()
  with manager_of(tmp_path) as manager:
    assert checkpoint.restore_latest(manager, make_state(0)) == (None, 0)
    checkpoint.save(manager, 3, make_state(3))
    manager.wait_until_finished()
    assert_same(checkpoint.restore_latest(manager, make_state(0))[0], make_state(3))
  assert (tmp_path / 'damaged' / '3.0').exists()
  save_all(tmp_path, [7])  # Of two, a kill can only have cut off one.
  for step in ('3', '7'):
    (tmp_path / 'checkpoints' / step / digests.NAME).unlink()
  with manager_of(tmp_path) as manager, pytest.raises(BadInput, match='none of the checkpoints'):
    checkpoint.restore_latest(manager, make_state(0))


def test_every_flipped_bit_lost_byte_and_lost_file_is_noticed(tmp_path):
  save_all(tmp_path, [7])
  folder = tmp_path / 'checkpoints' / '7'
  digests.check(folder)
  files = sorted(path for path in folder.rglob('*') if path.is_file())
  rng, tried = np.random.default_rng(0), 0

  def noticed():
    with pytest.raises(BadInput, match=r'digests|SHA256SUMS is missing'):
      digests.check(folder)
    return 1

  for path in files:
    data = path.read_bytes()
    for bit in rng.choice(8 * len(data), min(60, 8 * len(data)), replace=False):
      changed = bytearray(data)
      changed[bit // 8] ^= 1 << bit % 8
      path.write_bytes(changed)
      tried += noticed()
    for length in {0, len(data) - 1, *rng.integers(0, len(data), 20).tolist()}:
      path.write_bytes(data[:length])
      tried += noticed()
    path.unlink()
    tried += noticed()
    path.write_bytes(data)
  digests.check(folder)
  assert tried > 1000


def test_a_training_goes_on_from_whatever_is_left(tmp_path):
  """As above, for a few of the changes, through Orbax: each time the checkpoint before is what is read."""
  save_all(tmp_path, [3, 7])
  whole = shutil.copytree(tmp_path, tmp_path.parent / 'whole')
  names = [path.relative_to(tmp_path) for path in (tmp_path / 'checkpoints' / '7').rglob('*') if path.is_file()]
  for i, name in enumerate(sorted(names)):
    shutil.rmtree(tmp_path)
    shutil.copytree(whole, tmp_path)
    (truncate, flip_bit, pathlib.Path.unlink)[i % 3](tmp_path / name)
    with manager_of(tmp_path) as manager:
      state, step = checkpoint.restore_latest(manager, make_state(0))
    assert step == 3, name
    assert_same(state, make_state(3))


def test_a_full_disk_is_one_line_and_what_was_saved_stays(tmp_path, monkeypatch):
  save_all(tmp_path, [3])
  def full(_):
    raise OSError(errno.ENOSPC, 'No space left on device')
  with monkeypatch.context() as patch, manager_of(tmp_path) as manager:
    patch.setattr(digests, 'write', full)
    checkpoint.save(manager, 7, make_state(7))
    with pytest.raises(BadInput, match=r'could not be saved in .* \(No space left on device\); what was saved before'):
      manager.wait_until_finished()
    manager.check()  # Said once.
  with manager_of(tmp_path) as manager:
    assert checkpoint.restore_latest(manager, make_state(0))[1] == 3


# A process that loses the folder of its checkpoints; it must end all the same.
LOSES_ITS_FOLDER = '''
import contextlib, pathlib, shutil, sys
import jax.numpy as jnp
from vit_jax import checkpoint
from vit_jax.errors import BadInput

folder = pathlib.Path(sys.argv[1])
with contextlib.suppress(BadInput), contextlib.closing(checkpoint.open_manager(folder, keep=2)) as manager:
  shutil.rmtree(folder.parent)
  folder.parent.write_text('no folder any more')
  checkpoint.save(manager, 1, {'weights': jnp.zeros(3)})
  manager.wait_until_finished()
  print('saved')
'''


def test_a_lost_folder_keeps_nobody_waiting(tmp_path):
  done = subprocess.run([sys.executable, '-c', LOSES_ITS_FOLDER, tmp_path / 'run' / 'checkpoints'], cwd=ROOT, text=True,
                        capture_output=True, check=True, timeout=100)  # Otherwise it ends after twenty minutes.
  assert not done.stdout


@pytest.mark.parametrize('error', [TimeoutError('timed out waiting for the barrier'),
                                   jax.errors.JaxRuntimeError('UNAVAILABLE: heartbeat timeout')])
def test_a_save_that_waits_for_a_process_that_is_gone_ends_the_training(error, tmp_path, monkeypatch, capsys):
  def fail(*_, **__):
    raise error
  ended = []
  with manager_of(tmp_path) as manager, monkeypatch.context() as patch, processes.ending_together():
    patch.setattr(jax, 'process_count', lambda: 2)
    patch.setattr(ocp.CheckpointManager, 'save', lambda *_, **__: True)
    patch.setattr(ocp.CheckpointManager, 'wait_until_finished', fail)
    patch.setattr(os, '_exit', ended.append)
    manager.save(1)
    manager.wait_until_finished()
  assert ended == [2]
  assert f'error: another process of this training is gone ({error})' in capsys.readouterr().err


def test_keeps_the_newest_and_the_best(tmp_path):
  accuracies = {1: 0.5, 2: 0.9, 3: 0.6, 4: 0.7, 5: 0.8}
  assert save_all(tmp_path, accuracies, keep=2, accuracies=accuracies) == [2, 4, 5]


def test_the_best_is_kept_by_the_next_start_too(tmp_path):
  first, second = {1: 0.5, 2: 0.9, 3: 0.6}, {4: 0.7, 5: 0.8}
  assert save_all(tmp_path, first, keep=2, accuracies=first) == [2, 3]
  assert save_all(tmp_path, second, keep=2, accuracies=second) == [2, 4, 5]
  with manager_of(tmp_path) as manager:
    assert_same(checkpoint.restore(manager, 2, make_state(0)), make_state(2))


def test_of_one_checkpoint_to_keep_two_are_kept(tmp_path):
  """While the newest has no digests yet, the one before is all there is to go on from."""
  assert save_all(tmp_path, [1, 2, 3], keep=1) == [2, 3]


def damaged_files(folder, step):
  """The files of a checkpoint that hold the arrays."""
  files = [path for path in (folder / 'checkpoints' / str(step) / 'state').rglob('*') if path.is_file()]
  return sorted(files, key=lambda path: -path.stat().st_size)


def truncate(path):
  path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def flip_bit(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


@pytest.mark.parametrize('damage', [truncate, flip_bit, pathlib.Path.unlink])
def test_damaged_checkpoint_is_left_out_and_kept_aside(tmp_path, damage, caplog):
  save_all(tmp_path, [3, 7])
  # The file of arrays, found by its size rather than by a name that Orbax may change.
  damage(damaged_files(tmp_path, 7)[0])
  with manager_of(tmp_path) as manager, caplog.at_level('WARNING'):
    state, step = checkpoint.restore_latest(manager, make_state(0))
    assert 'checkpoint 7 is damaged and left out: its digests do not hold: state/' in caplog.text
    assert step == 3
    assert_same(state, make_state(3))
    # The step can be saved anew, and the damaged one is still there to be looked at.
    checkpoint.save(manager, 7, make_state(7))
    manager.wait_until_finished()
    assert_same(checkpoint.restore_latest(manager, make_state(0))[0], make_state(7))
  assert len(list((tmp_path / 'damaged').iterdir())) == 1


def test_a_reader_leaves_alone_what_is_being_written(tmp_path):
  with manager_of(tmp_path) as manager:
    checkpoint.save(manager, 1, make_state(1))
  half = tmp_path / 'checkpoints' / '2.orbax-checkpoint-tmp-1'
  half.mkdir()
  with contextlib.closing(checkpoint.open_manager(tmp_path / 'checkpoints', keep=None)) as manager:
    step, state = checkpoint.newest_state(manager, make_state(0))
  assert step == 1 and half.exists()
  assert_same(state, make_state(1))
  save_all(tmp_path, [3])  # One that writes clears it away.
  assert not half.exists()


def test_all_damaged_is_an_error_and_nothing_is_moved(tmp_path):
  save_all(tmp_path, [3, 7])
  for step in (3, 7):
    truncate(damaged_files(tmp_path, step)[0])
  with manager_of(tmp_path) as manager, pytest.raises(BadInput, match=r'none of the checkpoints .* \[3, 7\]'):
    checkpoint.restore_latest(manager, make_state(0))
  assert not (tmp_path / 'damaged').exists()


def test_a_state_of_another_optimizer_is_no_damage(tmp_path):
  save_all(tmp_path, [3, 7])
  state = make_state(0)
  like = State(state.step, {**state.weights, 'another': jnp.zeros(3)})
  with manager_of(tmp_path) as manager, pytest.raises(BadInput, match=r'checkpoint 7 in .* is whole, but the optim'):
    checkpoint.restore_latest(manager, like)
  assert not (tmp_path / 'damaged').exists()


def test_a_run_on_several_devices_is_read_on_one(tmp_path):
  code = """
import sys, jax, jax.numpy as jnp
from vit_jax import checkpoint, sharding
place = jax.sharding.NamedSharding(sharding.make_mesh(), jax.sharding.PartitionSpec('data'))
manager = checkpoint.open_manager(sys.argv[1], keep=2)
checkpoint.save(manager, 3, {'kernel': jax.device_put(jnp.arange(6.0), place), 'step': jnp.int32(3)})
manager.wait_until_finished()
manager.close()
"""
  subprocess.run([sys.executable, '-c', code, str(tmp_path / 'checkpoints')], check=True, cwd=ROOT,
                 env=os.environ | {'XLA_FLAGS': '--xla_force_host_platform_device_count=2'})
  with contextlib.closing(checkpoint.open_manager(tmp_path / 'checkpoints', keep=None)) as manager:
    step, state = checkpoint.newest(manager)
  assert step == 3
  np.testing.assert_array_equal(state['kernel'], np.arange(6.0))


class Trained(struct.PyTreeNode):
  ema: dict
  opt_state: dict


@pytest.mark.parametrize('kept', [{'momentum': jnp.zeros(3)}, {'momentum': jnp.zeros(3), 'another': jnp.zeros(2)}])
def test_the_mean_of_the_weights_is_read_whatever_optimizer_there_was(tmp_path, kept):
  ema = {'block': {'kernel': jnp.arange(6.0).reshape(2, 3)}}
  with manager_of(tmp_path) as manager:
    checkpoint.save(manager, 7, Trained(ema, {'momentum': jnp.ones(3)}))
    manager.wait_until_finished()
    step, found = checkpoint.newest_ema(manager, Trained(jax.tree.map(jnp.zeros_like, ema), kept))
    assert step == 7
    assert_same(found, ema)
