"""How much a checkpoint takes from training: steps with a save among them beside steps without, in turns -> saves.csv.

    python experiments/nothing_lost/saves.py configs/cifar_catdog.py configs/tiny_imagenet.py
"""
import contextlib
import csv
import importlib
import pathlib
import statistics
import sys
import tempfile
import time

import jax

from vit_jax import checkpoint
from vit_jax import cpu
from vit_jax import job as job_lib
from vit_jax import sharding
from vit_jax.data import pipeline

ROUNDS, SECONDS = 5, 5.0


def measure(recipe):
  """One recipe: -> a row of medians over the rounds."""
  config = importlib.import_module(f'configs.{pathlib.Path(recipe).stem}').get_config()
  job = job_lib.prepare(config, pathlib.Path('~/.cache/vit_jax').expanduser())
  state, key = job.initial_state(), jax.random.key(0)
  size = job.size_at(job.total_steps)
  step = job.compiled_train_step(state, size)
  batches = pipeline.train_batches(job.data.train, batch_size=config.batch_size, seed=0)

  def steps(state, count):
    started = time.perf_counter()
    for _ in range(count):
      state, metrics = step(state, sharding.shard_batch(next(batches), job.mesh), key)
      jax.block_until_ready(metrics)
    return state, time.perf_counter() - started

  state, _ = steps(state, 3)
  state, three = steps(state, 3)
  count = max(round(SECONDS / three * 3), 5)
  blocked, added, plain = [], [], []
  with tempfile.TemporaryDirectory() as folder, \
      contextlib.closing(checkpoint.open_manager(pathlib.Path(folder), keep=2)) as manager:
    for i in range(ROUNDS):
      state, alone = steps(state, count)
      started = time.perf_counter()
      checkpoint.save(manager, i, state)
      blocked.append(time.perf_counter() - started)
      state, beside = steps(state, count)
      manager.wait_until_finished()
      plain.append(alone / count)
      added.append(blocked[-1] + beside - alone)
    size = sum(path.stat().st_size for path in manager.path(ROUNDS - 1).rglob('*') if path.is_file())
  batches.close()
  between = job.eval_every * statistics.median(plain)
  return {'recipe': pathlib.Path(recipe).stem, 'megabytes': round(size / 1e6, 1),
          'step_seconds': round(statistics.median(plain), 4), 'steps_between_saves': job.eval_every,
          'blocked_seconds': round(statistics.median(blocked), 4), 'added_seconds': round(statistics.median(added), 4),
          'added_lowest': round(min(added), 4), 'added_highest': round(max(added), 4),
          'share_percent': round(100 * statistics.median(added) / between, 3), 'rounds': ROUNDS, 'jax': jax.__version__}


def main(*recipes):
  """Measures each recipe."""
  cpu.keep_pages()
  rows = [measure(recipe) for recipe in recipes]
  for row in rows:
    print(row)
  with (pathlib.Path(__file__).parent / 'saves.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


if __name__ == '__main__':
  main(*sys.argv[1:])
