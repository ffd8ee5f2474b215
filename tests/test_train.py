"""Training end to end on digits, as a user runs it: kill it, stop it, break it, and go on."""
import json
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
COMMAND = [sys.executable, '-m', 'vit_jax.main']
RECIPE = '--config=configs/digits.py'
SHORT = ('--config.epochs=4.0', '--config.eval_epochs=0.5', '--config.log_every=5', '--config.optim.warmup_epochs=1.0')
EPOCHS = 4.0


def start(workdir, *flags, recipe=RECIPE):
  return subprocess.Popen([*COMMAND, recipe, *SHORT, f'--workdir={workdir}', *flags], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process):
  out, err = process.communicate(timeout=300)
  return process.returncode, out, err


def metrics(workdir):
  path = workdir / 'metrics.jsonl'
  return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def without_time(line):
  return {key: value for key, value in line.items() if not key.endswith(('seconds', 'kwh'))}


def wait_for_checkpoint(workdir, process, number):
  """Until so many checkpoints have been written, or the run has ended."""
  checkpoints = workdir / 'checkpoints'
  while process.poll() is None:
    if len([path for path in checkpoints.glob('*') if path.name.isdigit()]) >= number:
      return
    time.sleep(0.02)


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
  """A run that was never stopped, and what it printed."""
  workdir = tmp_path_factory.mktemp('train') / 'whole'
  status, out, err = finish(start(workdir))
  assert status == 0, err
  return workdir, out, err


def result(workdir):
  return json.loads((workdir / 'result.json').read_text())


@pytest.mark.slow
def test_learns_and_leaves_a_folder_that_stands_alone(uninterrupted):
  workdir, out, err = uninterrupted
  found = result(workdir)
  assert found['test_accuracy'] > 0.6  # Four epochs of fifteen; a guess would be 0.1.
  assert found['test_count'] == 359
  assert found['steps'] == round(EPOCHS * found['train_count'] / 64)
  assert found['cpu_seconds'] > 0 and found['peak_memory'] > 100e6
  lines = metrics(workdir)
  assert lines[-1]['step'] == found['steps'] and len({line['step'] for line in lines}) == len(lines)
  assert lines[-1]['loss'] < lines[0]['loss']
  for name in ('config.json', 'model.json', 'environment.json', 'checkpoints', 'tensorboard'):
    assert (workdir / name).exists()
  assert '1,295 train' in out and f'{found["test_accuracy"]:.2%}' in out
  # Without a terminal: plain lines, and nothing that another library has to say.
  assert all(line.startswith('step ') for line in err.splitlines()), err


@pytest.mark.slow
def test_killed_runs_end_bit_identical(uninterrupted, tmp_path):
  workdir = tmp_path / 'killed'
  for number in (1, 2):
    process = start(workdir)
    wait_for_checkpoint(workdir, process, number)
    process.send_signal(signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL
    assert not (workdir / 'result.json').exists()
  status, out, err = finish(start(workdir))
  assert status == 0, err
  assert 'goes on after step' in out
  assert result(workdir)['weights_sha256'] == result(uninterrupted[0])['weights_sha256']
  assert list(map(without_time, metrics(workdir))) == list(map(without_time, metrics(uninterrupted[0])))
  assert len(json.loads((workdir / 'environment.json').read_text())) == 3


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(uninterrupted, tmp_path):
  workdir = tmp_path / 'stopped'
  process = start(workdir)
  wait_for_checkpoint(workdir, process, 1)
  process.send_signal(signal.SIGINT)
  status, out, err = finish(process)
  assert status == 130, err
  assert 'python -m vit_jax.main --config=configs/digits.py' in out and str(workdir) in out
  assert 'Traceback' not in err
  status, out, err = finish(start(workdir))
  assert status == 0, err
  assert result(workdir)['weights_sha256'] == result(uninterrupted[0])['weights_sha256']


@pytest.mark.slow
def test_finished_run_is_not_run_again_and_can_be_evaluated(uninterrupted):
  workdir, _, _ = uninterrupted
  before = (workdir / 'metrics.jsonl').read_bytes()
  status, out, _ = finish(start(workdir))
  assert status == 0 and 'finished already' in out
  assert (workdir / 'metrics.jsonl').read_bytes() == before
  evaluated = subprocess.run([sys.executable, '-m', 'vit_jax.main', '--evaluate', f'--workdir={workdir}'], cwd=ROOT,
                             text=True, capture_output=True, check=True)
  found = result(workdir)
  assert f'accuracy {found["test_accuracy"]:.2%}, between' in evaluated.stdout
  judged = json.loads((workdir / 'evaluation.json').read_text())
  assert judged['test']['count'] == 359 and judged['step'] == found['steps']
  assert judged['test']['loss'] == pytest.approx(found['test_loss'], rel=1e-5)
  assert sum(judged['test']['confusion'][i][i] for i in range(10)) / 359 == found['test_accuracy']
  kept = np.load(workdir / 'predictions.npz')
  assert np.mean(kept['logits'].argmax(-1) == kept['labels']) == found['test_accuracy']
  # A model that was trained for so short a time is too unsure: a temperature below 1 mends it.
  assert judged['temperature'] < 1
  assert judged['calibrated']['calibration_error'] < judged['test']['calibration_error']
  # What was done to the pictures costs accuracy, and a mirrored digit is another thing altogether.
  assert all(values[-1] < judged['uncorrupted'] for kind, values in judged['corruptions'].items() if kind != 'jpeg')
  assert judged['mirrored'] < found['test_accuracy'] - 0.1


@pytest.mark.slow
def test_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path):
  # Huge steps of AdamW: the weights overflow soon after the warm-up has begun.
  status, _, err = finish(start(tmp_path / 'nan', '--config.optim.name=adamw', '--config.optim.lr=1e30'))
  assert status == 2
  assert 'not finite at step' in err and 'Traceback' not in err
  assert not (tmp_path / 'nan' / 'result.json').exists()
  for path in (tmp_path / 'nan' / 'checkpoints').glob('[0-9]*'):
    bad_step = int(err.split('not finite at step ')[1].split(';')[0])
    assert int(path.name) < bad_step


