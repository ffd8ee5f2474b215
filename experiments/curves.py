"""Draws learning curves of runs: accuracy on validation and on the training pictures over the minutes of a run.

    pip install -e '.[figures]'
    python experiments/curves.py experiments/tiny_imagenet/curve runs/tiny_imagenet-seed0 runs/…

writes curve.csv, the numbers, and curve.png, the picture.
"""
import csv
import pathlib
import sys

from matplotlib import pyplot as plt

from vit_jax import run

COLUMNS = ['run', 'step', 'epoch', 'seconds', 'loss', 'accuracy', 'val_accuracy', 'val_accuracy_flip', 'val_loss']


def read(folder):
  """The lines of a run that have a validation, as rows; 'accuracy' is that of the training pictures as augmented."""
  lines = run.RunFolder(folder).metrics()
  return [{'run': pathlib.Path(folder).name} | {name: round(line[name], 4) for name in COLUMNS[1:] if name in line}
          for line in lines if 'val_accuracy' in line]


def main(target, *folders):
  """Writes both files; the colours are told apart by colour-blind eyes too."""
  runs = {pathlib.Path(folder).name: read(folder) for folder in folders}
  with open(f'{target}.csv', 'w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, COLUMNS, lineterminator='\n')
    writer.writeheader()
    writer.writerows(row for rows in runs.values() for row in rows)
  plt.style.use('tableau-colorblind10')
  figure, axes = plt.subplots(figsize=(6.4, 3.6), layout='constrained')
  for name, rows in runs.items():
    minutes = [row['seconds'] / 60 for row in rows]
    line, = axes.plot(minutes, [100 * row['val_accuracy'] for row in rows], 'o-', label=f'{name}, validation')
    axes.plot(minutes, [100 * row['accuracy'] for row in rows], '--', color=line.get_color(),
              label='… training pictures, augmented')
  axes.set(xlabel='minutes', ylabel='accuracy, %', ylim=(0, None), xlim=(0, None))
  axes.grid(alpha=.3)
  axes.legend(frameon=False)
  figure.savefig(f'{target}.png', dpi=120)


if __name__ == '__main__':
  main(*sys.argv[1:])
