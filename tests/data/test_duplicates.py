"""Duplicates: pictures planted by other programs' hands are found, strangers are not; brute force is the oracle."""
import io
import tracemalloc

import imagehash
import numpy as np
from PIL import Image
from PIL import ImageEnhance
import pytest
from sklearn import datasets

from vit_jax.data import duplicates

SIZE = 64


def photo(seed, size=SIZE):
  """Something like a photo, u8[S,S,3]: a slope of light, and blobs and edges of all sizes in all colours."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:size, :size] / size
  image = np.full((size, size, 3), rng.uniform(60, 190, 3)) + (30 * y * rng.uniform(-1, 1))[..., None]
  for _ in range(12):
    (top, left), radius = rng.uniform(0, 1, 2), rng.uniform(.05, .3)
    image[(y - top)**2 + (x - left)**2 < radius**2] = rng.uniform(0, 255, 3)
  grain = Image.fromarray(rng.integers(0, 256, (size // 4, size // 4), np.uint8)).resize((size, size), Image.BICUBIC)
  image += (np.asarray(grain, np.float32)[..., None] - 128) / 4
  return np.clip(image, 0, 255).astype(np.uint8)


def as_jpeg(image):
  """Through a JPEG file of middling quality."""
  file = io.BytesIO()
  Image.fromarray(image).save(file, 'JPEG', quality=60)
  return np.asarray(Image.open(file))


PLANTS = {
    'equal': lambda image: image.copy(),
    'another JPEG': as_jpeg,
    'brighter': lambda image: np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(1.15)),
    'less contrast': lambda image: np.asarray(ImageEnhance.Contrast(Image.fromarray(image)).enhance(.8)),
    'right by a pixel': lambda image: np.pad(image, ((0, 0), (1, 0), (0, 0)), 'edge')[:, :-1],
    'up by a pixel': lambda image: np.pad(image, ((0, 1), (0, 0), (0, 0)), 'edge')[1:],
    'smaller and back': lambda image: np.asarray(Image.fromarray(image).resize((40, 40)).resize(image.shape[:2])),
}


def find(images):
  images = np.asarray(images)
  return [tuple(pair) for pair in duplicates.near_duplicates(images, duplicates.perceptual_hashes(images)).tolist()]


@pytest.mark.parametrize('size', [32, 64, 96])
@pytest.mark.parametrize('plant', PLANTS)
def test_planted_duplicates_are_found_among_others(plant, size):
  images = [photo(seed, size) for seed in range(20)]
  planted = [PLANTS[plant](images[i]) for i in (3, 11, 17)]
  assert find([*images, *planted]) == [(3, 20), (11, 21), (17, 22)]


def test_strangers_are_not_found():
  noise = np.random.default_rng(0).integers(0, 256, (50, SIZE, SIZE, 3), np.uint8)
  assert find([photo(seed) for seed in range(100)]) == []
  assert find(noise) == []


def test_strangers_with_close_hashes_are_told_apart_by_their_pixels():
  images = np.array([photo(seed) for seed in range(20)] + [as_jpeg(photo(7))])
  pairs = np.array([(i, j) for i in range(21) for j in range(i + 1, 21)])
  assert pairs[duplicates.same_picture(images, pairs)].tolist() == [[7, 20]]


def test_skies_that_differ_in_brightness_alone_are_strangers():
  # Rounding leaves the same faint bands in all of them.
  slope = np.linspace(90, 160, SIZE)[:, None, None] * np.ones((SIZE, SIZE, 3))
  skies = np.array([slope + 2 * i for i in range(10)]).astype(np.uint8)
  assert len(duplicates.close_pairs(duplicates.perceptual_hashes(skies), duplicates.MAX_DISTANCE)) > 5
  assert find(skies) == []


def test_flat_pictures_are_strangers_unless_equal():
  rng = np.random.default_rng(0)
  slope = np.linspace(90, 160, SIZE)[:, None, None] * np.ones((SIZE, SIZE, 3))
  skies = [np.clip(slope + rng.uniform(-20, 20) + rng.normal(0, 2, slope.shape), 0, 255) for _ in range(10)]
  plain = [np.full_like(slope, level) for level in (0, 90, 91, 255, 255, 0, 255)]
  assert find(np.array(skies + plain, np.uint8)) == [(10, 15), (13, 14), (13, 16)]


def test_another_colour_is_another_picture():
  red = photo(1) // 4
  green = red.copy()
  red[..., 0] += 120
  green[..., 1] += 120
  assert find([red, green]) == []


def test_mirror_images_are_other_pictures():
  assert find([photo(1), photo(1)[:, ::-1]]) == []


def test_handwritten_digits_of_several_people_are_strangers():
  digits = datasets.load_digits()
  images = np.repeat(np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None], 3, axis=-1)
  assert len(find(images)) <= 5  # Of 1.6 million pairs.


def test_hashes_are_those_of_imagehash():
  images = np.array([photo(seed, 32) for seed in range(7)])
  expected = [int(str(imagehash.phash(Image.fromarray(image))), 16) for image in images]
  hashes = duplicates.perceptual_hashes(images)
  assert hashes.tolist() == expected and hashes.dtype == np.uint64


def test_hashes_of_many_chunks_are_in_order(tmp_path):
  images = np.lib.format.open_memmap(tmp_path / 'images.npy', 'w+', np.uint8, (1203, 8, 8, 3))
  images[:] = np.random.default_rng(0).integers(0, 256, images.shape, np.uint8)
  np.testing.assert_array_equal(duplicates.perceptual_hashes(images), duplicates.hash_chunk(images))


@pytest.mark.parametrize(('count', 'rows', 'columns'), [(0, 64, 4096), (1, 64, 4096), (130, 64, 4096), (131, 7, 20),
                                                        (40, 1, 1), (130, 20, 7)])
def test_close_pairs_are_those_of_brute_force(count, rows, columns):
  rng = np.random.default_rng(count)
  hashes = rng.integers(0, 2**16, count, np.uint64) << np.uint64(48)  # Sixteen bits, so that many are close.
  expected = [(i, j) for i in range(count) for j in range(i + 1, count)
              if bin(int(hashes[i]) ^ int(hashes[j])).count('1') <= 4]
  found = duplicates.close_pairs(hashes, 4, rows=rows, columns=columns)
  assert found.shape[1] == 2 and sorted(map(tuple, found.tolist())) == expected
  assert count < 100 or expected


def test_no_pictures():
  nothing = np.zeros((0, 32, 32, 3), np.uint8)
  assert duplicates.perceptual_hashes(nothing).shape == (0,)
  assert duplicates.near_duplicates(nothing, np.zeros(0, np.uint64)).shape == (0, 2)


@pytest.mark.parametrize(('count', 'pairs', 'expected'), [
    (4, [], [0, 1, 2, 3]),
    (6, [(1, 4), (4, 5)], [0, 1, 2, 3, 1, 1]),
    (7, [(2, 3), (0, 6), (3, 6), (1, 5)], [0, 1, 0, 0, 4, 1, 0]),
    (0, [], []),
])
def test_groups_are_transitive_and_named_by_their_first(count, pairs, expected):
  groups = duplicates.groups(count, np.array(pairs, np.int64).reshape(-1, 2))
  assert groups.tolist() == expected and groups.dtype == np.int64


def test_area_weights_are_the_mean_over_boxes():
  image = np.random.default_rng(0).uniform(size=(64, 64)).astype(np.float32)
  weights = duplicates.area_weights(64)
  boxes = image.reshape(32, 2, 32, 2).mean(axis=(1, 3))
  np.testing.assert_allclose(weights @ image @ weights.T, boxes, rtol=1e-5)
  np.testing.assert_allclose(duplicates.area_weights(50).sum(axis=1), 1, rtol=1e-5)  # Parts of pixels.


def test_many_pictures_with_one_hash_take_little_memory():
  images = np.random.default_rng(0).integers(0, 256, (300, 64, 64, 3), np.uint8)
  images[200:] = images[:100]
  tracemalloc.start()
  pairs = duplicates.equal_pairs(images, np.zeros(300, np.uint64))
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  np.testing.assert_array_equal(pairs, np.stack([np.arange(100), np.arange(200, 300)], axis=1))
  assert peak < 300 * 64 * 64 * 3 / 10


def test_blank_pages_are_not_compared_each_with_each(monkeypatch):
  rng = np.random.default_rng(0)
  pages = rng.integers(250, 253, (200, 64, 64, 3), np.uint8)
  images = np.concatenate([pages, [photo(1), photo(1) // 2 + 40]])
  hashes = np.zeros(202, np.uint64)
  given, close_pairs = [], duplicates.close_pairs
  monkeypatch.setattr(duplicates, 'close_pairs', lambda hashes, *more: given.append(len(hashes)) or close_pairs(
      hashes, *more))
  pairs = duplicates.near_duplicates(images, hashes)
  assert pairs.tolist() == [[200, 201]] and given == [2]
