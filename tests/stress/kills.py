"""Kills a training again and again at random moments, and holds what comes out against one that was left alone.

    python tests/stress/kills.py --kills 100

Each time the same command is given again. At the end weights, their running mean, the optimizer's state and the metrics
must be those of the other run to the last bit, and metrics.jsonl must have every step once. Prints a table; with
--results it is added to a CSV file.
"""
import argparse
import contextlib
import csv
import json
import pathlib
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time

import jax

from vit_jax import checkpoint
from vit_jax import digests
from vit_jax import progress
from vit_jax import run

ROOT = pathlib.Path(__file__).parents[2]
# A small model that saves every fourth step, so that a save is nearly always going on.
FLAGS = ('--config=configs/digits.py', '--config.model.hidden_size=32', '--config.model.num_layers=1',
         '--config.model.mlp_dim=64', '--config.eval_epochs=0.2', '--config.log_every=3')
# What remains of these in metrics.jsonl depends on the clock.
CLOCK = ('seconds', 'cpu_seconds', 'energy_kwh')


def start(workdir, epochs):
  """The command, the same each time."""
  command = [sys.executable, '-m', 'vit_jax.main', *FLAGS, f'--config.epochs={epochs}', f'--workdir={workdir}']
  return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(workdir, epochs):
  """Runs it to its end."""
  process = start(workdir, epochs)
  _, err = process.communicate()
  if process.returncode:
    raise SystemExit(f'the training ended with status {process.returncode}:\n{err}')


def saving(workdir):
  """Whether a checkpoint is being written: Orbax's folder for it, or one whose digests are not there yet."""
  folders = list((workdir / 'checkpoints').glob('*'))
  return any('tmp' in path.name or not (path / 'SHA256SUMS').exists() for path in folders)


def kill(process, workdir, rng):
  """Kills a training at a random moment: -> what it was at, as far as its folder tells."""
  before = metrics_size(workdir)
  wait_for = rng.choice(['nothing', 'a step', 'a save', 'a save'])
  if wait_for == 'nothing':
    time.sleep(rng.uniform(0, 8))
  else:
    while process.poll() is None and metrics_size(workdir) <= before:
      time.sleep(.005)
    time.sleep(rng.uniform(0, .5))
    while wait_for == 'a save' and process.poll() is None and not saving(workdir):
      time.sleep(.0005)
    time.sleep(rng.uniform(0, .02))
  process.send_signal(signal.SIGKILL)
  process.communicate()
  if process.returncode != -signal.SIGKILL:
    return 'too late'
  if metrics_size(workdir) <= before:
    return 'before its first step'
  return 'in a save' if saving(workdir) else 'between two saves'


def metrics_size(workdir):
  """Bytes of metrics.jsonl."""
  path = workdir / 'metrics.jsonl'
  return path.stat().st_size if path.exists() else 0


def outcome(workdir):
  """What must be the same: digests of the whole last state and of the weights, the metrics without the clock."""
  folder = run.RunFolder(workdir)
  with contextlib.closing(folder.checkpoints()) as manager:
    _, state = checkpoint.newest(manager)
  lines = [{key: value for key, value in line.items() if key not in CLOCK} for line in folder.metrics()]
  steps = [line['step'] for line in lines]
  assert len(steps) == len(set(steps)) and steps == sorted(steps), 'a step is there twice'
  return {'state': digests.of_tree(state), 'weights': folder.read_json('result.json')['weights_sha256'],
          'metrics': json.dumps(lines)}


def stress(folder, kills, seed, epochs):
  """Trains twice in a folder, once undisturbed and once killed: -> a row of numbers; raises where they differ."""
  rng, folder, started = random.Random(seed), pathlib.Path(folder), time.monotonic()
  finish(folder / 'whole', epochs)
  killed = folder / 'killed'
  moments = [kill(start(killed, epochs), killed, rng)
             for _ in progress.track(range(kills), total=kills, desc='killing', unit='times')]
  assert 'too late' not in moments, 'the training was over before the last kill; let it train for more --epochs'
  finish(killed, epochs)
  want, got = outcome(folder / 'whole'), outcome(killed)
  for name in want:
    assert got[name] == want[name], f'{name} is not that of the training that was left alone'
  damaged = len(list((killed / 'damaged').glob('*')))
  return {'python': platform.python_version(), 'jax': jax.__version__, 'kills': kills, 'seed': seed,
          **{moment: moments.count(moment) for moment in ('before its first step', 'in a save', 'between two saves')},
          'unfinished checkpoints set aside': damaged, 'steps': json.loads(want['metrics'])[-1]['step'],
          'weights_sha256': got['weights'], 'seconds': round(time.monotonic() - started)}


def main():
  """The command."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--kills', type=int, default=20, help='how often (20)')
  parser.add_argument('--epochs', type=float, default=None, help='how long the training is; by default it fits')
  parser.add_argument('--seed', type=int, default=0, help='of the moments')
  parser.add_argument('--results', help='a CSV file to add the row to')
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    row = stress(folder, args.kills, args.seed, args.epochs or float(5 + 2 * args.kills))
  print('\n'.join(f'{name:<34}{value}' for name, value in row.items()))
  print('all the same, to the last bit')
  if args.results:
    path = pathlib.Path(args.results)
    new = not path.exists()
    with path.open('a', newline='', encoding='utf-8') as file:
      writer = csv.DictWriter(file, row, lineterminator='\n')
      if new:
        writer.writeheader()
      writer.writerow(row)


if __name__ == '__main__':
  main()
