"""Random pictures against every picture that numpy says is possible."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import augment


def random_images(b, h=5, w=4, c=3):
  """Pictures u8[B,H,W,C], no two of which have a crop in common."""
  return np.random.default_rng(0).integers(0, 256, (b, h, w, c), np.uint8)


def crops(image, padding):
  """The (2p+1)^2 crops of one reflect-padded picture, u8[N,H,W,C], row-major by offset."""
  h, w, _ = image.shape
  padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), 'reflect')
  shifts = range(2 * padding + 1)
  return np.stack([padded[y:y + h, x:x + w] for y in shifts for x in shifts])


def which(picture, candidates):
  """The index of the one candidate that equals the picture."""
  found = np.flatnonzero([np.allclose(picture, candidate, atol=1e-6) for candidate in candidates])
  assert len(found) == 1
  return found[0]


def scaled(images):
  """numpy's pictures in [-1,1]."""
  return images / 127.5 - 1


@pytest.mark.parametrize('padding', [1, 2])
def test_crop_is_one_of_all_crops_and_each_offset_occurs(padding):
  images = random_images(400)
  cropped = np.asarray(augment.random_crop(jax.random.key(0), images, padding))
  assert cropped.dtype == np.uint8
  offsets = [which(picture, crops(image, padding))
             for picture, image in zip(cropped, images, strict=True)]
  assert set(offsets) == set(range((2 * padding + 1)**2))


def test_flip_mirrors_about_half():
  images = random_images(600)
  flipped = np.asarray(augment.random_flip(jax.random.key(0), images))
  assert flipped.dtype == np.uint8
  mirrored = [which(picture, [image, image[:, ::-1]])
              for picture, image in zip(flipped, images, strict=True)]
  assert 0.4 < np.mean(mirrored) < 0.6  # The standard deviation is 0.02.


@pytest.mark.parametrize('value, want', [(0, -1), (51, -.6), (127.5, 0), (204, .6), (255, 1)])
def test_normalize_by_hand(value, want):
  images = jnp.full((1, 1, 1, 3), value, jnp.uint8 if value == int(value) else jnp.float32)
  got = augment.normalize(images)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, np.full((1, 1, 1, 3), want), atol=1e-6)


def test_augment_with_nothing_on_only_scales():
  images = random_images(8)
  got = augment.augment(jax.random.key(0), images, flip=False, crop_padding=0)
  np.testing.assert_allclose(got, scaled(images), atol=1e-6)


@pytest.mark.parametrize('flip, padding', [(True, 0), (False, 1), (True, 1)])
def test_augment_makes_each_combination_of_crop_and_flip(flip, padding):
  images = random_images(400)
  got = augment.augment(jax.random.key(0), images, flip=flip, crop_padding=padding)
  seen = set()
  for picture, image in zip(np.asarray(got), images, strict=True):
    candidates = scaled(crops(image, padding))
    if flip:
      candidates = np.concatenate([candidates, candidates[:, :, ::-1]])
    seen.add(which(picture, candidates))
  assert len(seen) == (2 * padding + 1)**2 * (2 if flip else 1)


@pytest.mark.parametrize('flip, padding', [(True, 0), (False, 2)])
def test_the_key_alone_decides(flip, padding):
  images = random_images(16)
  run = lambda seed, f=augment.augment: f(
      jax.random.key(seed), images, flip=flip, crop_padding=padding)
  np.testing.assert_array_equal(run(0), run(0))
  jitted = jax.jit(augment.augment, static_argnames=('flip', 'crop_padding'))
  np.testing.assert_allclose(run(0, jitted), run(0), atol=1e-6)
  assert not np.array_equal(run(0), run(1))
