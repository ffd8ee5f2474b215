"""Does attention suffice, and at which size of data? A ViT with linear patches, one behind convolutions, and a CNN.

    pip install -e '.[figures]'
    python experiments/data_size/run.py runs/data_size

Each is trained on 500 to 9,500 of CIFAR-10's cats and dogs, all for the same number of floating-point operations, so
that few pictures are seen more often. What is there is not run again; the same line goes on. Writes results.csv and
accuracy.png.
"""
import csv
import json
import pathlib
import subprocess
import sys

from matplotlib import pyplot as plt

from configs import cifar_catdog
from configs import cifar_catdog_paper
from vit_jax.models import flops
from vit_jax.models import variants

HERE = pathlib.Path(__file__).parent
NUM_PICTURES = 10_000
# How many of them are trained on; the rest is held out, but chooses nothing.
SIZES = (500, 1500, 5000, 9500)
# What is trained: recipe, and the variant in place of its own.
MODELS = {
    'ViT, linear patches': (cifar_catdog_paper, ''),
    'ViT behind convolutions': (cifar_catdog, ''),
    'CNN': (cifar_catdog, 'resnet-small'),
}
# Pictures that the ViT behind convolutions is trained on, the same one counted each time.
BUDGET = 150_000
SEEDS = (0,)


def cost(name):
  """FLOP of a forward pass over a picture."""
  module, variant = MODELS[name]
  config = module.get_config()
  sizes = config.model.to_dict()
  own = sizes.pop('variant')
  return flops.flops_per_image(variants.build(variant or own, num_classes=2, **sizes), config.data.image_size)


def train(name, size, seed, folder):
  """One run, or what is left of it: -> its row."""
  module, variant = MODELS[name]
  recipe = module.__name__.rpartition('.')[2]
  workdir = folder / f'{variant or recipe}-{size}-seed{seed}'
  pictures = BUDGET * cost('ViT behind convolutions') / cost(name)
  epochs = pictures / size
  command = [f'--config=configs/{recipe}.py', f'--config.seed={seed}', f'--config.epochs={epochs:.2f}',
             f'--config.eval_epochs={epochs:.2f}', f'--config.optim.warmup_epochs={epochs / 36:.2f}',
             f'--config.data.val_fraction={1 - size / NUM_PICTURES:g}']
  if variant:
    command.append(f'--config.model.variant={variant}')
  subprocess.run([sys.executable, '-m', 'vit_jax.main', *command, f'--workdir={workdir}'], check=True)
  result = json.loads((workdir / 'result.json').read_text())
  return {'model': name, 'pictures': size, 'seed': seed, 'test_accuracy': round(result['test_accuracy'], 4),
          'num_params': result['num_params'], 'mflop_a_picture': round(cost(name) / 1e6, 1), 'epochs': round(epochs, 2),
          'seconds': round(result['seconds'], 1), 'command': f'python -m vit_jax.main {" ".join(command)}'}


def draw(rows, path):
  """Accuracy over the number of pictures, a line for each model."""
  plt.style.use('tableau-colorblind10')
  figure, axes = plt.subplots(figsize=(6.4, 3.6), layout='constrained')
  for name in MODELS:
    points = {}
    for row in rows:
      if row['model'] == name:
        points.setdefault(row['pictures'], []).append(100 * row['test_accuracy'])
    axes.plot(list(points), [sum(values) / len(values) for values in points.values()], 'o-', label=name)
  axes.set(xscale='log', xlabel='pictures to train on', ylabel='test accuracy, %', xticks=SIZES,
           xticklabels=[f'{size:,}' for size in SIZES])
  axes.minorticks_off()
  axes.grid(alpha=.3)
  axes.legend(frameon=False)
  figure.savefig(path, dpi=120)


def main(folder):
  """Trains all that is missing, and writes the table and the figure."""
  rows = [train(name, size, seed, pathlib.Path(folder)) for seed in SEEDS for name in MODELS for size in SIZES]
  with (HERE / 'results.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
  draw(rows, HERE / 'accuracy.png')


if __name__ == '__main__':
  main(*sys.argv[1:])