@pytest.mark.slow
def test_changed_config_is_refused(uninterrupted):
  workdir, _, _ = uninterrupted
  status, _, err = finish(start(workdir, '--config.optim.lr=0.5'))
  assert status == 2
  assert 'optim.lr: 0.003 there, 0.5 now' in err


@pytest.mark.slow
def test_starts_from_the_weights_of_another_run(uninterrupted, tmp_path):
  other = f'--config.init={uninterrupted[0]}'
  still = ('--config.optim.lr=0.0', '--config.optim.muon_lr=0.0', '--config.epochs=1.5')
  status, _, err = finish(start(tmp_path / 'on', other, *still))
  assert status == 0, err
  assert result(tmp_path / 'on')['test_accuracy'] == result(uninterrupted[0])['test_accuracy']
  status, _, err = finish(start(tmp_path / 'none', other, '--config.model.num_layers=3'))
  assert status == 2 and 'encoderblock_2/LayerNorm_0/bias is missing' in err
  assert not (tmp_path / 'none').exists()


@pytest.mark.slow
def test_a_fine_tuned_model_goes_on_without_the_weights_it_started_from(uninterrupted, tmp_path):
  exported = tmp_path / 'digits.safetensors'
  subprocess.run([sys.executable, '-m', 'vit_jax.export', uninterrupted[0], exported], cwd=ROOT, check=True,
                 capture_output=True)
  options = (f'--config.init={exported}', '--config.data.name=digits',
             '--config.data.classes=()', '--config.augment.flip=False', '--config.optim.layer_decay=0.5')
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  status, _, err = finish(start(whole, *options, recipe='--config=configs/finetune.py'))
  assert status == 0, err
  process = start(killed, *options, recipe='--config=configs/finetune.py')
  wait_for_checkpoint(killed, process, 1)
  process.send_signal(signal.SIGKILL)
  assert finish(process)[0] == -signal.SIGKILL
  exported.unlink()
  status, out, err = finish(start(killed, *options, recipe='--config=configs/finetune.py'))
  assert status == 0, err
  assert 'goes on after step' in out
  assert result(killed)['weights_sha256'] == result(whole)['weights_sha256']


@pytest.mark.slow
def test_pictures_that_grow_are_trained_on_and_gone_on_with(tmp_path):
  """Steps of 4×4 and then of 8×8 pixels; stopped among the large ones, the end is the same to the last bit."""
  flags = ('--config.augment.sizes=(4,8)', '--config.augment.crop_scale=0.5', '--config.epochs=3.0')
  status, _, err = finish(start(tmp_path / 'whole', *flags))
  assert status == 0, err
  process = start(tmp_path / 'killed', *flags)
  wait_for_checkpoint(tmp_path / 'killed', process, 2)
  process.kill()
  process.communicate()
  status, _, err = finish(start(tmp_path / 'killed', *flags))
  assert status == 0, err
  assert result(tmp_path / 'killed')['weights_sha256'] == result(tmp_path / 'whole')['weights_sha256']
  status, _, err = finish(start(tmp_path / 'learned', *flags, '--config.model.posemb=learned'))
  assert status == 2 and 'needs positions that fit any size' in err


@pytest.mark.slow
def test_a_teacher_teaches_its_own_classes_only(uninterrupted, tmp_path):
  teacher, _, _ = uninterrupted
  short = ['--config.epochs=1.0', '--config.optim.warmup_epochs=0.5', f'--config.teacher={teacher}']
  status, out, err = finish(start(tmp_path / 'student', *short))
  assert status == 0, err
  assert f'teacher   {teacher}' in out
  status, _, err = finish(start(tmp_path / 'other', *short, "--config.data.classes=('1','2')"))
  assert status == 2 and 'the data are 8×8 of 1, 2: a teacher needs the same classes' in err
  assert not (tmp_path / 'other').exists()
