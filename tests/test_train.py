"""Training end to end on digits, as a user runs it: kill it, stop it, break it, and go on."""
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import safetensors
from scipy import special
from sklearn.metrics import log_loss
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.util import tensor_util

from vit_jax import assess
from vit_jax import digests
from vit_jax import interrupt
from vit_jax import machine
from vit_jax import predictor
from vit_jax import progress
from vit_jax import train
from vit_jax.data import digits
from vit_jax.errors import BadInput

ROOT = pathlib.Path(__file__).parent.parent
COMMAND = [sys.executable, '-m', 'vit_jax.main']
RECIPE = '--config=configs/digits.py'
# Sixteen tokens a picture, for quick steps.
SHORT = ('--config.epochs=4.0', '--config.eval_epochs=0.5', '--config.log_every=5', '--config.optim.warmup_epochs=1.0',
         '--config.model.patch_size=2')
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


def newest(workdir):
  """The step of the newest checkpoint that was saved to its end, 0 for none."""
  return max((int(path.parent.name) for path in (workdir / 'checkpoints').glob(f'*/{digests.NAME}')
              if path.parent.name.isdigit()), default=0)


def wait_for_checkpoint(workdir, process):
  """Until another checkpoint has been written than there was, or the run has ended."""
  before = newest(workdir)
  while process.poll() is None and newest(workdir) <= before:
    time.sleep(0.02)


@pytest.fixture
def train_here(parse, tmp_path_factory):
  """A function that trains as the command does, in this process, which saves its start."""
  def train_here(workdir, *flags, recipe='configs/digits.py'):
    cache_dir = tmp_path_factory.getbasetemp() / 'cache'
    return train.train(parse(recipe, *SHORT, *flags), workdir, recipe='digits', cache_dir=cache_dir)
  return train_here


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
  for name in ('config.json', 'model.json', 'environment.json', 'checkpoints'):
    assert (workdir / name).exists()
  events = event_accumulator.EventAccumulator(str(workdir / 'tensorboard'), {event_accumulator.TENSORS: 0}).Reload()
  for name in ('loss', 'val_accuracy'):  # TensorBoard shows the same numbers.
    shown = {event.step: tensor_util.make_ndarray(event.tensor_proto).item() for event in events.Tensors(name)}
    assert shown == pytest.approx({line['step']: line[name] for line in lines if name in line})
  assert '1,295 train' in out and f'{found["test_accuracy"]:.2%}' in out
  # Without a terminal: plain lines, and nothing that another library has to say.
  assert all(line.startswith('step ') for line in err.splitlines()), err


@pytest.mark.slow
def test_a_stopped_run_is_saved_and_says_how_to_go_on(uninterrupted, tmp_path):
  """Stopped and told how long it has; tests/stress kills it."""
  workdir = tmp_path / 'stopped'
  for stop, status, reason in [(signal.SIGINT, 130, 'stopped;'), (signal.SIGTERM, 0, 'stopped by SIGTERM;'),
                               (None, 0, 'the time is over;')]:
    process = start(workdir, *(() if stop else ('--max_minutes=0',)))
    if stop:
      wait_for_checkpoint(workdir, process)
      process.send_signal(stop)
    found, out, err = finish(process)
    assert found == status, err
    assert not (workdir / 'result.json').exists() and 'Traceback' not in err
    assert reason in out and 'python -m vit_jax.main --config=configs/digits.py' in out and str(workdir) in out
  # What the starts before had taken is counted, though they were stopped between two lines.
  clock = json.loads((workdir / 'clock.json').read_text())
  assert 0 < clock['cpu_seconds'] < 1e4
  (workdir / 'clock.json').write_text(json.dumps(clock | {'cpu_seconds': 1e6}))
  status, out, err = finish(start(workdir))
  assert status == 0, err
  assert 'goes on after step' in out and result(workdir)['cpu_seconds'] > 1e6
  assert result(workdir)['weights_sha256'] == result(uninterrupted[0])['weights_sha256']
  # Stops leave no lines of their own in the metrics.
  assert list(map(without_time, metrics(workdir))) == list(map(without_time, metrics(uninterrupted[0])))
  assert len(json.loads((workdir / 'environment.json').read_text())) == 4


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
def test_who_is_not_read_any_more_saves_and_ends(tmp_path, monkeypatch, tiny_digits):
  """As where Ctrl-C ended `| tee` first."""
  reads, writes = os.pipe()
  os.close(reads)
  config = tiny_digits(**{'log_every': 2, 'epochs': 1.0, 'optim.warmup_epochs': 0.0})
  monkeypatch.setattr(progress, 'PLAIN_EVERY', 0)
  with open(writes, 'w') as file:
    monkeypatch.setattr(progress, 'Progress', functools.partial(progress.Progress, file=file))
    with pytest.raises(interrupt.Stopped) as stopped:
      train.train(config, tmp_path / 'run', recipe='digits', cache_dir=tmp_path / 'cache')
    os.dup2(os.open(os.devnull, os.O_WRONLY), writes)
  assert stopped.value.status == 141 and newest(tmp_path / 'run') == 3


