"""How fast pictures can be read, in three ways, and whether a train step ever waits for them."""
import pathlib
import statistics
import tempfile
import time

import jax
import numpy as np

from vit_jax import machine
from vit_jax import progress
from vit_jax import sharding
from vit_jax.benchmarks.turns import spread
from vit_jax.data import pipeline
from vit_jax.data import pixel_file
from vit_jax.data import source

# Seconds for which one way of reading is timed in a round, and the least for which the train step is.
SECONDS = 1.0
# No more batches than this are read to see how much memory a way of reading takes.
MEMORY_BATCHES = 2_000


def ways(train, folder):
  """The same pictures, read in three ways: source.Source -> {name: function that returns a source.Source}.

  Pictures that are in memory are first written to a file in `folder`. The function that reads them into memory does
  so when it is called.
  """
  path = getattr(train.images, 'path', None)
  if path is None:
    path = pathlib.Path(folder) / 'images.npy'
    np.save(path, train.images)
  made = lambda images: source.Source(images, train.all_labels, train.rows)
  return {'streaming': lambda: made(pixel_file.open_pixels(path)),
          'memory-mapped': lambda: made(np.load(path, mmap_mode='r')),
          'memory': lambda: made(np.load(path))}


def opened(way, batch_size):
  """Opens one way of reading and goes through the pictures: -> (endless batches, bytes that the process grew by)."""
  before = machine.resident_memory() or 0
  train = way()
  batches = pipeline.train_batches(train, batch_size=batch_size, seed=0)
  for _ in range(min(len(train) // batch_size + 1, MEMORY_BATCHES)):
    next(batches)
  return batches, (machine.resident_memory() or 0) - before


def reading_speed(batches, batch_size):
  """Images/s of a loader that does nothing else."""
  count, started = 0, time.perf_counter()
  while (seconds := time.perf_counter() - started) < SECONDS:
    next(batches)
    count += batch_size
  return count / seconds


class Trainer:
  """The train step of a job, for timing: with batches from a loader, or again and again with the same one."""

  def __init__(self, job, batches):
    self.job, self.batches = job, batches
    self.state = job.initial_state()
    self.step = job.compiled_train_step(self.state, job.size_at(job.total_steps))
    self.key = jax.random.key(0)
    self.same = next(batches)
    self.run(1, load=False)
    seconds, _ = self.run(1, load=False)
    self.steps = max(round(SECONDS / seconds), 3)

  def run(self, steps, *, load):
    """Runs so many steps, each to its end: -> (seconds, the seconds of them that passed before a batch was there)."""
    waited, started = 0.0, time.perf_counter()
    for _ in range(steps):
      asked = time.perf_counter()
      batch = next(self.batches) if load else self.same
      waited += time.perf_counter() - asked
      self.state, _ = self.step(self.state, sharding.shard_batch(batch, self.job.mesh), self.key)
      jax.block_until_ready(self.state)
    return time.perf_counter() - started, waited


def measure(job, rounds):
  """Measures the three ways of reading beside the train step: -> JSON-able numbers, lists over the rounds."""
  batch_size = job.config.batch_size
  # Once for nothing, so that TensorFlow's own memory is not counted.
  opened(lambda: job.data.train.take(np.arange(1)), batch_size)
  with tempfile.TemporaryDirectory() as folder:
    open_ways = {name: opened(way, batch_size) for name, way in ways(job.data.train, folder).items()}
    trainer = Trainer(job, open_ways['streaming'][0])
    speeds = {name: [] for name in (*open_ways, 'train step')}
    waiting, slowdown = [], []
    for _ in progress.track(range(rounds), total=rounds, desc='measuring', unit='rounds'):
      for name, (batches, _) in open_ways.items():
        speeds[name].append(reading_speed(batches, batch_size))
      alone, _ = trainer.run(trainer.steps, load=False)
      loading, waited = trainer.run(trainer.steps, load=True)
      speeds['train step'].append(trainer.steps * batch_size / alone)
      waiting.append(waited / loading)
      slowdown.append(loading / alone)
  return {'images_per_second': speeds, 'waiting_share': waiting, 'time_with_loader': slowdown,
          'grown_bytes': {name: grown for name, (_, grown) in open_ways.items()}}


def describe(job, found):
  """The numbers of `measure` as a screen of text."""
  size, train = job.config.data.image_size, job.data.train
  speeds = found['images_per_second']
  appetite = statistics.median(speeds['train step'])
  lines = [f'{job.data.name}: {progress.number(len(train))} training pictures of {size}×{size}, '
           f'batches of {job.config.batch_size}', '',
           f'{"":<16}{"images/s, median and range":<36}{"× the step":>10}{"process grows by":>20}']
  for name, values in speeds.items():
    grown = found['grown_bytes'].get(name)
    text = '' if grown is None else f'{grown / 1e6:,.0f} MB'
    lines.append(f'{name:<16}{spread(values, "{:,.0f}"):<36}{statistics.median(values) / appetite:>10,.4g}{text:>20}')
  return '\n'.join([*lines, '', progress.table([
      ('waiting', f'{spread(found["waiting_share"], "{:.3%}")} of the time of a step passes before its batch is there'),
      ('loading', f'a step takes {spread(found["time_with_loader"], "{:.3f}")} times as long beside the loader as '
                  'with the same batch again and again')])])
