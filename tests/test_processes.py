"""Several processes train what one trains; they are really started, on this machine."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest
from safetensors import numpy as safetensors

from vit_jax import checkpoint
from vit_jax import processes
from vit_jax.errors import BadInput

ROOT = pathlib.Path(__file__).parent.parent
# No dropped validation pictures: 143 are no multiple of anything, so that the last batches are padded.
FLAGS = ('--config=configs/digits.py', '--config.epochs=2.0', '--config.eval_epochs=0.5', '--config.log_every=5',
         '--config.optim.warmup_epochs=1.0', '--config.model.hidden_size=32', '--config.model.num_layers=1',
         '--config.model.mlp_dim=128', '--config.model.patch_size=2', '--config.eval_batch_size=60',
         '--config.dtype=float32')
# Sums over two halves of a batch are rounded otherwise than over the whole, and training makes the difference grow.
TOLERANCE = 1e-3


def start(workdir, *flags, devices=1):
  """One process with so many devices."""
  environment = os.environ | {'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}'}
  return subprocess.Popen([sys.executable, '-m', 'vit_jax.main', *FLAGS, f'--workdir={workdir}', *flags], cwd=ROOT,
                          env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def start_several(workdir, count, *flags):
  """So many processes, with a device each, that train together."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  return [start(workdir, f'--coordinator=localhost:{port}', f'--num_processes={count}', f'--process_id={i}', *flags)
          for i in range(count)]


def finish(*started):
  """Waits for them: -> [(status, stdout, stderr), …]."""
  outputs = [process.communicate(timeout=300) for process in started]
  return [(process.returncode, *output) for process, output in zip(started, outputs, strict=True)]


def numbers(workdir):
  """All that was measured, by step and name."""
  lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
  found = {(line['step'], name): value for line in lines for name, value in line.items()
           if not name.endswith(('seconds', 'kwh'))}
  result = json.loads((workdir / 'result.json').read_text())
  return found | {('end', name): result[name] for name in ('test_accuracy', 'test_loss', 'test_count', 'num_params')}


def assert_close(workdir, other):
  found, want = numbers(workdir), numbers(other)
  assert found.keys() == want.keys()
  for name, value in want.items():
    # One picture may fall to the other side.
    slack = .01 if name[1].endswith(('accuracy', 'top5')) else TOLERANCE
    assert found[name] == pytest.approx(value, rel=TOLERANCE, abs=slack), name


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
  """The run of one process."""
  workdir = tmp_path_factory.mktemp('processes') / 'alone'
  [(status, _, err)] = finish(start(workdir))
  assert status == 0, err
  return workdir


@pytest.mark.slow
@pytest.mark.parametrize('count, flags', [
    pytest.param(4, (), marks=pytest.mark.skipif(not os.environ.get('LONG'), reason='four processes run with LONG=1')),
    (2, ('--config.fsdp=True',))])
def test_they_train_to_the_losses_of_one(count, flags, alone, tmp_path):
  ended = finish(*start_several(tmp_path / 'run', count, *flags))
  assert [status for status, _, _ in ended] == count * [0], ended
  assert_close(tmp_path / 'run', alone)
  assert numbers(tmp_path / 'run')['end', 'test_count'] == 359
  # The first one talks; checkpoint and calibration are whole.
  assert f'{count} × cpu' in ended[0][1]
  assert not any('recipe' in out or 'step' in err for _, out, err in ended[1:])
  ours, want = (safetensors.load_file(folder / 'calibration.safetensors') for folder in (tmp_path / 'run', alone))
  np.testing.assert_allclose(ours['means'], want['means'], rtol=.02, atol=.02)
  np.testing.assert_array_equal(ours['positions'], want['positions'])
  done = subprocess.run([sys.executable, '-m', 'vit_jax.main', '--evaluate', f'--workdir={tmp_path / "run"}'], cwd=ROOT,
                        text=True, capture_output=True, check=True)
  assert f'accuracy {numbers(tmp_path / "run")["end", "test_accuracy"]:.2%}' in done.stdout


@pytest.mark.slow
def test_one_that_is_killed_ends_the_others_and_another_number_goes_on(alone, tmp_path):
  workdir = tmp_path / 'run'
  first, second = start_several(workdir, 2)
  while not list((workdir / 'checkpoints').glob('[0-9]*/SHA256SUMS')):
    assert first.poll() is None, first.communicate()
    time.sleep(.02)
  second.send_signal(signal.SIGKILL)
  [(status, _, err)] = finish(first)  # Which does not wait for ever.
  # jax 0.10 may notice first, and ends the process itself, with a line of its own.
  assert ((status == 2 and 'error: another process of this training is gone' in err)
          or (status == -signal.SIGABRT and 'distributed service' in err)), err
  assert 'Traceback' not in err
  second.communicate()
  # One process with eight devices takes over.
  [(status, out, err)] = finish(start(workdir, devices=8))
  assert status == 0, err
  assert 'goes on after step' in out and '8 × cpu' in out
  assert_close(workdir, alone)


@pytest.mark.parametrize('flags, message', [
    (('', 2, 0), 'need --coordinator=HOST:PORT'),
    (('here', 2, 0), r'--coordinator=here must be the HOST:PORT'),
    (('here:0', 2, 0), r'--coordinator=here:0 must be'),
    (('here:99999', 2, 0), r'--coordinator=here:99999 must be'),
    (('here:1234', None, 0), 'needs --num_processes and --process_id.*got None and 0'),
    (('here:1234', 2, 2), 'from 0 to one less than that; got 2 and 2'),
])
def test_flags_that_do_not_fit_together(flags, message):
  with pytest.raises(BadInput, match=message):
    processes.start(*flags)


def test_one_process_agrees_with_itself():
  assert processes.first() and processes.share() == (0, 1)
  assert processes.largest(7) == processes.of_the_first(7) == 7
  processes.meet('nobody else')


def test_slurm_is_found_by_itself(monkeypatch):
  asked = []
  monkeypatch.setattr(jax.distributed, 'initialize', lambda **options: asked.append(options))
  processes.start()
  assert not asked
  monkeypatch.setenv('SLURM_STEP_NUM_TASKS', '1')
  processes.start()
  assert not asked
  monkeypatch.setenv('SLURM_STEP_NUM_TASKS', '4')
  processes.start()
  assert len(asked) == 1 and 'coordinator_address' not in asked[0]


@pytest.mark.parametrize('error, told', [
    (TimeoutError('barrier'), True), (jax.errors.JaxRuntimeError('INTERNAL: Gloo: Connection closed by peer'), True),
    (ValueError('UNKNOWN: Gloo AllGather failed: Read error: Connection reset by peer'), True),
    (jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory'), False), (ValueError('other'), False)])
def test_what_tells_of_another_process(error, told, monkeypatch):
  assert not processes.tells_of_another(error)  # There is none.
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  assert processes.tells_of_another(error) == told
  # Nor is it taken for a checkpoint that is damaged, or of another optimizer.
  def read(*_):
    raise error
  monkeypatch.setattr(checkpoint, 'read', read)
  manager = types.SimpleNamespace(all_steps=lambda: [5], directory='here')
  with pytest.raises(type(error) if told else checkpoint.OtherParts):
    checkpoint.newest_state(manager, {'w': np.zeros(2)})
