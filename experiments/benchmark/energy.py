"""What `vit_jax.benchmark --config=…` found of electricity, as energy.csv and a table.

    pip install -e '.[energy]'
    python -m vit_jax.benchmark --what=train --config=configs/cifar10.py --dtypes=bfloat16 --results=train.json
    python -m vit_jax.benchmark --what=predict --config=configs/cifar10.py --dtypes=bfloat16 --results=predict.json
    python experiments/benchmark/energy.py train.json predict.json …
"""
import csv
import json
import pathlib
import statistics
import sys

from vit_jax.benchmarks import turns


def row(found):
  """A file as a row: how fast, and Wh for 1,000 pictures and for a whole training, validations apart."""
  (one,) = (one for one in found['groups'][0] if one['setting']['work'] != 'product')
  speeds, wh = turns.per_turn(one, turns.pictures_per_second), statistics.median(one['wh_per_1000'])
  trained = wh * one['facts']['total_steps'] * one['facts']['pictures'] / 1000
  return {'recipe': found['recipe'], 'work': found['what'], 'dtype': one['setting']['dtype'],
          'pictures_per_second': round(turns.speed(one), 1), 'lowest': round(min(speeds), 1),
          'highest': round(max(speeds), 1), 'share_of_peak': round(statistics.median(one['peak_share']), 3),
          'wh_per_1000': round(wh, 5), 'wh_a_training': round(trained, 2) if found['what'] == 'train' else ''}


def main(*files):
  """Writes energy.csv beside this script, and prints it as a table."""
  rows = [row(json.loads(pathlib.Path(file).read_text(encoding='utf-8'))) for file in files]
  with pathlib.Path(__file__).with_name('energy.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
  for found in rows:
    print('| ' + ' | '.join(map(str, found.values())) + ' |')


if __name__ == '__main__':
  main(*sys.argv[1:])
