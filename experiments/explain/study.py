"""What a run looks at, drawn, and whether the maps point at its evidence, measured on its test pictures.

    pip install -e '.[figures]'
    python experiments/explain/study.py runs/cifar_catdog-seed0 experiments/explain/cifar_catdog

writes OUT_maps.jpg, OUT_figure_7.png, OUT_heads.png, OUT_curves.png, and OUT.csv with the numbers.
"""
import csv
import dataclasses
import io
import itertools
import pathlib
import sys

import numpy as np
from PIL import Image

from vit_jax import run
from vit_jax.data import load
from vit_jax.explain import explainer
from vit_jax.explain import faithfulness
from vit_jax.explain import figures
from vit_jax.explain import heads
from vit_jax.explain import overlay

PICTURES = 200  # measured
STEPS, RANDOM = 8, 3  # of each curve, and random maps for each picture
SHOWN = 6  # on the sheet of maps, every second one a mistake where there are enough
CACHE = pathlib.Path('~/.cache/vit_jax').expanduser()


def test_pictures(path):
  """PICTURES of a run's test part, evenly spaced: -> (u8[N,S,S,3], labels i32[N])."""
  config = run.RunFolder(path).config().data.to_dict()
  folder = config.pop('dir')
  test = load.load(**config, data_dir=folder, cache_dir=CACHE).test
  batch = test.read(np.unique(np.linspace(0, len(test) - 1, PICTURES).astype(int)))
  return batch['image'], batch['label']


def compare(seer, images, classes, look):
  """All maps against chance, and two against the centre: -> (rows of OUT.csv, curves of `faithfulness.measure`)."""
  maps = {'rollout': look.rollout, 'relevance': look.relevance[:, 0],
          'last layer': seer.head_maps(images)[:, -1].mean(axis=1),
          'centre': faithfulness.centre_maps(look.rollout.shape),
          'occlusion': faithfulness.occlusion_maps(seer.probabilities, images, classes, seer.cells)}
  found, curves = faithfulness.measure(seer.probabilities, images, maps, classes, steps=STEPS, num_random=RANDOM)
  rows = [dict(map=name, measure=kind, against='chance') | dataclasses.asdict(one)
          for (name, kind), one in found.items()]
  for kind, (_, sign) in faithfulness.MEASURES.items():
    area = lambda name: faithfulness.areas(curves[name, kind])  # noqa: B023
    rows += [dict(map=name, measure=kind, against='centre')
             | dataclasses.asdict(faithfulness.compare(area(name), area('centre'), sign))
             for name in ('rollout', 'relevance')]
  return rows, curves


def write(rows, path):
  """The rows as a csv file, numbers to four digits."""
  with open(path, 'w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows({name: f'{value:.4g}' if isinstance(value, float) else value for name, value in row.items()}
                     for row in rows)


def draw_curves(curves):
  """The mean probability as patches go and come: -> matplotlib Figure."""
  styles = {'rollout': ('tab:blue', '-'), 'relevance': ('tab:orange', '-'), 'centre': ('black', ':'),
            'occlusion': ('tab:gray', '--'), 'chance': ('black', '-')}
  titles = {'deletion': 'Deletion: to grey, lower is better', 'insertion': 'Insertion: from blurred, higher is better'}
  whole = figures.figure(figsize=(8.5, 3.4))
  for ax, (kind, title) in zip(whole.subplots(1, 2, sharey=True), titles.items(), strict=True):
    for name, (color, line) in styles.items():
      curve = curves[name, kind].mean(axis=0)
      ax.plot(np.linspace(0, 100, len(curve)), 100 * curve, line, color=color, label=name)
    ax.set(xlabel='patches replaced, %', title=title)
    ax.grid(alpha=.3)
  whole.axes[0].set_ylabel('probability of the answer, %')
  whole.axes[1].legend(frameon=False)
  return whole


def save(figure, path, dpi):
  """A matplotlib Figure as a small PNG, of 256 colours."""
  file = io.BytesIO()
  figure.savefig(file, format='png', dpi=dpi)
  Image.open(file).convert('RGB').quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main(path, out):
  """Everything for one run."""
  seer = explainer.Explainer.load(path)
  images, labels = test_pictures(path)
  look = seer.look(images)
  classes = look.classes[:, 0]
  print(f'{pathlib.Path(path).name}: {len(images)} test pictures, {(classes == labels).mean():.1%} right')
  right, wrong = np.flatnonzero(classes == labels), np.flatnonzero(classes != labels)
  pairs = itertools.zip_longest(right[:SHOWN // 2], wrong[:SHOWN // 2])
  shown = np.array([index for pair in pairs for index in pair if index is not None])
  part = dataclasses.replace(look, **{field.name: getattr(look, field.name)[shown] for field in
                                      dataclasses.fields(look)})
  overlay.explained(images[shown], part, seer.class_names, labels=labels[shown], side=96).save(
      f'{out}_maps.jpg', quality=75)
  mean = seer.mean_attention(images)
  save(figures.figure_7(seer, mean), f'{out}_figure_7.png', dpi=75)
  save(figures.figure_heads(mean, seer.cells), f'{out}_heads.png', dpi=70)
  print(heads.table(heads.classify(mean, seer.cells)))
  print('distance, pixels:', np.round(seer.distances(mean), 1).tolist(),
        'even:', round(figures.even_distance(seer.model, seer.cells), 1))
  rows, curves = compare(seer, images, classes, look)
  for row in rows:
    print(f'{row["map"]:10}  {row["measure"]:9}  {row["area"]:.3f} against {row["against"]} {row["reference"]:.3f}: '
          f'{row["gain"]:+.4f} ± {row["standard_error"]:.4f}, better in {row["better"]:.0%}, p = {row["p_value"]:.1e}')
  write(rows, f'{out}.csv')
  save(draw_curves(curves), f'{out}_curves.png', dpi=75)


if __name__ == '__main__':
  main(*sys.argv[1:])
