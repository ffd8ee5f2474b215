"""Shows a model of cats and dogs pictures that are not CIFAR-10's, and writes what it says beside this script.

    pip install -e . scikit-image
    python experiments/fun_pictures/look.py runs/cifar_catdog-seed0

Sheets of pictures with what the answer rests on, and results.csv. Tiny ImageNet must be there for TensorFlow Datasets.
"""
import argparse
import csv
import pathlib

import numpy as np
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont

from vit_jax import metrics
from vit_jax import predictor as predictor_lib
from vit_jax.data import load
from vit_jax.data import picture
from vit_jax.explain import explained
from vit_jax.explain import overlay

HERE = pathlib.Path(__file__).parent
CATS = ('tabby', 'Persian cat', 'Egyptian cat')
DOGS = ('Chihuahua', 'Yorkshire terrier', 'golden retriever', 'Labrador retriever', 'German shepherd',
        'standard poodle')
OTHERS = ('lion', 'brown bear', 'koala', 'guinea pig', 'king penguin', 'goldfish', 'school bus', 'espresso')


def tiny_imagenet(names, size):
  """The official validation pictures of some classes of Tiny ImageNet: -> (u8[N,S,S,3], the class of each, by name)."""
  data = load.load('tiny_imagenet', data_dir='', cache_dir=pathlib.Path('~/.cache/vit_jax').expanduser(), classes=names,
                   image_size=64, val_fraction=0.0)
  found = data.test.read(np.arange(len(data.test)))
  images = [picture.fit(Image.fromarray(image), size) for image in found['image']]
  return np.stack([np.asarray(image) for image in images]), [names[label] for label in found['label']]


def shipped(size):
  """Photographs that scikit-image and scikit-learn carry: -> [(name, u8[S,S,3])]."""
  from skimage import data
  from sklearn import datasets

  palace, dahlia = datasets.load_sample_images().images
  found = {'a cat (Chelsea)': data.cat(), 'an astronaut': data.astronaut(), 'coffee': data.coffee(),
           'a rocket': data.rocket(), 'a camera man': data.camera(), 'a palace': palace, 'a dahlia': dahlia}
  return [(name, np.asarray(picture.fit(picture.to_rgb(Image.fromarray(image)), size)))
          for name, image in found.items()]


def drawn(size):
  """Drawings, made large and then small: -> [(name, u8[S,S,3])]."""
  def face(ears, snout):
    image = Image.new('RGB', (256, 256), '#cfe3f5')
    pen = ImageDraw.Draw(image)
    for points in ears:
      pen.polygon(points, '#a8682f')
    pen.ellipse((48, 56, 208, 220), '#c98542')
    for x in (92, 164):
      pen.ellipse((x - 13, 110, x + 13, 136), 'white')
      pen.ellipse((x - 6, 117, x + 6, 131), 'black')
    snout(pen)
    return image

  def cat(pen):
    pen.polygon([(118, 152), (138, 152), (128, 164)], '#e08a8a')
    for side in (-1, 1):
      for slope in (-8, 2, 12):
        pen.line([(128 + side * 18, 168), (128 + side * 84, 164 + slope)], 'black', 2)

  def dog(pen):
    pen.ellipse((96, 140, 160, 204), '#ecd2b0')
    pen.ellipse((114, 144, 142, 164), 'black')
    pen.rounded_rectangle((118, 184, 138, 216), 8, '#e08a8a')

  def word(text):
    image = Image.new('RGB', (256, 256), 'white')
    ImageDraw.Draw(image).text((128, 128), text, 'black', ImageFont.load_default(110), anchor='mm')
    return image

  rng = np.random.default_rng(0)
  board = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((32, 32)))
  found = {
      'a drawn cat': face([[(56, 110), (66, 22), (126, 74)], [(200, 110), (190, 22), (130, 74)]], cat),
      'a drawn dog': face([[(70, 80), (24, 96), (34, 190), (66, 170)],
                           [(186, 80), (232, 96), (222, 190), (190, 170)]], dog),
      'the word CAT': word('CAT'), 'the word DOG': word('DOG'),
      'a chess board': Image.fromarray(np.uint8(255 * board)).convert('RGB'),
      'nothing': Image.new('RGB', (256, 256), '#808080'),
      'noise': Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)),
  }
  return [(name, np.asarray(picture.fit(image, size))) for name, image in found.items()]


