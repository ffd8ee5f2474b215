"""Where the time of a train step goes on a GPU: which part of the model, and how long the device is busy at all.

    python experiments/gpu/profile_steps.py cifar_catdog_gpu cifar10_gpu tiny_imagenet_gpu tiny_imagenet_teacher

Compiles the recipes' steps at once, and runs each on one made-up batch: 20 steps as training does, 20 without ever
waiting, and 5 under jax's profiler. Writes steps.csv and profile.csv beside this script. XLA puts a step's kernels into
graphs of CUDA, so that an event names no operation but its kernel, which is named after one: several that are alike
share a kernel, and count for the part of the first. Products of matrices, which cuBLAS does, are not divided among the
parts.
"""
import argparse
import collections
from concurrent import futures
import importlib
import pathlib
import re
import sys
import time

import jax

from vit_jax import job as job_lib
from vit_jax import sharding
from vit_jax.benchmarks import child
from vit_jax.benchmarks import ours

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / 'benchmark'))
import profile_step  # noqa: E402

PROFILED, STEPS = 5, 20
PRODUCT = re.compile('nvjet|gemm|splitK')


def job_of(recipe):
  """The Job of a recipe in bfloat16, on as many made-up pictures as one of its batches has."""
  config = importlib.import_module(f'configs.{recipe}').get_config()
  config.dtype, config.optim.warmup_epochs, config.epochs = 'bfloat16', 0.0, 1000.0
  classes = 200 if 'tiny' in recipe else len(config.data.classes) or 10
  data = ours.made_up_data(config, classes)
  return job_lib.make(config, data, job_lib.build_model(config, None, classes, config.data.image_size))


class Steps(ours.Training):
  """A recipe's train step, on the same batch again and again."""

  def __init__(self, recipe):
    self.job = job_of(recipe)
    self.batch, self.pictures = ours.first_batch(self.job), self.job.config.batch_size
    self.begin()

  def queued(self, count):
    """Takes so many steps and waits for none but the last: -> seconds."""
    batch, started = sharding.shard_batch(self.batch, self.job.mesh), time.perf_counter()
    for _ in range(count):
      self.state, _ = self.step(self.state, batch, self.key)
    jax.block_until_ready(self.state)
    return time.perf_counter() - started

  def events(self):
    """(start, end, kernel) of all that ran on the device in PROFILED steps, in ns."""
    _, planes = profile_step.profiled(lambda: self.run(PROFILED))
    return [(event.start_ns, event.end_ns, event.name) for plane in planes if 'GPU' in plane.name
            for line in plane.lines if line.name.startswith('Stream') for event in line.events]


def busy(events):
  """In how many ns anything ran."""
  total, end = 0, 0
  for start, until, _ in sorted(events):
    total += max(0, until - max(start, end))
    end = max(end, until)
  return total


def part_of(kernel, names):
  """The part of the step that a kernel belongs to; `names` are profile_step's, by the names that kernels have."""
  if PRODUCT.search(kernel):
    return 'products of matrices'
  return profile_step.part_of(kernel, names) if kernel in names else 'copies and the like'


def profile(recipe, steps):
  """-> the row of steps.csv for a recipe, and its rows of profile.csv."""
  steps.run(3)
  as_training, queued = 1e3 * child.timed(steps, STEPS) / STEPS, 1e3 * steps.queued(STEPS) / STEPS
  events = steps.events()
  names = {re.sub('[.-]', '_', name): found for name, found in profile_step.names_of(steps.step.as_text()).items()}
  parts = collections.Counter()
  for start, end, kernel in events:
    parts[part_of(kernel, names)] += (end - start) / PROFILED / 1e6
  size, flop = steps.pictures, steps.flops()
  row = {'recipe': recipe, 'batch_size': size, 'ms_a_step': round(as_training, 2), 'ms_queued': round(queued, 2),
         'ms_busy': round(busy(events) / PROFILED / 1e6, 2), 'kernels': round(len(events) / PROFILED),
         'gflop': round(flop / 1e9), 'tflop_a_second': round(flop / as_training / 1e9),
         'images_a_second': round(1e3 * size / as_training)}
  print(row, flush=True)
  return row, [{'recipe': recipe, 'part': part, 'ms_a_step': round(ms, 3), 'share': round(ms / parts.total(), 4)}
               for part, ms in parts.most_common()]


def main():
  """Compiles all recipes at once, and profiles one after the other."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('recipes', nargs='+')
  recipes = parser.parse_args().recipes
  if jax.default_backend() != 'gpu':
    sys.exit(f'this is for a GPU, and JAX sees {jax.default_backend()!r}; on a CPU take '
             'experiments/benchmark/profile_step.py')
  with futures.ThreadPoolExecutor() as pool:
    found = [profile(recipe, steps) for recipe, steps in zip(recipes, list(pool.map(Steps, recipes)), strict=True)]
  profile_step.write(HERE / 'steps.csv', [row for row, _ in found])
  profile_step.write(HERE / 'profile.csv', [row for _, rows in found for row in rows])


if __name__ == '__main__':
  main()
