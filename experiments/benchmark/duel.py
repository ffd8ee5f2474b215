"""Ours and the fastest ways of the others once more, few processes and many short turns: for machines that are loud.

    pip install -e '.[benchmarks]'
    python experiments/benchmark/duel.py results_amx.csv results.csv

For each piece of work, type and size in those tables the two fastest ways of the others in each of them meet ours. They
keep their memory between turns, and each turn is half a second or one step. Prints medians, and writes duel.csv beside
this script, after each size.
"""
import argparse
import contextlib
import csv
import math
import statistics

import profile_step

from vit_jax.benchmarks import child
from vit_jax.benchmarks import setting as setting_lib
from vit_jax.benchmarks import speed
from vit_jax.benchmarks import turns

ROUNDS, SECONDS, OTHERS = 15, 0.5, 2
SIZE = ('work', 'dtype', 'tokens', 'width')


def settings_of(files):
  """{size: settings that meet}, ours first."""
  found = {}
  for file in files:
    with (profile_step.HERE / file).open(encoding='utf-8') as opened:
      rows = list(csv.DictReader(opened))
    fastest = sorted(rows, key=lambda row: -float(row['pictures_per_second'] or 0))
    for size in dict.fromkeys(tuple(row[key] for key in SIZE) for row in rows):
      met = found.setdefault(size, [setting(size, 'vit_jax', speed.OURS[size[0]][0], True)])
      others = [row for row in fastest if tuple(row[key] for key in SIZE) == size and row['framework'] != 'vit_jax']
      for row in others[:OTHERS]:
        one = setting(size, row['framework'], row['way'], row['pages_kept'] == 'True')
        met += [one] if one not in met else []
  return found


def setting(size, framework, way, keep_pages):
  """One who does it."""
  work, dtype, tokens, width = size
  return setting_lib.Setting(work, dtype, framework, way, keep_pages, tokens=int(tokens), width=int(width))


def short_turn():
  """Pictures a second, after a step that brings the caches back."""
  work = child._READY['work']
  count = max(math.ceil(SECONDS / child.timed(work, 1)), 1)
  return count * work.pictures / child.timed(work, count)


def duel(size, settings):
  """-> rows of duel.csv."""
  with contextlib.ExitStack() as stack:
    contenders = [stack.enter_context(contextlib.closing(turns.Contender(one))) for one in settings]
    for one in contenders:
      one.start()
    contenders = [one for one in contenders if not one.error]
    speeds = {one.setting.name: [] for one in contenders}
    for number in range(ROUNDS + 1):
      for one in contenders[::-1 if number % 2 else 1]:
        speeds[one.setting.name].append(one.pool.submit(short_turn).result())
  speeds = {name: found[1:] for name, found in speeds.items()}  # The first one brings the memory.
  ours, *others = speeds
  other = max(others, key=lambda name: statistics.median(speeds[name]))
  ratios = [mine / its for mine, its in zip(speeds[ours], speeds[other], strict=True)]
  low, middle, high = statistics.quantiles(ratios, n=4)
  print(f'| {" | ".join(size)} | {statistics.median(speeds[ours]):,.0f} | {statistics.median(speeds[other]):,.0f} | '
        f'{other} | **{middle:.2f}** | {low:.2f} to {high:.2f} |', flush=True)
  return [dict(zip(SIZE, size, strict=True)) | {'who': name, 'round': number, 'pictures_per_second': round(one, 2)}
          for name, found in speeds.items() for number, one in enumerate(found)]


def main():
  """Duels of all sizes."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('results', nargs='+')
  print(f'| {" | ".join(SIZE)} | ours | the fastest other | which | ratio | quartiles of {ROUNDS} rounds |\n'
        f'{"|---" * (len(SIZE) + 5)}|', flush=True)
  rows = []
  for size, settings in settings_of(parser.parse_args().results).items():
    rows += duel(size, settings)
    profile_step.write(profile_step.HERE / 'duel.csv', rows)


if __name__ == '__main__':
  main()