def explain(predictor, named):
  """A sheet of pictures over what their answers rest on, and a row of the table for each."""
  images = np.stack([image for _, image in named])
  answers = predictor.answer(images)
  sheets = explained.Sheets(predictor, HERE, 'occlusion')
  above, below, rows = [], [], []
  for (name, image), probabilities, known in zip(named, answers.probabilities, answers.known, strict=True):
    label = int(probabilities.argmax())
    said = f'{predictor.class_names[label]} {probabilities[label]:.0%}'
    above.append((image, name))
    below.append((overlay.overlay(image, sheets.map(image, label, probabilities[label]), 128),
                  said if known else f'none? {said}'))
    rows.append([name, 1, predictor.class_names[label], f'{probabilities[label]:.3f}', int(not known)])
  return overlay.sheet([above, below]), rows


def by_class(predictor, images, names):
  """A row for each class of pictures: their number, the share that is called a cat, and the share called unknown."""
  answers = predictor.answer(images)
  cat = answers.probabilities.argmax(-1) == predictor.class_names.index('cat')
  for name in sorted(set(names), key=(CATS + DOGS + OTHERS).index):
    mine = np.array(names) == name
    yield [name, int(mine.sum()), 'cat', f'{cat[mine].mean():.3f}', f'{(~answers.known[mine]).mean():.3f}']


def surest(predictor, images, names, right, count):
  """The surest right or wrong answers on pictures of cats and dogs: -> [(name, picture)]."""
  probabilities = predictor.answer(images).probabilities
  truth = np.array([predictor.class_names.index('cat' if name in CATS else 'dog') for name in names])
  of_truth = probabilities[np.arange(len(truth)), truth]
  order = np.argsort(-of_truth if right else of_truth, kind='stable')[:count]
  return [(names[i], images[i]) for i in order]


def main():
  """Looks at everything."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('run', help='a run on the classes cat and dog')
  predictor = predictor_lib.Predictor.load(parser.parse_args().run)
  size = predictor.image_size
  images, names = tiny_imagenet(CATS + DOGS, size)
  others, other_names = tiny_imagenet(OTHERS, size)
  rows = [*by_class(predictor, images, names), *by_class(predictor, others, other_names)]
  truth = np.isin(names, CATS)
  cat = predictor.answer(images).probabilities.argmax(-1) == predictor.class_names.index('cat')
  low, high = metrics.interval((cat == truth).sum(), len(truth))
  print(f'Tiny ImageNet, cats against dogs: {(cat == truth).mean():.1%} of {len(truth)} right, '
        f'between {low:.1%} and {high:.1%} with 95 % confidence')
  one_each = [other_names.index(name) for name in OTHERS]
  for file, named in [('photographs', shipped(size)), ('drawings', drawn(size)),
                      ('tiny_imagenet_right', surest(predictor, images, names, True, 7)),
                      ('tiny_imagenet_wrong', surest(predictor, images, names, False, 7)),
                      ('others', [(OTHERS[i], others[j]) for i, j in enumerate(one_each)])]:
    sheet, more = explain(predictor, named)
    sheet.convert('RGB').save(HERE / f'{file}.jpg', quality=88)
    rows += more if file in ('photographs', 'drawings') else []
  with (HERE / 'results.csv').open('w', newline='', encoding='utf-8') as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(['pictures', 'count', 'answer', 'probability_or_share', 'called_unknown'])
    writer.writerows(rows)


if __name__ == '__main__':
  main()
