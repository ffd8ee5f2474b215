"""Ours and the fastest ways of the others once more, few processes and many short turns: for machines that are loud.

    pip install -e '.[benchmarks,figures]'
    python experiments/benchmark/duel.py results_amx.csv results.csv results_amx_float32.csv

For each piece of work, type and size in those tables the two fastest ways of the others in each of them meet ours. They
keep their memory between turns, and each turn is half a second or one step. Writes duel.csv and duel.png beside this
script, and prints medians. Without a table, it prints and draws what duel.csv has.
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
MOST = 2.5  # on the axis
SIZE = ('work', 'dtype', 'tokens', 'width')


def read(file):
  """The rows of a table beside this script."""
  with (profile_step.HERE / file).open(encoding='utf-8') as opened:
    return list(csv.DictReader(opened))


def by_size(rows):
  """{size: its rows}."""
  found = {}
  for row in rows:
    found.setdefault(tuple(row[key] for key in SIZE), []).append(row)
  return found


def settings_of(files):
  """{size: settings that meet}, ours first."""
  found = {}
  for file in files:
    for size, rows in by_size(read(file)).items():
      met = found.setdefault(size, [setting(size, 'vit_jax', speed.OURS[size[0]][0], True)])
      others = [row for row in rows if row['framework'] != 'vit_jax']
      for row in sorted(others, key=lambda row: -float(row['pictures_per_second'] or 0))[:OTHERS]:
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
  return [dict(zip(SIZE, size, strict=True)) | {'who': name, 'round': number, 'pictures_per_second': round(one, 2)}
          for name, found in speeds.items() for number, one in enumerate(found[1:])]  # The first one brings the memory.


def judged(rows):
  """Rows of one size -> the fastest other, medians of our and of its pictures a second, the ratio in each round."""
  speeds = {}
  for row in rows:
    speeds.setdefault(row['who'], []).append(float(row['pictures_per_second']))
  ours, *others = speeds
  other = max(others, key=lambda name: statistics.median(speeds[name]))
  ratios = [mine / its for mine, its in zip(speeds[ours], speeds[other], strict=True)]
  return other, statistics.median(speeds[ours]), statistics.median(speeds[other]), ratios


def line(size, rows):
  """What is said of a size, in Markdown."""
  other, mine, its, ratios = judged(rows)
  low, middle, high = statistics.quantiles(ratios, n=4)
  other = other.replace(f', {size[1]}', '')
  return f'| {" | ".join(size)} | {mine:,.0f} | {its:,.0f} | {other} | **{middle:.2f}** | {low:.2f} to {high:.2f} |'


def draw(rows, path):
  """A dot for each round's ratio, at the edge where it is beyond, and a bar for their median."""
  from matplotlib import pyplot as plt
  sizes = by_size(rows)
  figure, axis = plt.subplots(figsize=(7, 0.32 * len(sizes) + 1), layout='constrained')
  for place, (size, mine) in enumerate(sizes.items()):
    *_, ratios = judged(mine)
    color = 'tab:blue' if size[0] == 'train' else 'tab:green'
    axis.plot([min(ratio, MOST) for ratio in ratios], [place] * len(ratios), 'o', color=color, alpha=.35,
              markeredgewidth=0)
    axis.plot([statistics.median(ratios)] * 2, [place - .35, place + .35], color=color, linewidth=3)
  axis.axvline(1, color='grey', linewidth=.8)
  names = [f'{work}, {dtype}, {tokens} tokens, width {width}' for work, dtype, tokens, width in sizes]
  axis.set(xlabel='times as fast as the fastest other, in each round', xlim=(0.4, MOST), yticks=range(len(sizes)),
           yticklabels=names)
  axis.invert_yaxis()
  axis.spines[['top', 'right']].set_visible(False)
  figure.savefig(path, dpi=120)


def main():
  """Duels of all sizes."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('results', nargs='*')
  rows = []
  for size, settings in settings_of(parser.parse_args().results).items():
    found = duel(size, settings)
    print(line(size, found), flush=True)
    rows += found
    profile_step.write(profile_step.HERE / 'duel.csv', rows)
  rows = read('duel.csv')
  head = (*SIZE, 'ours', 'the fastest other', 'which', 'ratio', f'quartiles of {ROUNDS} rounds')
  print(f'\n| {" | ".join(head)} |\n{"|---" * len(head)}|')
  print('\n'.join(line(size, mine) for size, mine in by_size(rows).items()))
  draw(rows, profile_step.HERE / 'duel.png')


if __name__ == '__main__':
  main()
