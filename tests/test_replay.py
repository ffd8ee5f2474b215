"""A step of a run again, against the metrics that the run itself wrote."""
import contextlib
import json
import re
import shutil

import numpy as np
from PIL import Image
import pytest
from scipy import special
from sklearn import metrics as sklearn_metrics

from vit_jax import checkpoint
from vit_jax import job as job_lib
from vit_jax import replay
from vit_jax import run
from vit_jax import train
from vit_jax.data import pipeline
from vit_jax.errors import BadInput

# Every step is a line of metrics, so that a line is of one step alone. In float32, as a replay is another program than
# the training, and programs round bfloat16 differently.
CHANGES = {'log_every': 1, 'epochs': 1.0, 'eval_epochs': 0.3, 'keep': 9, 'optim.warmup_epochs': 0.1, 'dtype': 'float32'}


@pytest.fixture(scope='module')
def config(tiny_digits):
  return lambda **changes: tiny_digits(**CHANGES | changes)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory, config):
  path = tmp_path_factory.mktemp('replay') / 'run'
  train.train(config(), path, recipe='digits', cache_dir=path.parent / 'cache')
  return path


@pytest.mark.slow
@pytest.mark.parametrize('step', [3, 9, 20])  # Before the first checkpoint, after one, the last.
def test_it_is_the_step_that_was_trained(workdir, config, step):
  found = replay.replay(workdir, step, cache_dir=workdir.parent / 'cache')
  line = next(line for line in map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
              if line['step'] == step)
  assert found['loss'] == pytest.approx(line['loss'], rel=1e-4)
  assert found['checkpoint'] == max(s for s in (0, 6, 12) if s < step)
  assert np.sqrt(sum(norm**2 for norm in found['grad_norms'].values())) == pytest.approx(line['grad_norm'], rel=1e-3)
  job = job_lib.prepare(config(), workdir.parent / 'cache')
  batches = pipeline.train_batches(job.data.train, batch_size=64, seed=0, start_step=step - 1)
  with contextlib.closing(batches):
    labels = next(batches)['label']
  rows = found['pictures']
  assert sorted(int(row['class']) for row in rows) == sorted(labels)
  assert [row['loss'] for row in rows] == sorted((row['loss'] for row in rows), reverse=True)
  assert json.loads((workdir / f'replay-{step}.json').read_text()) == found
  with Image.open(workdir / f'replay-{step}.png') as image:
    assert image.width > 800
  text = replay.describe(found, workdir)
  assert f'{rows[0]["index"]} ({rows[0]["class"]}, loss' in text


@pytest.mark.slow
def test_what_a_line_says_is_of_the_running_mean_and_of_its_step(workdir, config):
  """Against a state that was saved beside the line."""
  job = job_lib.prepare(config(), workdir.parent / 'cache')
  with contextlib.closing(run.RunFolder(workdir).checkpoints()) as manager:
    step, state = checkpoint.newest_state(manager, job.abstract_state, before=13)
  line = next(line for line in map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
              if line['step'] == step)
  part = job.data.validation.read(np.arange(len(job.data.validation)))
  def loss(params):
    logits = job.model.apply({'params': params}, part['image'] / np.float32(127.5) - 1, train=False)
    return sklearn_metrics.log_loss(part['label'], special.softmax(np.asarray(logits, np.float64), axis=1))
  assert line['val_loss'] == pytest.approx(loss(state.ema), rel=1e-4)
  assert abs(loss(state.params) - loss(state.ema)) > 1e-3
  assert (step, line['epoch']) == (12, pytest.approx(12 * 64 / 1295, abs=1e-4))
  # Two steps of warm-up, and half a cosine over the other 18; the twelfth step is number 11.
  assert line['lr'] == pytest.approx(config().optim.lr / 2 * (1 + np.cos(np.pi * (11 - 2) / 18)), rel=1e-4)


@pytest.mark.slow
def test_a_step_that_is_none(workdir):
  with pytest.raises(BadInput, match=r'--replay_step=21 is no step of .*; it has 1 to 20'):
    replay.replay(workdir, 21, cache_dir=workdir.parent / 'cache')


@pytest.mark.slow
def test_a_bad_step_stops_or_is_skipped(tmp_path, config):
  """Steps of AdamW as large as the weights make the loss jump."""
  changes = {'max_loss_ratio': 1.5, 'optim.name': 'adamw', 'optim.lr': 1.0}
  with pytest.raises(BadInput, match=r'the loss was \S+ where \S+ is usual at step \d+; .*--replay_step=\d+'):
    train.train(config(**changes), tmp_path / 'run', recipe='digits', cache_dir=tmp_path / 'cache')
  # The same folder goes on with another policy.
  result = train.train(config(**changes, on_bad_step='skip'), tmp_path / 'run', recipe='digits',
                       cache_dir=tmp_path / 'cache')
  assert result['steps'] == 20
  lines = list(map(json.loads, (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()))
  assert len(lines) == 20 and any('bad_step' in line for line in lines)
  # And with the first one again: what was skipped before the checkpoint is no reason to stop after it.
  (tmp_path / 'run' / 'result.json').unlink()
  shutil.rmtree(tmp_path / 'run' / 'checkpoints' / '20')
  assert 'bad_step' in next(line for line in lines if line['step'] == 12)
  try:
    result = train.train(config(**changes), tmp_path / 'run', recipe='digits', cache_dir=tmp_path / 'cache')
  except BadInput as error:
    assert re.search(r'usual at step (1[3-9]|20);', str(error))
  else:
    assert result['steps'] == 20
