"""Corruptions against numpy and scipy, and against their own names."""
import numpy as np
import pytest
from scipy import ndimage

from vit_jax import corruptions

IMAGES = ndimage.gaussian_filter(
    np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)), (0, 2, 2, 0)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize('kind', corruptions.STRENGTHS)
def test_each_strength_is_farther_from_the_picture(kind):
  distances = []
  for strength in corruptions.STRENGTHS[kind]:
    worse = corruptions.corrupt(IMAGES, kind, strength)
    assert worse.shape == IMAGES.shape and worse.dtype == np.uint8
    np.testing.assert_array_equal(worse, corruptions.corrupt(IMAGES, kind, strength))
    # Each picture for itself.
    np.testing.assert_array_equal(worse[2:], corruptions.corrupt(IMAGES[2:], kind, strength))
    distances.append(np.abs(worse.astype(int) - IMAGES).mean())
  assert len(distances) == 3 and 0 < distances[0] < distances[1] < distances[2]


def test_noise_has_the_deviation_that_it_says():
  grey = np.full((1, 200, 200, 3), 128, np.uint8)
  noise = corruptions.corrupt(grey, 'noise', 20)[0].astype(float) - 128
  assert noise.std() == pytest.approx(20, rel=0.02) and abs(noise.mean()) < 0.5


def test_blur_is_a_gaussian_of_that_part_of_the_side():
  blurred = corruptions.corrupt(IMAGES, 'blur', 1 / 32)[0].astype(float)
  want = ndimage.gaussian_filter(IMAGES[0].astype(float), (1, 1, 0), mode='nearest')
  # Pillow's is three boxes in place of the bell.
  assert np.abs(blurred - want).max() < 4


@pytest.mark.parametrize(('kind', 'middle'), [('brightness', lambda image: 0.0),
                                              ('contrast', lambda image: image.astype(float) @ [.299, .587, .114])])
def test_factors_pull_towards_black_or_the_mean_grey(kind, middle):
  found = corruptions.corrupt(IMAGES, kind, 0.4)[0].astype(float)
  centre = np.round(np.mean(middle(IMAGES[0])))
  np.testing.assert_allclose(found, centre + 0.4 * (IMAGES[0] - centre), atol=1.5)
