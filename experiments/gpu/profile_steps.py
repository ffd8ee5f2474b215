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
import csv
import importlib
import pathlib
import re
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / 'benchmark'))
import profile_step  # noqa: E402

PROFILED, STEPS = 5, 20
PRODUCT = re.compile('nvjet|gemm|splitK')


def job_of(recipe):
  """The Job of a recipe in bfloat16, on as many made-up pictures as one of its batches has."""
  from vit_jax import job as job_lib
  from vit_jax.benchmarks import ours
  config = importlib.import_module(f'configs.{recipe}').get_config()
  config.dtype, config.optim.warmup_epochs, config.epochs = 'bfloat16', 0.0, 1000.0
  classes = 200 if 'tiny' in recipe else len(config.data.classes) or 10
  data = ours.made_up_data(config, classes)
  return job_lib.make(config, data, job_lib.build_model(config, None, classes, config.data.image_size))


def prepared(recipe):
  """-> the job, its first state and its compiled step."""
  job = job_of(recipe)
  state = job.initial_state()
  return job, state, job.compiled_train_step(state, job.size_at(job.total_steps))


class Steps:
  """A step, again and again on the same batch."""

  def __init__(self, job, state, step):
    import jax

    from vit_jax.benchmarks import ours
    self.job, self.state, self.step, self.key = job, state, step, jax.random.key(0)
    self.batch = ours.first_batch(job)

  def as_training_does(self, count):
    """Takes so many steps, one of which is waiting at most: -> seconds."""
    import jax

    from vit_jax import sharding
    started, waiting = time.perf_counter(), None
    for _ in range(count):
      self.state, metrics = self.step(self.state, sharding.shard_batch(self.batch, self.job.mesh), self.key)
      jax.block_until_ready(waiting)
      waiting = metrics
    jax.block_until_ready(self.state)
    return time.perf_counter() - started

  def queued(self, count):
    """The same without ever waiting: -> seconds until all are over."""
    import jax

    from vit_jax import sharding
    batch, started = sharding.shard_batch(self.batch, self.job.mesh), time.perf_counter()
    for _ in range(count):
      self.state, _ = self.step(self.state, batch, self.key)
    jax.block_until_ready(self.state)
    return time.perf_counter() - started

  def events(self):
    """(start, end, kernel) of all that ran on the device in PROFILED steps, in ns."""
    import jax
    with tempfile.TemporaryDirectory() as folder:
      options = jax.profiler.ProfileOptions()
      options.python_tracer_level = 0
      with jax.profiler.trace(folder, profiler_options=options):
        self.as_training_does(PROFILED)
      file, = pathlib.Path(folder).rglob('*.xplane.pb')
      return [(event.start_ns, event.end_ns, event.name)
              for plane in jax.profiler.ProfileData.from_file(str(file)).planes if 'GPU' in plane.name
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


def profile(recipe, job, state, step):
  """-> the row of steps.csv for a recipe, and its rows of profile.csv."""
  from vit_jax import forecast
  steps = Steps(job, state, step)
  steps.as_training_does(3)
  as_training, queued = 1e3 * steps.as_training_does(STEPS) / STEPS, 1e3 * steps.queued(STEPS) / STEPS
  events = steps.events()
  names = {re.sub('[.-]', '_', name): found for name, found in profile_step.names_of(step.as_text()).items()}
  parts = collections.Counter()
  for start, end, kernel in events:
    parts[part_of(kernel, names)] += (end - start) / PROFILED / 1e6
  size = job.config.batch_size
  flop = forecast.step_flops(job, job.size_at(job.total_steps))
  row = {'recipe': recipe, 'batch_size': size, 'ms_a_step': round(as_training, 2), 'ms_queued': round(queued, 2),
         'ms_busy': round(busy(events) / PROFILED / 1e6, 2), 'kernels': round(len(events) / PROFILED),
         'gflop': round(flop / 1e9), 'tflop_a_second': round(flop / as_training / 1e9),
         'images_a_second': round(1e3 * size / as_training)}
  print(row, flush=True)
  return row, [{'recipe': recipe, 'part': part, 'ms_a_step': round(ms, 3), 'share': round(ms / parts.total(), 4)}
               for part, ms in parts.most_common()]


def write(name, rows):
  """Writes a table beside this script."""
  with (HERE / name).open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


def main():
  """Compiles all recipes at once, and profiles one after the other."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('recipes', nargs='+')
  recipes = parser.parse_args().recipes
  import jax
  if jax.default_backend() != 'gpu':
    sys.exit(f'this is for a GPU, and JAX sees {jax.default_backend()!r}; on a CPU take '
             'experiments/benchmark/profile_step.py')
  with futures.ThreadPoolExecutor() as pool:
    found = [profile(recipe, *ready) for recipe, ready in zip(recipes, pool.map(prepared, recipes), strict=True)]
  write('steps.csv', [row for row, _ in found])
  write('profile.csv', [row for _, rows in found for row in rows])


if __name__ == '__main__':
  main()
