"""The command line: help that helps, and one line for each mistake."""
import pathlib
import subprocess
import sys

import pytest

from configs import cifar_catdog
from configs import digits
from vit_jax import job
from vit_jax.errors import BadInput

ROOT = pathlib.Path(__file__).parent.parent
DIGITS = '--config=configs/digits.py'


def main(*flags):
  return subprocess.run([sys.executable, '-m', 'vit_jax.main', *flags], cwd=ROOT, text=True, capture_output=True,
                        check=False)


def test_help_is_readable():
  process = main('--help')
  for text in ('python -m vit_jax.main --config=', '--workdir', '--cache_dir', '--[no]evaluate'):
    assert text in process.stdout
  assert process.stderr == '' and process.returncode == 0


def test_who_stops_reading_is_told_nothing():
  process = subprocess.Popen([sys.executable, '-m', 'vit_jax.main', '--help'], cwd=ROOT, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
  process.stdout.close()
  assert process.stderr.read() == b''
  process.stderr.close()
  assert process.wait() == 141


def test_a_dry_run_says_what_a_training_would_take_and_writes_nothing(tmp_path):
  done = main(DIGITS, '--dry_run', '--config.model.num_layers=1', f'--workdir={tmp_path / "run"}',
              f'--cache_dir={tmp_path}')
  assert done.returncode == 0, done
  assert all(text in done.stdout for text in ('recipe', 'it fits into')), done.stdout
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(('flags', 'message'), [
    ([], 'nothing to train; name a recipe, e.g. --config=configs/digits.py'),
    (['--config=configs/nope.py'], '--config=configs/nope.py does not exist; there are configs/cifar10.py, '),
    ([DIGITS, '--config.optim.lrr=1'], "unknown config key 'lrr'; did you mean 'lr'?"),
    ([DIGITS, '--config.optin.lr=1'], "unknown config key 'optin'; did you mean 'optim'?"),
    ([DIGITS, '--config.seed=one'], "invalid literal for int() with base 10: 'one'"),
    ([DIGITS, '--worckdir=x'], "Unknown command line flag 'worckdir'. Did you mean: workdir"),
    ([DIGITS, 'x'], "unexpected argument 'x'"),
    (['--evaluate'], 'name a run folder with --workdir'),
    (['--evaluate', '--workdir=no_such_run'], 'no_such_run is not a run of vit_jax'),
])
def test_a_mistake_is_one_line(flags, message):
  process = main(*flags)
  assert process.returncode == 2
  assert message in process.stderr
  assert process.stderr.startswith('error: ') and process.stderr.count('\n') == 1
  assert not (ROOT / 'no_such_run').exists()


def changed(config, **changes):
  with config.unlocked():
    config.update_from_flattened_dict(changes)
  return config


@pytest.mark.parametrize(('key', 'value', 'message'), [
    ('model.variant', 'ViT-B16', 'did you mean ViT-B_16'),
    ('model.num_heads', 5, 'num_heads=5 does not divide hidden_size=64; these do: 1, 2, 4'),
    ('model.patch_size', 3, 'image_size=8 is not a multiple of'),
    ('data.classes', ('0', '11'), "class '11' is unknown; did you mean"),
    ('data.name', 'digit', 'did you mean digits'),
    ('batch_size', 0, 'batch_size=0 must be a finite number greater than 0'),
    ('dtype', 'float16', "dtype='float16' is unknown"),
    ('optim.name', 'adam', "optim.name 'adam' is unknown; did you mean adamw"),
    ('epochs', 1.0, '40 warm-up steps do not fit into 20 steps'),
])
def test_a_recipe_that_cannot_work_is_refused_before_training(key, value, message, tmp_path):
  with pytest.raises(BadInput) as error:
    job.prepare(changed(digits.get_config(), **{key: value}), tmp_path)
  assert message in str(error.value)


def test_patch_size_is_checked_before_the_data_is_looked_for(tmp_path):
  config = changed(cifar_catdog.get_config(), **{'data.image_size': 30, 'data.dir': str(tmp_path)})
  with pytest.raises(BadInput, match=r'image_size=30 is not a multiple of .* 4; try image_size='):
    job.prepare(config, tmp_path)


@pytest.mark.parametrize(('total', 'every', 'expected'), [
    (10, 3, [3, 6, 10]), (11, 3, [3, 6, 9, 11]), (9, 3, [3, 6, 9]), (2, 5, [2]), (3, 1, [1, 2, 3])])
def test_validations_end_with_the_last_step(total, every, expected):
  plan = job.Job(*[None] * 6, total_steps=total, eval_every=every)
  assert [step for step in range(1, total + 1) if plan.validates(step)] == expected
