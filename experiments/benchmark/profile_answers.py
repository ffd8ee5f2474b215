"""Where the time of an answer goes, here and in PyTorch: the same ViT, the same batch, bfloat16.

    pip install -e '.[benchmarks]'
    python experiments/benchmark/profile_answers.py

Runs some batches of each on a CPU under its framework's own profiler, one process a framework and width, and writes
profile_answers.csv beside this script. PyTorch's model is the compiled one with frozen weights.
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

BATCHES, ROUNDS = 20, 5
WIDTHS = (128, 192, 384)
PRODUCTS, BETWEEN, ELSE = 'products with weights', 'attention between tokens', 'LayerNorm, types, pictures'
NOTHING = profile_step.NOTHING


def part_here(name, names):
  """What one of our operations is counted as; oneDNN adds residuals, and computes GELU, inside the products."""
  module = names.get(name, ('', ''))[1] + '/'
  if 'MultiHead' in module and not re.search(r'(query|key|value|out)/', module):
    return BETWEEN
  return PRODUCTS if profile_step.kind_of(name, names) == 'products' and 'LayerNorm' not in module else ELSE


def part_in_pytorch(name):
  """What one of PyTorch's operations is counted as; GELU is inside the products there too, residuals in LayerNorm."""
  if 'attention' in name:
    return BETWEEN
  return PRODUCTS if re.search('linear|convolution', name) else ELSE


def setting_of(framework, width):
  """The answers of bfloat16 models of six blocks with 64 tokens, in batches of 64, each framework's fastest way."""
  way = 'evaluation' if framework == 'vit_jax' else 'frozen'
  return setting_lib.Setting('predict', 'bfloat16', framework=framework, way=way, width=width, tokens=64, depth=6,
                             batch_size=64)


def ours(width):
  """-> seconds of BATCHES batches without the profiler, with it, and then of each part: {part: seconds}."""
  from vit_jax.benchmarks import ours as works
  work = works.make(setting_of('vit_jax', width))
  names = profile_step.names_of(work.step.as_text())
  alone, wall, found = profile_step.traced(work, BATCHES)
  table = collections.Counter()
  for name, seconds in found.items():
    table[part_here(name, names)] += seconds
  table[NOTHING] = wall - sum(found.values())
  return alone, wall, table


def pytorchs(width):
  """The same of PyTorch."""
  from torch import profiler
  from torch._inductor import config

  from vit_jax.benchmarks import twin
  config.cpp.enable_kernel_profile = True  # Otherwise what the compiler wrote has no names.
  work = twin.make(setting_of('torch', width))
  work.run(3)
  alone = child.timed(work, BATCHES)
  with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as found:
    wall = child.timed(work, BATCHES)
  table = collections.Counter()
  for event in found.key_averages():
    if event.key.startswith(('aten::', 'mkldnn::', 'graph_')):
      table[part_in_pytorch(event.key)] += event.self_cpu_time_total / 1e6
  table[NOTHING] = wall - sum(table.values())
  return alone, wall, table


def main():
  """Profiles both frameworks at each width in turns, prints medians over the rounds and writes all numbers."""
  rows = []
  for number in range(ROUNDS):
    for width in WIDTHS:
      for name, profile in (('vit_jax', ours), ('PyTorch', pytorchs))[::-1 if number % 2 else 1]:
        with futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), initializer=cpu.keep_pages) as pool:
          alone, wall, table = pool.submit(profile, width).result()
        print(f'round {number}, width {width}, {name}: {1e3 * alone / BATCHES:.1f} ms a batch, '
              f'{1e3 * wall / BATCHES:.1f} under the profiler', flush=True)
        rows += [{'round': number, 'width': width, 'framework': name, 'part': part,
                  'ms_a_batch': round(1e3 * seconds / BATCHES, 3)} for part, seconds in table.items()]
  with (profile_step.HERE / 'profile_answers.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
  print('\n| width | part | vit_jax, ms | PyTorch, ms |\n|---|---|---|---|')
  for width, part in itertools.product(WIDTHS, (PRODUCTS, BETWEEN, ELSE, NOTHING)):
    medians = [statistics.median(row['ms_a_batch'] for row in rows
                                 if (row['width'], row['part'], row['framework']) == (width, part, name))
               for name in ('vit_jax', 'PyTorch')]
    print(f'| {width} | {part} | {medians[0]:.1f} | {medians[1]:.1f} |')


if __name__ == '__main__':
  main()