@pytest.mark.slow
def test_a_finished_run_knows_how_sure_to_be_and_what_it_was_trained_on(uninterrupted, tmp_path):
  workdir, _, _ = uninterrupted
  asked = predictor.Predictor.load(workdir)
  assert asked.calibrated and asked.can_tell and asked.remembers
  data = digits.load(classes=(), image_size=8, val_fraction=0.1)
  train, held_out = (part.read(np.arange(len(part)))['image'] for part in (data.train, data.validation))
  answers = asked.answer(held_out)
  assert (~answers.known).sum() == 8 and len(held_out) == 143  # One in twenty, and what is left over.
  # The temperature is that of the least loss: a little more or less of it is worse.
  loss = lambda power: log_loss(data.validation.labels, special.softmax(power * np.log(answers.probabilities), axis=1))
  assert loss(1) < min(loss(.9), loss(1.1))
  positions, distances = asked.nearest(asked.answer(train[300:302]).features, 3)
  assert positions[:, 0].tolist() == [300, 301] and distances[:, 0].max() < .01 < distances[:, 1].min()
  images, names = asked.training_pictures(positions[0])
  np.testing.assert_array_equal(images, train[positions[0]])
  assert names == [str(label) for label in data.train.labels[positions[0]]]
  # As a file it still knows what it does not know, and nothing of single training pictures.
  subprocess.run([sys.executable, '-m', 'vit_jax.export', workdir, tmp_path / 'w.safetensors'], cwd=ROOT, check=True)
  sent = predictor.Predictor.load(tmp_path / 'w.safetensors').answer(held_out)
  np.testing.assert_array_equal(sent.known, answers.known)
  np.testing.assert_array_equal(sent.probabilities, answers.probabilities)
  with safetensors.safe_open(tmp_path / 'w.safetensors', 'numpy') as file:
    assert {name for name in file.keys() if 'calibration' in name} == {  # noqa: SIM118
        'calibration/means', 'calibration/whitening'}


@pytest.mark.parametrize('devices, memory, alone', [(1, 4_000, False), (1, 3_999, True), (1, None, False),
                                                    (2, 2**40, True)])
def test_steps_take_turns_where_the_memory_of_two_is_not_there(devices, memory, alone, monkeypatch):
  monkeypatch.setattr(machine, 'memory', lambda: memory)
  stats = types.SimpleNamespace(argument_size_in_bytes=300, output_size_in_bytes=200, alias_size_in_bytes=200,
                                temp_size_in_bytes=700)
  job = types.SimpleNamespace(mesh=types.SimpleNamespace(size=devices))
  assert train.one_by_one(job, types.SimpleNamespace(memory_analysis=lambda: stats)) is alone


@pytest.mark.slow
def test_an_older_run_learns_it_when_it_is_evaluated(uninterrupted, tmp_path):
  older = shutil.copytree(uninterrupted[0], tmp_path / 'older')
  (older / 'calibration.safetensors').unlink()
  asked = predictor.Predictor.load(older)
  assert asked.can_learn and not asked.can_tell and asked.answer(np.zeros((1, 8, 8, 3), np.uint8)).known.all()
  assess.assess(older, cache_dir=tmp_path)
  assert predictor.Predictor.load(older).can_tell
  # Of other weights it says nothing.
  (older / 'calibration.safetensors').write_bytes((uninterrupted[0] / 'calibration.safetensors').read_bytes().replace(
      result(older)['weights_sha256'].encode(), b'0' * 64))
  assert not predictor.Predictor.load(older).can_tell


