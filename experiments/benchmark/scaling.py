"""What `vit_jax.benchmark --what=scaling` found, as scaling.csv and as a picture.

    python -m vit_jax.benchmark --what=scaling --rounds=3 --dtypes=bfloat16 --widths=192 --results=scaling.json
    python experiments/benchmark/scaling.py scaling.json
"""
import argparse
import csv
import json
import pathlib
import statistics

from matplotlib import pyplot as plt
from matplotlib import ticker

HERE = pathlib.Path(__file__).parent
AXES = {'batch_size': 'pictures in a batch', 'tokens': 'tokens', 'width': 'width', 'depth': 'blocks'}


def rows_of(group, dtype):
  """The lines of a group, one for each value of the size that it varies, as rows of scaling.csv."""
  axis = next(name for name in AXES if name in group[0])
  mib = lambda count: '' if count is None else round(count / 2**20)
  ms = lambda seconds: round(1e3 * seconds, 1)
  return [{'dtype': dtype, 'varied': axis, 'value': line[axis], 'ms': ms(statistics.median(line['seconds'])),
           'lowest_ms': ms(min(line['seconds'])), 'highest_ms': ms(max(line['seconds'])),
           'theory_gflop': round(line['theory_flops'] / 1e9, 2), 'gflop': round(line['flops'] / 1e9, 2),
           'share_of_peak': round(statistics.median(line['peak_share']), 3),
           'process_mib': mib(line['peak_memory'] - line['base_memory']), 'compiled_mib': mib(line['compiled_memory']),
           'compiled_mib_each_of_8': mib(line['compiled_memory_of_8'])} for line in group]


def draw(groups, path):
  """Time above and memory below, over each of the sizes; the formula is scaled to meet the largest."""
  figure, axes = plt.subplots(2, len(groups), figsize=(3.1 * len(groups), 5.4), layout='constrained', squeeze=False)
  for (time, memory), rows in zip(axes.T, groups, strict=True):
    column = lambda name, rows=rows: [row[name] for row in rows]
    values = column('value')
    time.plot(values, column('ms'), 'o-', label='a step')
    scale = rows[-1]['ms'] / rows[-1]['theory_gflop']
    time.plot(values, [scale * flop for flop in column('theory_gflop')], '--', color='grey',
              label='12·n·d² + 2·n²·d a block')
    memory.plot(values, column('process_mib'), 'o-', label='the process, libraries apart')
    memory.plot(values, column('compiled_mib'), 's-', label='as compiled')
    memory.plot(values, column('compiled_mib_each_of_8'), '^-', label='as compiled, each of 8 devices')
    for axis in (time, memory):
      axis.set(xscale='log', yscale='log', xticks=values, xticklabels=values)
      axis.xaxis.set_minor_locator(ticker.NullLocator())
      axis.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f'{value:,.0f}'))
      axis.grid(alpha=.3)
    memory.set_xlabel(AXES[rows[0]['varied']])
  axes[0, 0].set_ylabel('ms a step')
  axes[1, 0].set_ylabel('MiB')
  axes[0, 0].legend(frameon=False, fontsize=8)
  axes[1, 0].legend(frameon=False, fontsize=8)
  figure.savefig(path, dpi=120)


def main():
  """Writes scaling.csv and scaling.png beside this script, and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('file', help='what --results wrote')
  found = json.loads(pathlib.Path(parser.parse_args().file).read_text(encoding='utf-8'))
  groups = [rows_of(growth, group[0]['setting']['dtype'])
            for growth, group in zip(found['growth'], found['groups'], strict=True)]
  rows = [row for group in groups for row in group]
  with (HERE / 'scaling.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
  draw(groups, HERE / 'scaling.png')
  for row in rows:
    print('| ' + ' | '.join(str(value) for value in row.values()) + ' |')


if __name__ == '__main__':
  main()
