"""Test accuracy of finished runs with and without the test pictures that are in training or validation too.

    python experiments/data_report/accuracy_without_leaks.py runs/cifar_catdog-seed0 runs/cifar_catdog-seed1

Prints CSV, a row a run. The leaks are looked for once for each data set, as vit_jax.inspect_data does.
"""
import contextlib
import csv
import pathlib
import sys

import numpy as np

from vit_jax import checkpoint
from vit_jax import config as config_lib
from vit_jax import job as job_lib
from vit_jax import quiet
from vit_jax import run
from vit_jax.data import inspect

CACHE = pathlib.Path('~/.cache/vit_jax').expanduser()


def leaked(data):
  """The test pictures that are in another part too: DataSet -> bool[test]."""
  found = inspect.inspect(data)
  test = found.part == found.parts.index('test')
  return np.isin(found.group[test], found.group[~test])


def measure(path, known):
  """One run -> a row; `known` keeps the leaks of the data sets that were seen."""
  folder = run.RunFolder(path)
  config = folder.config()
  job = job_lib.prepare(config, CACHE)
  with contextlib.closing(folder.checkpoints()) as manager:
    state, _ = checkpoint.restore_latest(manager, job.abstract_state)
  key = str({name: value for name, value in config_lib.flatten(config).items() if name.startswith('data.')})
  if key not in known:
    known[key] = leaked(job.data)
  leaks = known[key]
  row = {'run': pathlib.Path(path).name, 'test_count': len(leaks), 'leaked': int(leaks.sum())}
  parts = {'all': np.arange(len(leaks)), 'clean': np.flatnonzero(~leaks), 'leaked': np.flatnonzero(leaks)}
  for name, rows in parts.items():
    metrics = job.evaluate(state.ema, job.data.test.take(rows)) if len(rows) else {}
    for metric in ('accuracy', 'accuracy_flip'):
      row[f'{metric}_{name}'] = round(metrics[metric], 4) if metric in metrics else ''
  return row


def main(*paths):
  """All runs as CSV on the standard output."""
  quiet.silence()
  known = {}
  rows = [measure(path, known) for path in paths]
  writer = csv.DictWriter(sys.stdout, rows[0], lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)


if __name__ == '__main__':
  main(*sys.argv[1:])
