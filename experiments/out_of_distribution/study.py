"""How many pictures of other things a cats-and-dogs model takes for cats and dogs, by several scores.

    python -m vit_jax.main --evaluate --workdir=runs/cifar_catdog-seed0
    python experiments/out_of_distribution/study.py runs/cifar_catdog-seed0 …

writes results.csv beside this file: a row for each run, score and kind of pictures.
"""
import csv
import functools
import pathlib
import sys

import jax
import numpy as np
from PIL import Image
from scipy import special
from sklearn import metrics

from vit_jax import answerer
from vit_jax import calibration
from vit_jax import predictor
from vit_jax import run
from vit_jax.data import load
from vit_jax.models import features

CACHE = pathlib.Path('~/.cache/vit_jax').expanduser()
SIZE = 32
MOST = 2_000  # of each kind, evenly spaced
MADE = 500  # where they are made up
NEIGHBOURS = 10
# The cats and dogs of Tiny ImageNet: of the classes, and of another source.
PETS = ('Chihuahua', 'Yorkshire terrier', 'golden retriever', 'Labrador retriever', 'German shepherd',
        'standard poodle', 'tabby', 'Persian cat', 'Egyptian cat')
OTHERS = ('airplane', 'automobile', 'bird', 'deer', 'frog', 'horse', 'ship', 'truck')


def spaced(source, most=MOST):
  """So many pictures of a data.source.Source, evenly spaced."""
  return source.read(np.unique(np.linspace(0, len(source) - 1, most).astype(int)))['image']


def resized(images):
  """Pictures u8[N,S,S,3] at the model's size."""
  small = lambda image: Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
  return np.stack([np.asarray(small(image)) for image in images])


def test_part(name, image_size, classes=()):
  """The test part of a data set: -> data.source.DataSet's, and the names of its classes."""
  data = load.load(name, data_dir='', cache_dir=CACHE, classes=classes, image_size=image_size, val_fraction=0.0)
  return data.test, data.class_names


def strangers():
  """The kinds of pictures that no run was trained on: {name: u8[N,32,32,3]}."""
  tiny, names = test_part('tiny_imagenet', 64)
  of_pets = np.isin(tiny.labels, [names.index(pet) for pet in PETS])
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (MADE, SIZE, SIZE, 3), np.uint8)
  return {
      'CIFAR-10, other classes': spaced(test_part('cifar10', SIZE, OTHERS)[0]),
      'Tiny ImageNet, other classes': resized(spaced(tiny.take(np.flatnonzero(~of_pets)))),
      'Tiny ImageNet, cats and dogs': resized(spaced(tiny.take(np.flatnonzero(of_pets)))),
      'digits': resized(spaced(test_part('digits', 8)[0])),
      'noise': noise,
      'one colour': np.broadcast_to(rng.integers(0, 256, (MADE, 1, 1, 3), np.uint8), noise.shape),
  }


def scores(seen, opened, head):
  """Higher for what is less like the training: features and logits -> {name: f64[N]}."""
  found, logits = seen
  sure = opened.calibration
  return {
      'ours': sure.distances(found),
      "Mahalanobis, head's features": head.distances(found[:, :sure.features.shape[1]]),
      'neighbours': sure.nearest(found, NEIGHBOURS)[1][:, -1],
      'energy': -special.logsumexp(logits, axis=-1),
      'highest probability': -special.softmax(logits, axis=-1).max(axis=-1),
  }


def measure(path, kinds):
  """The rows of one run."""
  asked = predictor.Predictor.load(path, CACHE)
  opened = asked.opened
  step = jax.jit(functools.partial(features.features_and_logits, opened.model))
  see = lambda images: answerer.in_batches(250, functools.partial(step, opened.params), images)
  config = run.RunFolder(path).config().data.to_dict()
  folder = config.pop('dir')
  data = load.load(**config, data_dir=folder, cache_dir=CACHE)
  train = data.train.take(opened.calibration.positions)
  width = opened.calibration.features.shape[1]
  of_train = see(train.read(np.arange(len(train)))['image'])[0][:, :width]
  head = calibration.Calibration(**dict(zip(calibration.GAUSSIAN, calibration.gaussian(of_train, train.labels),
                                            strict=True)))
  score = lambda images: scores(see(images), opened, head)
  held_out, test = score(spaced(data.validation)), score(spaced(data.test))
  rows = []
  for kind, images in {'test part': None, **kinds}.items():
    for name, values in (score(images) if images is not None else test).items():
      truth = np.repeat([0, 1], [len(test[name]), len(values)])
      rows.append({
          'run': pathlib.Path(path).name, 'pictures': kind, 'count': len(values), 'score': name,
          'flagged': round((values > np.quantile(held_out[name], 1 - calibration.UNKNOWN)).mean(), 4),
          'auroc': round(metrics.roc_auc_score(truth, np.concatenate([test[name], values])), 4)})
  return rows


def main(*paths):
  """All runs, into results.csv."""
  kinds, rows = strangers(), []
  for path in paths:
    rows += measure(path, kinds)
    for row in rows[-35:]:
      print(*row.values(), sep='  ', flush=True)
  with open(pathlib.Path(__file__).parent / 'results.csv', 'w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


if __name__ == '__main__':
  main(*sys.argv[1:])
