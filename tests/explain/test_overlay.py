"""Overlays by their pixels, and the colours against matplotlib's."""
import numpy as np
from PIL import Image
import pytest

from vit_jax.errors import BadInput
from vit_jax.explain import explainer
from vit_jax.explain import overlay


def test_the_colours_are_cividis():
  matplotlib = pytest.importorskip('matplotlib', reason='the oracle is an optional extra')
  values = np.linspace(0, 1, 101)
  expected = 255 * matplotlib.colormaps['cividis'](values)[:, :3]
  assert np.abs(overlay.colours(values) - expected).max() < 14  # Straight lines between ten of its colours.


def test_lightness_rises_with_the_map():
  lightness = overlay.colours(np.linspace(0, 1, 50)) @ (.2126, .7152, .0722)
  assert np.all(np.diff(lightness) > 0), 'without colours, too, high is told from low'


def test_high_is_yellow_low_is_blue_where_the_map_says():
  image = np.full((8, 8, 3), 128, np.uint8)
  values = np.zeros((4, 4))
  values[0, 3] = 5
  got = np.asarray(overlay.overlay(image, values), np.int64)
  assert got.shape == (8, 8, 3)
  assert got[0, 7, 0] > got[0, 7, 2] + 50, 'top right is yellow'
  assert got[7, 0, 2] > got[7, 0, 0] + 20, 'bottom left is blue'
  # At the lowest the layer covers its share of a grey picture.
  low = overlay.OPACITY[0]
  np.testing.assert_allclose(got[7, 0], (1 - low) * 128 + low * overlay.CIVIDIS[0], atol=1)


def test_the_picture_shows_through():
  image = np.zeros((8, 8, 3), np.uint8)
  image[:, 4:] = 255
  got = np.asarray(overlay.overlay(image, np.eye(4)), np.int64)
  assert np.all(got[:, 4:].mean() > got[:, :4].mean() + 70)


def test_an_even_map_shows_nothing_and_large_maps_are_scaled():
  np.testing.assert_array_equal(overlay.scale(np.full((2, 2), .1)), np.zeros((2, 2)))
  np.testing.assert_array_equal(overlay.scale(np.float32(.1) + np.float32([[0, 1e-8]])), np.zeros((1, 2)))
  np.testing.assert_allclose(overlay.scale([[1e-30, 3e-30]]), [[0, 1]])
  np.testing.assert_allclose(overlay.scale([[-2, 0, 2]]), [[0, .5, 1]])


def test_enlarged_smoothly_and_in_place():
  values = np.zeros((4, 4))
  values[1, 2] = 1
  large = overlay.enlarge(values, (32, 32))
  assert np.unravel_index(large.argmax(), (32, 32)) in {(y, x) for y in (11, 12) for x in (19, 20)}
  assert np.abs(np.diff(large, axis=0)).max() < .25 and large.min() >= 0 and large.max() <= 1


def test_a_map_that_is_none():
  with pytest.raises(BadInput, match=r'not of shape \(2, 2\) or with gaps'):
    overlay.overlay(np.zeros((4, 4, 3), np.uint8), np.array([[0, np.nan], [1, 2]]))
  with pytest.raises(BadInput, match=r'not of shape \(4,\)'):
    overlay.overlay(np.zeros((4, 4, 3), np.uint8), np.zeros(4))


def test_a_sheet_has_pictures_in_their_places_and_captions_below():
  red, blue = np.full((4, 4, 3), (255, 0, 0), np.uint8), Image.new('RGB', (4, 4), (0, 0, 255))
  page = np.asarray(overlay.sheet([[(red, 'one'), (blue, 'a caption that is far too long for it')], [(blue, '')]],
                                  side=40, gap=4, text=10))
  assert page.shape == (4 + 2 * (40 + 10 + 8), 4 + 2 * 44, 3)
  assert tuple(page[20, 20]) == (255, 0, 0) and tuple(page[20, 70]) == (0, 0, 255)
  assert tuple(page[4 + 58, 20]) == (0, 0, 255) and tuple(page[4 + 57, 20]) == (255, 255, 255)
  assert tuple(page[4 + 58 + 20, 20]) == (0, 0, 255) and tuple(page[4 + 58 + 20, 70]) == (255, 255, 255)
  under = page[46:60]
  assert under[:, 4:44].min() < 100 and under[:, 48:88].min() < 100 and under[:, 88:].min() == 255


def test_a_sheet_of_explanations():
  images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
  rollout, relevance = np.random.default_rng(1).random((2, 2, 2)), np.random.default_rng(2).random((2, 2, 2, 2))
  look = explainer.Look(np.array([[.2, .8], [.9, .1]]), np.array([[1, 0], [0, 1]]), rollout, relevance)
  page = overlay.explained(images, look, ('cat', 'dog'), labels=[1, 0], side=32)
  assert page.size == (8 + 4 * 40, 8 + 2 * (32 + 13 + 16))
  for row, image in enumerate(images):
    for column, values in enumerate([None, rollout[row], *relevance[row]]):
      left, top = 8 + 40 * column, 8 + 61 * row
      shown = overlay.enlarge_picture(image, 32) if values is None else overlay.overlay(image, values, 32)
      np.testing.assert_array_equal(np.asarray(page.crop((left, top, left + 32, top + 32))), np.asarray(shown))
