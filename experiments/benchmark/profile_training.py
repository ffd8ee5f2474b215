"""Where the time of a train step goes, here and in PyTorch: the same ViT, the same batch, bfloat16, AdamW.

    pip install -e '.[benchmarks]'
    python experiments/benchmark/profile_training.py

Takes some steps of each on a CPU under its framework's own profiler, one process a framework and number of tokens, and
writes profile_training.csv beside this script. PyTorch's model is the eager one, each of whose operations has a name.
"""
import collections
from concurrent import futures
import csv
import itertools
import multiprocessing
import re
import statistics

import profile_step

from vit_jax import cpu
from vit_jax.benchmarks import child
from vit_jax.benchmarks import setting as setting_lib

STEPS, ROUNDS = 6, 3
WIDTH, TOKENS = 192, (64, 256)
PRODUCTS, BETWEEN, GELU, NORM, ELSE = ('products with weights', 'attention between tokens', 'GELU', 'LayerNorm',
                                       'types, sums, optimizer')
NOTHING = profile_step.NOTHING
# The first that fits the name of one of PyTorch's operations counts.
THEIRS = {BETWEEN: 'attention', GELU: 'gelu', NORM: 'layer_norm', PRODUCTS: 'mm$|convolution'}


def part_here(name, names):
  """What one of our operations is counted as."""
  module = names.get(name, ('', ''))[1] + '/'
  if re.search(r'LayerNorm_\d|encoder_norm', module):
    return NORM
  if 'MultiHead' in module and not re.search(r'/(query|key|value|out)/', module):
    return BETWEEN
  if profile_step.kind_of(name, names) == 'products':
    return PRODUCTS
  return GELU if 'MlpBlock' in module and not re.search(r'/Dense_\d/', module) else ELSE


def part_in_pytorch(name):
  """What one of PyTorch's operations is counted as."""
  return next((part for part, pattern in THEIRS.items() if re.search(pattern, name)), ELSE)


def setting_of(framework, tokens):
  """A training of a bfloat16 model of six blocks, in batches of 64."""
  way = 'step' if framework == 'vit_jax' else 'eager'
  return setting_lib.Setting('train', 'bfloat16', framework=framework, way=way, width=WIDTH, tokens=tokens, depth=6,
                             batch_size=64)


def ours(tokens):
  """-> seconds of STEPS steps without the profiler, with it, and then of each part: {part: seconds}."""
  from vit_jax.benchmarks import ours as works
  work = works.make(setting_of('vit_jax', tokens))
  names = profile_step.names_of(work.step.as_text())
  alone, wall, found = profile_step.traced(work, STEPS)
  table = collections.Counter()
  for name, seconds in found.items():
    table[part_here(name, names)] += seconds
  table[NOTHING] = wall - sum(found.values())
  return alone, wall, table


def pytorchs(tokens):
  """The same of PyTorch."""
  from torch import profiler

  from vit_jax.benchmarks import twin
  work = twin.make(setting_of('torch', tokens))
  work.run(3)
  alone = child.timed(work, STEPS)
  with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as found:
    wall = child.timed(work, STEPS)
  table = collections.Counter()
  for event in found.key_averages():
    if event.key.startswith('aten::'):
      table[part_in_pytorch(event.key)] += event.self_cpu_time_total / 1e6
  table[NOTHING] = wall - sum(table.values())
  return alone, wall, table


def main():
  """Profiles both frameworks at each number of tokens in turns, prints medians over the rounds, writes all numbers."""
  rows = []
  for number, tokens in itertools.product(range(ROUNDS), TOKENS):
    for name, profile in (('vit_jax', ours), ('PyTorch', pytorchs))[::-1 if number % 2 else 1]:
      kept = cpu.keep_pages if profile is ours else None  # PyTorch's trainings are slower with it.
      with futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), initializer=kept) as pool:
        alone, wall, table = pool.submit(profile, tokens).result()
      print(f'round {number}, {tokens} tokens, {name}: {1e3 * alone / STEPS:.0f} ms a step, '
            f'{1e3 * wall / STEPS:.0f} under the profiler', flush=True)
      rows += [{'round': number, 'tokens': tokens, 'framework': name, 'part': part,
                'ms_a_step': round(1e3 * seconds / STEPS, 2)} for part, seconds in table.items()]
  with (profile_step.HERE / 'profile_training.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
  print('\n| tokens | part | vit_jax, ms | PyTorch, ms |\n|---|---|---|---|')
  for tokens, part in itertools.product(TOKENS, (PRODUCTS, BETWEEN, GELU, NORM, ELSE, NOTHING)):
    medians = [statistics.median(row['ms_a_step'] for row in rows
                                 if (row['tokens'], row['part'], row['framework']) == (tokens, part, name))
               for name in ('vit_jax', 'PyTorch')]
    print(f'| {tokens} | {part} | {medians[0]:.1f} | {medians[1]:.1f} |')


if __name__ == '__main__':
  main()
