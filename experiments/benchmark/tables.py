"""What `vit_jax.benchmark --what=peers` found, as results.csv, as a table and as a picture.

    python -m vit_jax.benchmark --what=peers --results=peers.json
    python experiments/benchmark/tables.py peers.json

Takes several files, of other sizes or types, as if one run had measured all of them. With `--csv=results_amx.csv`,
for another machine, that is what it writes, and no picture.
"""
import argparse
import csv
import json
import pathlib
import statistics

from matplotlib import pyplot as plt

from vit_jax.benchmarks import turns

HERE = pathlib.Path(__file__).parent
DIGITS = {'pictures_per_second': 1, 'lowest': 1, 'highest': 1, 'gflops': 1, 'share_of_peak': 3, 'peak_memory_mb': 0,
          'wh_per_1000': 4, 'seconds_until_ready': 1}


def contenders(group):
  """Those of a group that trained or answered, and did not fail."""
  return [one for one in group if one['setting']['work'] != 'product' and not one['error']]


def row(one, versions):
  """A contender as a row of results.csv."""
  setting = one['setting']
  found = {name: setting[name] for name in ('work', 'width', 'tokens', 'depth', 'batch_size', 'framework', 'way',
                                            'dtype')}
  found['pages_kept'] = setting['keep_pages']
  if one['error']:
    return found | {'error': one['error']}
  speeds = turns.per_turn(one, turns.pictures_per_second)
  numbers = {'pictures_per_second': turns.speed(one), 'lowest': min(speeds), 'highest': max(speeds),
             'gflops': statistics.median(one['flops_per_second']) / 1e9,
             'share_of_peak': statistics.median(one['peak_share']),
             'peak_memory_mb': max(turn['peak_memory'] for turn in one['turns']) / 1e6,
             'seconds_until_ready': one['facts']['seconds_until_ready']}
  if 'wh_per_1000' in one:
    numbers['wh_per_1000'] = statistics.median(one['wh_per_1000'])
  return found | {name: round(value, DIGITS[name]) for name, value in numbers.items()} | {
      'rounds': len(speeds), 'omp_wait_policy': one['facts'].get('omp_wait_policy') or '',
      'versions': ' '.join(f'{name} {versions[name]}' for name in ('jax', 'torch', 'timm') if name in versions)}


def best(group, ours):
  """The fastest contender of ours, or of the others."""
  return max((one for one in contenders(group) if (one['setting']['framework'] == 'vit_jax') == ours), key=turns.speed)


def table(groups):
  """The fastest of ours beside the fastest of the others, in Markdown."""
  lines = ['| | type | tokens | width | vit_jax, pictures/s | share of peak | fastest other, pictures/s | which '
           '| ratio |', '|---|---|---|---|---|---|---|---|---|']
  spread = lambda one: turns.spread(turns.per_turn(one, turns.pictures_per_second), '{:,.0f}')
  for group in groups:
    mine, other = best(group, True), best(group, False)
    setting = mine['setting']
    lines.append(f'| {setting["work"]} | {setting["dtype"]} | {setting["tokens"]} | {setting["width"]} '
                 f'| {spread(mine)} | {statistics.median(mine["peak_share"]):.0%} | {spread(other)} | '
                 f'{other["name"].replace(", " + setting["dtype"], "")} | '
                 f'**{turns.speed(mine) / turns.speed(other):.2f}** |')
  return '\n'.join(lines)


def draw(groups, path):
  """Speeds relative to the fastest of the others: a dot for each contender."""
  by_work = {}
  for group in groups:
    by_work.setdefault(contenders(group)[0]['setting']['work'], []).append(group)
  figure, axes = plt.subplots(1, len(by_work), figsize=(5.2 * len(by_work), 4), squeeze=False, layout='constrained')
  colors = {'vit_jax': 'tab:blue', 'torch': 'tab:orange', 'timm': 'tab:green'}
  for axis, (work, mine) in zip(axes[0], by_work.items(), strict=True):
    for place, group in enumerate(mine):
      reference = turns.speed(best(group, False))
      for one in contenders(group):
        axis.plot(turns.speed(one) / reference, place, 'o', color=colors[one['setting']['framework']], alpha=.7,
                  markeredgewidth=0)
    settings = [contenders(group)[0]['setting'] for group in mine]
    axis.axvline(1, color='grey', linewidth=.8)
    axis.set(title=work, xlabel='pictures/s, the fastest other = 1', xlim=(0, None), yticks=range(len(mine)),
             yticklabels=[f'{setting["dtype"]}, {setting["tokens"]} tokens, width {setting["width"]}'
                          for setting in settings])
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
  parser.add_argument('--csv', default='results.csv', help='the name of the table beside this script')
  args = parser.parse_args()
  measured = [json.loads(pathlib.Path(file).read_text(encoding='utf-8')) for file in args.files]
  place = lambda setting: (setting['dtype'], setting['work'] == 'predict', setting['tokens'], setting['width'])
  found = sorted(((group, one['environment']['versions']) for one in measured for group in one['groups']),
                 key=lambda item: place(contenders(item[0])[0]['setting']))
  groups = [group for group, _ in found]
  rows = [row(one, versions) for group, versions in found for one in group if one['setting']['work'] != 'product']
  with (HERE / args.csv).open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, dict.fromkeys(key for row in rows for key in row), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
  if args.csv == 'results.csv':
    draw(groups, HERE / 'peers.png')
  print(table(groups))


if __name__ == '__main__':
  main()
