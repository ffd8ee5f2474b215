"""Draws what augmentation does to pictures: a row for each, eight times the same picture.

    python experiments/augmentations.py experiments/recipe_search/augmentations.jpg

Tiny ImageNet must be on disk, or within reach of TensorFlow Datasets.
"""
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from PIL import ImageDraw

from vit_jax import augment
from vit_jax.data import load

PLAIN = dict(size=64, flip=False, crop_padding=0, crop_scale=1.0, trivial=False, cutmix=0.0)
ROWS = {
    'as it is': {},
    'flip': {'flip': True},
    'crop_padding=4': {'crop_padding': 4},
    'crop_scale=0.35': {'crop_scale': .35},
    'trivial': {'trivial': True},
    'erasing=1': {'erasing': 1.0},
    'cutmix=1': {'cutmix': 1.0},
    'mixup=1': {'mixup': 1.0},
    'all but mixup': {'flip': True, 'crop_scale': .35, 'trivial': True, 'erasing': 1.0, 'cutmix': 1.0},
}
SHOWN, LEFT = 8, 110


def main(path):
  """Writes the sheet."""
  data = load.load('tiny_imagenet', data_dir='', cache_dir=pathlib.Path('~/.cache/vit_jax').expanduser(), classes=(),
                   image_size=64, val_fraction=0.0)
  # A second picture, of which CutMix pastes a box into the first.
  image = data.train.read(np.arange(2))['image']
  sheet = Image.new('RGB', (LEFT + SHOWN * 66, len(ROWS) * 66), 'white')
  for row, (name, options) in enumerate(ROWS.items()):
    ImageDraw.Draw(sheet).text((6, row * 66 + 26), name, fill='black')
    for column in range(SHOWN):
      out, _ = augment.augment(jax.random.key(column), jnp.asarray(image), jnp.eye(2), **PLAIN | options)
      pixels = np.asarray(jnp.round((out[0] + 1) * 127.5)).clip(0, 255).astype(np.uint8)
      sheet.paste(Image.fromarray(pixels), (LEFT + column * 66, row * 66))
  sheet.save(path, quality=88)


if __name__ == '__main__':
  main(*sys.argv[1:])
