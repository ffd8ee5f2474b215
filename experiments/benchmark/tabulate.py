"""What `vit_jax.benchmark --what=peers` found, as results.csv, as a table and as a picture.

    python -m vit_jax.benchmark --what=peers --results=peers.json
    python experiments/benchmark/tabulate.py peers.json

Takes several files, of other sizes or types, as if one run had measured all of them.
"""
import argparse
import csv
import json
import pathlib
import statistics

from matplotlib import pyplot as plt

HERE = pathlib.Path(__file__).parent
DIGITS = {'pictures_per_second': 1, 'lowest': 1, 'highest': 1, 'gflops': 1, 'share_of_peak': 3, 'peak_memory_mb': 0,
          'wh_per_1000': 4, 'seconds_until_ready': 1}


def rows_of(file):
  """The contenders of a file of measurements, as rows of results.csv."""
  found = json.loads(pathlib.Path(file).read_text(encoding='utf-8'))
  versions = found['environment']['versions']
  for group in found['groups']:
    for one in group:
      setting = one['setting']
      if setting['work'] == 'product':
        continue
      row = {name: setting[name] for name in ('work', 'width', 'tokens', 'depth', 'batch_size', 'framework', 'way',
                                              'dtype')}
      row['pages_kept'] = setting['keep_pages']
      if one['error']:
        yield row | {'error': one['error']}
        continue
      speeds = [turn['pictures'] / turn['seconds'] for turn in one['turns']]
      numbers = {'pictures_per_second': statistics.median(speeds), 'lowest': min(speeds), 'highest': max(speeds),
                 'gflops': statistics.median(one['flops_per_second']) / 1e9,
                 'share_of_peak': statistics.median(one['peak_share']),
                 'peak_memory_mb': max(turn['peak_memory'] for turn in one['turns']) / 1e6,
                 'seconds_until_ready': one['facts']['seconds_until_ready']}
      if 'wh_per_1000' in one:
        numbers['wh_per_1000'] = statistics.median(one['wh_per_1000'])
      yield row | {name: round(value, DIGITS[name]) for name, value in numbers.items()} | {
          'rounds': len(speeds), 'omp_wait_policy': one['facts'].get('omp_wait_policy') or '',
          'versions': ' '.join(f'{name} {versions[name]}' for name in ('jax', 'torch', 'timm') if name in versions)}


def best(rows, ours):
  """The fastest row of ours, or of the others."""
  return max((row for row in rows if (row['framework'] == 'vit_jax') == ours and 'error' not in row),
             key=lambda row: row['pictures_per_second'])


def name(row):
  """Who a row is, in a few words."""
  return (f'{row["framework"]} {row["way"]}, {row["dtype"]}'
          + (', pages kept' if row['pages_kept'] and row['framework'] != 'vit_jax' else ''))


def groups_of(rows):
  """Rows of the same work and sizes together."""
  groups = {}
  for row in rows:
    groups.setdefault((row['work'], row['tokens'], row['width']), []).append(row)
  return groups


def table(groups):
  """The fastest of ours beside the fastest of the others, in Markdown."""
  lines = ['| | tokens | width | vit_jax, pictures/s | share of peak | fastest other, pictures/s | which | ratio |',
           '|---|---|---|---|---|---|---|---|']
  for (work, tokens, width), rows in groups.items():
    mine, other = best(rows, True), best(rows, False)
    spread = lambda row: f'{row["pictures_per_second"]:,.0f} ({row["lowest"]:,.0f} to {row["highest"]:,.0f})'
    lines.append(f'| {work} | {tokens} | {width} | {spread(mine)} | {mine["share_of_peak"]:.0%} | {spread(other)} | '
                 f'{name(other)} | **{mine["pictures_per_second"] / other["pictures_per_second"]:.2f}** |')
  return '\n'.join(lines)


def draw(groups, path):
  """Speeds relative to the fastest of the others: a dot for each contender."""
  works = list(dict.fromkeys(work for work, _, _ in groups))
  figure, axes = plt.subplots(1, len(works), figsize=(5.2 * len(works), 4), squeeze=False, layout='constrained')
  colors = {'vit_jax': 'tab:blue', 'torch': 'tab:orange', 'timm': 'tab:green'}
  for axis, work in zip(axes[0], works, strict=True):
    mine = {key: rows for key, rows in groups.items() if key[0] == work}
    for place, rows in enumerate(mine.values()):
      reference = best(rows, False)['pictures_per_second']
      for row in (row for row in rows if 'error' not in row):
        axis.plot(row['pictures_per_second'] / reference, place, 'o', color=colors[row['framework']], alpha=.7,
                  markeredgewidth=0)
    axis.axvline(1, color='grey', linewidth=.8)
    axis.set(title=work, xlabel='pictures/s, the fastest other = 1', xlim=(0, None), yticks=range(len(mine)),
             yticklabels=[f'{tokens} tokens, width {width}' for _, tokens, width in mine])
    axis.invert_yaxis()
    axis.spines[['top', 'right']].set_visible(False)
  for framework, color in colors.items():
    axes[0, 0].plot([], [], 'o', color=color, label=framework)
  axes[0, 0].legend(frameon=False, loc='lower left')
  figure.savefig(path, dpi=120)


def main():
  """Writes results.csv and peers.png beside this script, and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('files', nargs='+', help='what --results wrote')
  rows = [row for file in parser.parse_args().files for row in rows_of(file)]
  with (HERE / 'results.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, dict.fromkeys(key for row in rows for key in row), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
  groups = groups_of(rows)
  draw(groups, HERE / 'peers.png')
  print(table(groups))


if __name__ == '__main__':
  main()
