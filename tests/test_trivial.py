"""Each change against Pillow's, which torchvision's TrivialAugmentWide calls."""
import math

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from PIL import ImageEnhance
from PIL import ImageOps
import pytest

from vit_jax import trivial

SIZE = 24
STRENGTHS = (0.0, 0.13, 0.5, 0.97)


@pytest.fixture(scope='module')
def images():
  """Two noisy slopes of light, a dark one and one of a single grey, u8[4,S,S,3]."""
  rng = np.random.default_rng(0)
  y, x = np.mgrid[:SIZE, :SIZE] / SIZE
  base = np.stack([x, y, (x + y) / 2], -1) * 180
  return np.stack([np.clip(base + rng.normal(30, 20, base.shape), 0, 255), np.clip(base[::-1] * rng.random(3), 0, 255),
                   rng.integers(10, 60, base.shape), np.full(base.shape, 77)]).astype(np.uint8)


def pillow(image, name, strength, sign):
  """What torchvision does with Pillow for this name, at a strength in [0,1]."""
  amount = strength * sign
  affine = lambda a, b, c, d, e, f: image.transform(image.size, Image.AFFINE, (a, b, c, d, e, f), Image.NEAREST)
  turn = math.radians(135 * amount)
  def matrix(a, b, d, e):
    # Pillow adds half a pixel to each place before the matrix, and takes the floor after it.
    half = SIZE / 2
    return affine(a, b, half - a * half - b * half, d, e, half - d * half - e * half)
  return {
      'identity': lambda: image,
      'shear_x': lambda: matrix(1, .99 * amount, 0, 1),
      'shear_y': lambda: matrix(1, 0, .99 * amount, 1),
      'translate_x': lambda: affine(1, 0, -int(32 * amount), 0, 1, 0),
      'translate_y': lambda: affine(1, 0, 0, 0, 1, -int(32 * amount)),
      'rotate': lambda: matrix(math.cos(turn), -math.sin(turn), math.sin(turn), math.cos(turn)),
      'brightness': lambda: ImageEnhance.Brightness(image).enhance(1 + .99 * amount),
      'color': lambda: ImageEnhance.Color(image).enhance(1 + .99 * amount),
      'contrast': lambda: ImageEnhance.Contrast(image).enhance(1 + .99 * amount),
      'sharpness': lambda: ImageEnhance.Sharpness(image).enhance(1 + .99 * amount),
      'posterize': lambda: ImageOps.posterize(image, 8 - round(6 * strength)),
      'solarize': lambda: ImageOps.solarize(image, 255 * (1 - strength)),
      'autocontrast': lambda: ImageOps.autocontrast(image),
      'equalize': lambda: ImageOps.equalize(image),
  }[name]()


@pytest.mark.parametrize('sign', [-1.0, 1.0])
@pytest.mark.parametrize('name', trivial.NAMES)
def test_each_change_is_pillows(images, name, sign):
  for strength in STRENGTHS:
    b = len(images)
    found = np.asarray(trivial.change(jnp.asarray(images), jnp.full(b, trivial.NAMES.index(name)),
                                      jnp.full(b, strength), jnp.full(b, sign)))
    assert found.dtype == np.uint8
    expected = np.stack([np.asarray(pillow(Image.fromarray(image), name, strength, sign)) for image in images])
    off = np.abs(found.astype(int) - expected)
    if name in trivial.GEOMETRIC:  # A place on the edge between two pixels may fall to either.
      assert (off.max(axis=(0, 3)) > 0).mean() < .02, (strength, off)
    else:
      assert off.max() <= 1, (strength, off.max())  # Pillow rounds here and there.


@pytest.mark.slow
def test_kinds_do_not_mix(images):
  """All fourteen at once on one picture are the fourteen alone."""
  batch = jnp.asarray(np.repeat(images[:1], len(trivial.NAMES), axis=0))
  names = jnp.arange(len(trivial.NAMES))
  strength, sign = jnp.full(len(names), .6), jnp.ones(len(names))
  together = np.asarray(jax.jit(trivial.change)(batch, names, strength, sign))
  for i in range(len(names)):
    alone = trivial.change(batch[:1], names[i:i + 1], strength[:1], sign[:1])
    assert np.abs(together[i].astype(int) - np.asarray(alone)[0]).max() <= 1
  assert len({picture.tobytes() for picture in together}) == len(names)


def test_changes_strengths_and_directions_are_drawn_evenly(monkeypatch):
  monkeypatch.setattr(trivial, 'change', lambda images, *drawn: drawn)
  name, strength, sign = map(np.asarray, trivial.trivial_augment(jax.random.key(0), jnp.zeros((2000, 1, 1, 3))))
  counts = np.bincount(name, minlength=len(trivial.NAMES))
  assert len(counts) == len(trivial.NAMES) and counts.min() > 100 and counts.max() < 190  # 143 each, ± 11.5.
  assert strength.min() < .01 and strength.max() > .99 and abs(strength.mean() - .5) < .03
  assert set(sign) == {-1, 1} and abs(sign.mean()) < .1


@pytest.mark.slow
def test_the_key_alone_decides(images):
  batch = jnp.asarray(np.repeat(images[:1], 2000, axis=0))
  changed = np.asarray(trivial.trivial_augment(jax.random.key(0), batch))
  same = (changed == images[0]).all(axis=(1, 2, 3)).mean()
  assert 1 / 14 - .03 < same < 1 / 14 + .05  # The identity, and changes by next to nothing.
  again = np.asarray(trivial.trivial_augment(jax.random.key(0), batch))
  np.testing.assert_array_equal(changed, again)
  assert not np.array_equal(changed, np.asarray(trivial.trivial_augment(jax.random.key(1), batch)))