@pytest.mark.slow
def test_nan_stops_and_keeps_the_last_good_checkpoint(train_here, tmp_path):
  # Huge steps of AdamW: the weights overflow soon after the warm-up has begun.
  with pytest.raises(BadInput, match='not finite at step') as error:
    train_here(tmp_path / 'nan', '--config.optim.name=adamw', '--config.optim.lr=1e30')
  assert not (tmp_path / 'nan' / 'result.json').exists()
  bad_step = int(str(error.value).split('not finite at step ')[1].split(';')[0])
  assert newest(tmp_path / 'nan') < bad_step


@pytest.mark.slow
def test_changed_config_is_refused(uninterrupted, train_here):
  (copy := uninterrupted[0] / 'result.json').rename(uninterrupted[0] / 'hidden')
  try:
    with pytest.raises(BadInput, match=r'optim\.lr: 0\.003 there, 0\.5 now'):
      train_here(uninterrupted[0], '--config.optim.lr=0.5')
  finally:
    (uninterrupted[0] / 'hidden').rename(copy)


@pytest.mark.slow
def test_starts_from_the_weights_of_another_run(uninterrupted, train_here, tmp_path):
  other = f'--config.init={uninterrupted[0]}'
  still = ('--config.optim.lr=0.0', '--config.optim.muon_lr=0.0', '--config.epochs=1.5')
  train_here(tmp_path / 'on', other, *still)
  assert result(tmp_path / 'on')['test_accuracy'] == result(uninterrupted[0])['test_accuracy']
  with pytest.raises(BadInput, match='encoderblock_2/LayerNorm_0/bias is missing'):
    train_here(tmp_path / 'none', other, '--config.model.num_layers=3')
  assert not (tmp_path / 'none').exists()


@pytest.mark.slow
def test_a_fine_tuned_model_goes_on_without_the_weights_it_started_from(uninterrupted, train_here, tmp_path):
  base = shutil.copytree(uninterrupted[0], tmp_path / 'base')
  options = (f'--config.init={base}', '--config.data.name=digits', '--config.epochs=2.0',
             '--config.data.classes=()', '--config.augment.flip=False', '--config.optim.layer_decay=0.5')
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  train_here(whole, *options, recipe='configs/finetune.py')
  process = start(killed, *options, recipe='--config=configs/finetune.py')
  wait_for_checkpoint(killed, process)
  process.kill()
  process.communicate()
  assert not (killed / 'result.json').exists()
  shutil.rmtree(base)
  train_here(killed, *options, recipe='configs/finetune.py')
  assert result(killed)['weights_sha256'] == result(whole)['weights_sha256']


@pytest.mark.slow
def test_pictures_that_grow_are_trained_on_and_gone_on_with(train_here, tmp_path):
  """Steps of 4×4 and then of 8×8 pixels; stopped among the large ones, the end is the same to the last bit."""
  flags = ('--config.augment.sizes=(4,8)', '--config.augment.crop_scale=0.5', '--config.epochs=2.0')
  train_here(tmp_path / 'whole', *flags)
  process = start(tmp_path / 'killed', *flags)
  for _ in range(2):
    wait_for_checkpoint(tmp_path / 'killed', process)
  process.kill()
  process.communicate()
  train_here(tmp_path / 'killed', *flags)
  assert result(tmp_path / 'killed')['weights_sha256'] == result(tmp_path / 'whole')['weights_sha256']
  with pytest.raises(BadInput, match='needs positions that fit any size'):
    train_here(tmp_path / 'learned', *flags, '--config.model.posemb=learned')


@pytest.mark.slow
def test_a_teacher_teaches_its_own_classes_only(uninterrupted, train_here, tmp_path, capsys):
  teacher, _, _ = uninterrupted
  short = ['--config.epochs=1.0', '--config.optim.warmup_epochs=0.5', f'--config.teacher={teacher}']
  train_here(tmp_path / 'student', *short)
  assert f'teacher   {teacher}' in capsys.readouterr().out
  with pytest.raises(BadInput, match='the data are 8×8 of 1, 2: a teacher needs the same classes'):
    train_here(tmp_path / 'other', *short, "--config.data.classes=('1','2')")
  assert not (tmp_path / 'other').exists()


@pytest.mark.parametrize('loss, usual, ratio, what', [
    (9.0, 1.0, 5.0, 'the loss was 9 where 1 is usual'), (float('nan'), 1.0, 5.0, 'not finite'),
    (2.3, 0.0, 0.0, 'not finite'), (2.3, 2.0, 0.0, 'not finite')])  # Of the last two the gradient was not.
def test_why_a_step_was_bad(loss, usual, ratio, what):
  assert what in train.what_was_bad({'bad_loss': loss, 'usual_loss': usual}, ratio)
