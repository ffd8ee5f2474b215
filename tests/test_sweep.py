"""The command: help that helps, one line for each mistake, and a sweep that is killed and goes on."""
import csv
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

import filelock
import pytest

pytest.importorskip('optuna', reason='sweeps need optuna')

ROOT = pathlib.Path(__file__).parent.parent
DIGITS = '--config=configs/digits.py'
TPE = [DIGITS, '--search=tpe', '--trials=2']
# A training of a few seconds.
TOY = [DIGITS, '--config.epochs=0.5', '--config.model.num_layers=1', '--config.model.hidden_size=16',
       '--config.optim.warmup_epochs=0.0', '--config.eval_epochs=0.25']
COMMAND = [sys.executable, '-m', 'vit_jax.sweep']


def sweep(*flags):
  return subprocess.run([*COMMAND, *flags], cwd=ROOT, text=True, capture_output=True, check=False)


def test_help_is_readable():
  process = sweep('--help')
  for text in ('--sweep.optim.lr=1e-4,3e-4,1e-3 --sweep.seed=0:3', '--search=tpe --trials=40', '--workers', '--storage',
               '--launcher: <local|slurm>', "pip install 'vit_jax[sweep]'", '--sweep.KEY', '--config: The recipe'):
    assert text in process.stdout, text
  assert '--sweep.optim.lr:' not in process.stdout  # One line for all keys, not one for each.
  assert process.stderr == ''


@pytest.mark.parametrize(('flags', 'message'), [
    (['--sweep.seed=0:3'], 'nothing to train; name a recipe, e.g. --config=configs/digits.py'),
    ([DIGITS], 'nothing to try; name values of a key, e.g. --sweep.optim.lr=1e-4,3e-4,1e-3'),
    ([DIGITS, '--sweep.optim.lrr=1'], "Unknown command line flag 'sweep.optim.lrr'. Did you mean: sweep.optim.lr ?"),
    ([DIGITS, '--sweep.seed=3:3'], '--sweep.seed=3:3 is empty'),
    ([DIGITS, '--sweep.batch_size=64,many'], "--sweep.batch_size=64,many: 'many' is no whole number"),
    ([DIGITS, '--sweep.seed=1,2', '--config.seed=1'], '--config.seed and --sweep.seed are given both'),
    ([DIGITS, '--sweep.optim.lr=.1...2'], 'is a range, and a grid has none'),
    ([DIGITS, '--sweep.seed=1,2', '--trials=3'], '--trials is for --search=tpe'),
    ([*TPE[:2], '--sweep.optim.lr=.1...2'], '--search=tpe needs a number of trials'),
    ([*TPE, '--sweep.seed=0:2'], 'something besides the seed has to be searched for'),
    ([*TPE, '--sweep.seed=0..2', '--sweep.optim.lr=.1...2'], '--sweep.seed cannot be a range'),
    ([*TPE, '--sweep.augment.cutmix=0..2'], 'with augment.cutmix=2.0: augment.cutmix=2.0 must be a probability'),
    ([*TPE, '--sweep.epochs=1,2', '--pruner=median'], '--pruner=median compares validations one by one'),
    ([DIGITS, '--sweep.seed=1,2', '--job=timeout_min=3'], '--job=timeout_min=3 is for --launcher=slurm'),
    ([DIGITS, '--sweep.seed=1,2', '--workers=9999'], '--workers=9999 is more than the'),
    ([DIGITS, '--sweep.seed=1,2', '--workdir=/proc/none'], '--workdir=/proc/none cannot be written'),
    ([DIGITS, '--sweep.seed=1,2', '--workdir=configs'], '--workdir=configs holds files but no sweep'),
    ([DIGITS, '--sweep.seed=1,2', '--storage=mine.db'], '--storage must be a URL'),
    ([DIGITS, '--sweep.seed=1,2', '--workdir=runs/a?b'], "--workdir=runs/a?b has '?' in it, which the URL"),
    ([DIGITS, '--sweep.seed=1,2', '--launcher=slurm', '--job=timeout_min=2h'], '--launcher=slurm cannot be used'),
])
def test_a_mistake_is_one_line(flags, message, tmp_path):
  process = sweep(f'--workdir={tmp_path / "sweep"}', *flags)
  assert process.returncode == 2, process
  assert message in process.stderr
  assert process.stderr.startswith('error: ') and process.stderr.count('\n') == 1
  assert not any((tmp_path / 'sweep' / 'trials').glob('*'))  # Nothing was trained.
  assert not (ROOT / 'runs' / 'a?b').exists()  # Refused before anything is made.


def test_without_optuna_a_line_names_what_to_install():
  code = ("import runpy, sys; sys.modules['optuna'] = None; sys.argv[1:] = ['--config=configs/digits.py', "
          "'--sweep.seed=1,2']; runpy.run_module('vit_jax.sweep', run_name='__main__', alter_sys=True)")
  process = subprocess.run([sys.executable, '-c', code], cwd=ROOT, text=True, capture_output=True, check=False)
  assert process.stderr == "error: sweeps need optuna, which is not installed: pip install 'vit_jax[sweep]'\n"


def test_the_command_line_imports_nothing_big():
  big = ('jax', 'tensorflow', 'flax', 'optax', 'orbax', 'sklearn', 'optuna', 'submitit')
  code = f'import sys, vit_jax.sweep; print(*[name for name in {big} if name in sys.modules])'
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
  assert done.stdout.split() == []


def rows(folder):
  return list(csv.DictReader((folder / 'results.csv').read_text(encoding='utf-8').splitlines()))


