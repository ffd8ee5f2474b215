"""Counts the duplicates, wrong labels and leaks of three data sets, and draws some of them.

    python experiments/data_report/report.py

Writes results.csv and a sheet of pairs for each set beside this file. CIFAR-10 and Tiny ImageNet must be on disk,
or within reach of TensorFlow Datasets.
"""
import csv
import pathlib
import time

import numpy as np
from PIL import Image

from vit_jax import quiet
from vit_jax.data import duplicates
from vit_jax.data import inspect
from vit_jax.data import load

HERE = pathlib.Path(__file__).parent
CACHE = pathlib.Path('~/.cache/vit_jax').expanduser()
# name -> (what `load` is given; the findings whose pairs are drawn)
SETS = {
    'cifar10_catdog': (dict(name='cifar10', classes=('cat', 'dog'), image_size=32, val_fraction=0.05), 'leaks'),
    'cifar10': (dict(name='cifar10', classes=(), image_size=32, val_fraction=0.0), 'leaks'),
    'tiny_imagenet': (dict(name='tiny_imagenet', classes=(), image_size=64, val_fraction=0.0), 'labels'),
}


def count(name, found, seconds):
  """An Inspection as a row of results.csv."""
  size = lambda part: int(np.sum(found.part == found.parts.index(part)))
  test = found.part == found.parts.index('test')
  leaked = np.isin(found.group[test], found.group[~test])
  equal = np.isin(found.twin[test], found.twin[~test])
  groups = inspect.together(found.group)
  labels = [len(set(found.labels[list(group)].tolist())) > 1 for group in groups]
  return {'set': name, 'train': len(found.labels) - size('test'), 'test': size('test'),
          'groups': len(groups), 'largest_group': max(map(len, groups), default=0),
          'repeats': len(found.group) - len(np.unique(found.group)),
          'repeats_equal_pixels': len(found.twin) - len(np.unique(found.twin)),
          'groups_with_two_labels': sum(labels), 'test_leaked': int(leaked.sum()),
          'test_leaked_percent': round(100 * leaked.mean(), 2), 'test_leaked_equal_pixels': int(equal.sum()),
          'test_mirrored_in_train': mirrored(found), 'seconds': round(seconds)}


def mirrored(found):
  """How many test pictures are mirror images of one in another part, and not in it as they are."""
  test = np.flatnonzero(found.part == found.parts.index('test'))
  rest = np.flatnonzero(found.part != found.parts.index('test'))
  both = np.concatenate([found.pictures[rest], found.pictures[test][:, :, ::-1]])
  group = duplicates.groups(len(both), duplicates.near_duplicates(both, duplicates.perceptual_hashes(both)))
  flipped = np.isin(group[len(rest):], group[:len(rest)])
  return int(np.sum(flipped & ~np.isin(found.group[test], found.group[rest])))


def draw(found, kind, path, *, columns=6, rows=6, side=64, gap=8):
  """Writes a sheet of pairs, evenly taken from all findings of a kind."""
  groups = [group for finding in found.findings if finding.kind == kind for group in finding.groups]
  chosen = [groups[i] for i in np.unique(np.linspace(0, len(groups) - 1, columns * rows).astype(int))]
  sheet = Image.new('RGB', (columns * (2 * side + gap) - gap, -(-len(chosen) // columns) * (side + gap) - gap), 'white')
  for place, group in enumerate(chosen):
    down, across = divmod(place, columns)
    for step, i in enumerate(group[:2]):
      picture = Image.fromarray(found.pictures[i]).resize((side, side), Image.Resampling.BICUBIC)
      sheet.paste(picture, (across * (2 * side + gap) + step * side, down * (side + gap)))
  sheet.save(path, quality=80)


def main():
  """All sets, one after the other."""
  quiet.silence()
  rows = []
  for name, (options, kind) in SETS.items():
    data = load.load(data_dir='', cache_dir=CACHE, **options)
    started = time.monotonic()
    found = inspect.inspect(data)
    seconds = time.monotonic() - started
    print(name, *(finding.text for finding in found.findings), sep='\n  ')
    rows.append(count(name, found, seconds))
    draw(found, kind, HERE / f'{name}.jpg')
  with open(HERE / 'results.csv', 'w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


if __name__ == '__main__':
  main()