def test_what_fails_is_kept_with_its_error_and_a_second_process_is_refused(tmp_path):
  folder = tmp_path / 'sweep'
  flags = ['--config=configs/folder.py', '--sweep.data.path=/no/such/folder', f'--workdir={folder}']
  process = sweep(*flags)
  assert process.returncode == 1, process
  row, = rows(folder)
  assert row['state'] == 'fail' and row['error'].startswith('error: ') and '/no/such/folder' in row['error']
  assert row['error'] in (folder / 'sweep.html').read_text(encoding='utf-8').replace('&#39;', "'")
  assert 'failed    1 of 1; the first, trial 0: error: ' in process.stdout
  other = sweep(*flags[:1], '--sweep.data.path=/no/other', flags[2])
  assert other.returncode == 2
  assert 'sweep belongs to another sweep (--sweep.data.path: /no/such/folder there, /no/other now)' in other.stderr
  with filelock.FileLock(folder / f'lock-{socket.gethostname()}'):
    assert 'is being swept in by another process' in sweep(*flags).stderr


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_trains_nothing_twice(tmp_path):
  folder = tmp_path / 'sweep'
  flags = [*TOY, '--sweep.optim.lr=1e-3,3e-3', f'--workdir={folder}']
  killed = subprocess.Popen([*COMMAND, *flags], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
  with killed.stdout as said:
    assert any(line.startswith('trial 0 · optim.lr=0.001 · validation ') for line in said)
    while not (folder / 'trials' / '0001-seed0.log').exists():
      time.sleep(.05)
    killed.kill()
  killed.wait()
  before = (folder / 'trials' / '0000-seed0' / 'result.json').stat().st_mtime_ns
  process = sweep(*flags)
  assert process.returncode == 0, process
  assert 'trial 1 · ' in process.stdout and 'trial 0 · ' not in process.stdout
  first, second = rows(folder)
  for row, rate in ((first, .001), (second, .003)):
    run = pathlib.Path(row['folder'])
    result, config = (json.loads((run / name).read_text()) for name in ('result.json', 'config.json'))
    assert row['state'] == 'complete' and float(row['val_accuracy']) == result['val_accuracy']
    assert float(row['optim.lr']) == config['optim']['lr'] == rate and config['model']['num_layers'] == 1
    environment = json.loads((run / 'environment.json').read_text())
    assert environment[-1]['cores'] == len(os.sched_getaffinity(0))
    assert environment[-1]['command'].startswith(f'python -m vit_jax.main {DIGITS} --config.epochs=0.5 ')
  assert (pathlib.Path(first['folder']) / 'result.json').stat().st_mtime_ns == before
  assert re.search(r'^optim.lr +seeds +validation, % +time a run$', process.stdout, re.MULTILINE)
  assert 'test_accuracy' not in (folder / 'results.csv').read_text() + (folder / 'sweep.html').read_text()


@pytest.mark.slow
def test_a_sweep_of_jobs(tmp_path):
  pytest.importorskip('submitit', reason='--launcher=slurm needs submitit')
  from configs import digits
  from vit_jax import interrupt
  from vit_jax.sweeping import driver
  from vit_jax.sweeping import launch
  from vit_jax.sweeping import space
  from vit_jax.sweeping import study as study_lib

  study = study_lib.open_study(f'sqlite:///{tmp_path / "sweep.db"}', 's', {}, digits.get_config(), 'none')
  values = {'augment.cutmix': space.Values((0.0, 2.0))}  # The second one no run takes.
  plan = driver.Plan(digits.get_config(), TOY, values, (), space.grid(values), tmp_path)
  study_lib.plan(study, plan.points)
  launcher = launch.Slurm(tmp_path / 'jobs', 2, {'timeout_min': 5}, cluster='local')
  driver.drive(study, plan, launcher, 'me', interrupt.Stop())
  done, failed = study_lib.trials(study).values()
  result = json.loads((tmp_path / 'trials' / '0000-seed0' / 'result.json').read_text())
  assert done.value == result['val_accuracy']
  assert failed.user_attrs['error'] == 'error: augment.cutmix=2.0 must be a probability, from 0 to 1'


@pytest.mark.parametrize('flags, keys, name', [
    (['--search=tpe'], ['optim.lr'], 'median'), ([], ['optim.lr'], 'none'), (['--search=tpe'], ['epochs'], 'none'),
    (['--search=tpe', '--pruner=hyperband'], ['optim.lr'], 'hyperband')])
def test_a_search_stops_what_does_badly_unless_its_validations_stand_at_other_times(flags, keys, name):
  code = f'import sys; from absl import flags; from vit_jax import sweep; flags.FLAGS(["sweep", *{flags}]); '
  done = subprocess.run([sys.executable, '-c', f'{code}print(sweep.pruner({keys}))'], cwd=ROOT, text=True,
                        capture_output=True, check=True)
  assert done.stdout == f'{name}\n'


@pytest.mark.parametrize('url, shown', [
    ('postgresql://me:secret@host/db', 'postgresql://me:…@host/db'), ('mysql://:secret@host/db', 'mysql://:…@host/db'),
    ("'postgresql://host/db?user=me&password=secret&x=1'", "'postgresql://host/db?user=me&password=…&x=1'")])
def test_the_command_is_shown_without_passwords(url, shown):
  code = ('import sys; from vit_jax import machine, sweep; machine.command_line = lambda: sys.argv[1]; '
          'print(sweep.shown_command())')
  done = subprocess.run([sys.executable, '-c', code, f'sweep --storage={url} --trials=3'], cwd=ROOT, text=True,
                        capture_output=True, check=True)
  assert done.stdout == f'sweep --storage={shown} --trials=3\n'
