"""Random pictures against every picture that numpy says is possible."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
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


@pytest.mark.parametrize('scale', [0.1, 0.5, 0.9])
def test_boxes_have_the_areas_ratios_and_places_that_were_asked_for(scale):
  corner, sides = map(np.asarray, augment.random_boxes(jax.random.key(0), 4000, scale))
  assert corner.min() >= 0 and (corner + sides).max() <= 1 + 1e-6
  area, ratio = sides.prod(axis=1), sides[:, 1] / sides[:, 0]
  cut = (sides == 1).any(axis=1)
  assert area[~cut].min() >= scale - 1e-6 and area.max() <= 1 and area.min() > scale * .74
  assert ratio.min() >= 3 / 4 - 1e-6 and ratio.max() <= 4 / 3 + 1e-6
  if scale == 0.1:  # Hardly any are cut: the means of the uniform distributions, five standard errors either way.
    assert abs(area.mean() - .55) < .03
    assert abs(np.log(ratio[~cut]).mean()) < .02
    assert ratio.min() < .77 and ratio.max() > 1.3
  left = (corner / np.maximum(1 - sides, 1e-3))[~cut]
  np.testing.assert_allclose(left.mean(axis=0), .5, atol=.03)


@pytest.mark.parametrize('size', [3, 8, 11])
def test_boxes_are_resized_as_pillow_does(size):
  """Pillow's BILINEAR of a box; it rounds to whole levels after each of the two directions."""
  images = random_images(6, 8, 10)
  corner, sides = map(np.asarray, augment.random_boxes(jax.random.key(1), 6, 0.2))
  found = np.asarray(augment.resize_boxes(jnp.asarray(images), corner, sides, size))
  for image, picture, (top, left), (height, width) in zip(images, found, corner, sides, strict=True):
    box = (10 * left, 8 * top, 10 * (left + width), 8 * (top + height))
    expected = np.asarray(Image.fromarray(image).resize((size, size), Image.BILINEAR, tuple(map(float, box))))
    np.testing.assert_allclose(picture, expected, atol=1.5)


def test_a_whole_picture_in_another_size():
  images = random_images(3, 8, 8)
  expected = [np.asarray(Image.fromarray(image).resize((4, 4), Image.BILINEAR)) for image in images]
  np.testing.assert_allclose(augmented(jax.random.key(0), images, size=4), scaled(np.stack(expected)), atol=1.5 / 127.5)


def augmented(key, images, targets=None, *, size=None, flip=False, padding=0, scale=1.0, trivial=False,
              cutmix=0.0, **more):
  """The pictures, and the targets where there were any."""
  out, mixed = augment.augment(key, images, np.zeros((len(images), 2)) if targets is None else targets, flip=flip,
                               size=size or images.shape[1], crop_padding=padding, crop_scale=scale, trivial=trivial,
                               cutmix=cutmix, **more)
  return np.asarray(out) if targets is None else (np.asarray(out), np.asarray(mixed))


def test_augment_with_nothing_on_only_scales():
  images = random_images(8)
  np.testing.assert_allclose(augmented(jax.random.key(0), images), scaled(images), atol=1e-6)


@pytest.mark.parametrize('flip, padding', [(True, 0), (False, 1), (True, 1)])
def test_augment_makes_each_combination_of_crop_and_flip(flip, padding):
  images = random_images(400)
  seen = set()
  for picture, image in zip(augmented(jax.random.key(0), images, flip=flip, padding=padding), images, strict=True):
    candidates = scaled(crops(image, padding))
    if flip:
      candidates = np.concatenate([candidates, candidates[:, :, ::-1]])
    seen.add(which(picture, candidates))
  assert len(seen) == (2 * padding + 1)**2 * (2 if flip else 1)


@pytest.mark.parametrize('options', [{'flip': True}, {'padding': 2}, {'scale': .5, 'size': 4}, {'trivial': True},
                                     {'cutmix': 1.0}, {'mixup': 1.0}, {'erasing': 1.0}])
def test_the_key_alone_decides(options):
  images = random_images(16)
  run = lambda seed, f: f(jax.random.key(seed), images)
  eager = functools.partial(augmented, **options)
  names = {'padding': 'crop_padding', 'scale': 'crop_scale'}
  plain = {'size': 5, 'flip': False, 'crop_padding': 0, 'crop_scale': 1.0, 'trivial': False, 'cutmix': 0.0}
  given = {names.get(name, name): value for name, value in options.items()}
  jitted = jax.jit(lambda key, images: augment.augment(key, images, jnp.zeros((16, 2)), **plain | given)[0])
  np.testing.assert_array_equal(run(0, eager), run(0, eager))
  np.testing.assert_allclose(run(0, jitted), run(0, eager), atol=1e-6)
  assert not np.array_equal(run(0, eager), run(1, eager))


def test_cutmix_pastes_one_box_and_mixes_targets_by_its_area():
  images, targets = random_images(5), np.eye(5, dtype=np.float32)
  shares = []
  for seed in range(40):
    out, mixed = augment.mix_boxes(jax.random.key(seed), jnp.asarray(images), targets, 1.0)
    other = np.roll(images, 1, axis=0)
    pasted = (out != images).any(axis=(0, 3))
    np.testing.assert_array_equal(out, np.where(pasted[None, :, :, None], other, images))
    rows, columns = pasted.any(1), pasted.any(0)
    assert pasted.sum() == rows.sum() * columns.sum()  # The pixels of a box.
    for side in (rows, columns):
      assert (np.diff(np.flatnonzero(side)) == 1).all()
    share = pasted.mean()
    np.testing.assert_allclose(mixed, (1 - share) * targets + share * np.roll(targets, 1, axis=0), atol=1e-6)
    shares.append(share)
  assert min(shares) < 0.1 and max(shares) > 0.5


def test_cutmix_boxes_have_uniform_areas_and_their_middles_anywhere():
  black_and_white = jnp.zeros((2, 64, 64, 1)).at[1].set(1.0)
  first = lambda key: augment.mix_boxes(key, black_and_white, jnp.eye(2), 1.0)[0][0, :, :, 0]
  pasted = np.asarray(jax.vmap(first)(jax.random.split(jax.random.key(0), 4000))).mean(axis=0)
  # A box of side s, hanging over the border or not, covers s − s²/4 of either side on average; ∫ (s − s²/4)² 2s ds.
  assert pasted.mean() == pytest.approx(1 / 2 - 1 / 5 + 1 / 48, abs=.02)
  # The middle is covered where the box's middle is within s/2 of it: ∫ s² 2s ds; a corner, by a quarter of such boxes.
  assert pasted[32, 32] == pytest.approx(1 / 2, abs=.03) and pasted[0, 0] == pytest.approx(1 / 8, abs=.03)


def test_cutmix_leaves_the_other_batches_alone():
  images, targets = random_images(5), np.eye(5, dtype=np.float32)
  mixed = [augmented(jax.random.key(seed), images, targets, cutmix=0.25)[1] for seed in range(200)]
  assert 0.1 < np.mean([not np.array_equal(batch, targets) for batch in mixed]) < 0.4


@pytest.mark.parametrize('how', ['cutmix', 'mixup'])
def test_what_mixes_pictures_mixes_their_targets(how):
  images, targets = random_images(6), np.eye(6, dtype=np.float32)
  out, mixed = augmented(jax.random.key(1), images, targets, **{how: 1.0})
  own = np.diag(mixed)
  assert 0 < own[0] < 1 and (own == own[0]).all() and not np.array_equal(out, scaled(images))
  np.testing.assert_allclose(mixed.sum(1), 1, atol=1e-6)


def test_mixup_blends_neighbours_by_one_share():
  images, targets = random_images(6), np.eye(6, dtype=np.float32)
  shares = []
  for seed in range(40):
    mixed, mixed_targets = augment.mix_pictures(jax.random.key(seed), jnp.asarray(images), jnp.asarray(targets), 0.7)
    share = float(mixed_targets[1, 0])
    np.testing.assert_allclose(mixed_targets, (1 - share) * targets + share * np.roll(targets, 1, axis=0), atol=1e-6)
    np.testing.assert_allclose(mixed, (1 - share) * images + share * np.roll(images, 1, axis=0), rtol=1e-5, atol=1e-4)
    shares.append(share)
  used = [share for share in shares if share]
  assert 0.5 < len(used) / 40 < 0.9 and min(used) < 0.2 and max(used) > 0.8 and 0.35 < np.mean(used) < 0.65


def test_erasing_takes_out_one_box_of_a_part_of_the_pictures():
  # 64×48 white pictures: what is erased is all that is not white.
  images = jnp.full((1000, 64, 48, 3), 255, jnp.uint8)
  erased = np.asarray(augment.erase_boxes(jax.random.key(0), images, 0.5))
  assert erased.dtype == np.uint8 and set(np.unique(erased)) == {augment.GREY, 255}
  gone = (erased == augment.GREY).all(-1)
  assert 0.45 < gone.any((1, 2)).mean() < 0.55
  areas, ratios, edges = [], [], np.zeros(4, bool)
  for picture in gone[gone.any((1, 2))]:
    rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert picture.sum() == height * width  # One box, whole.
    areas.append(picture.mean())
    ratios.append(width / height * 64 / 48)
    edges |= [rows[0] == 0, rows[-1] == 63, columns[0] == 0, columns[-1] == 47]
  assert 0.015 < min(areas) < 0.04 and 0.30 < max(areas) < 0.35 and abs(np.mean(areas) - 0.175) < 0.02
  assert min(ratios) < 0.4 and max(ratios) > 2.6 and abs(np.mean(np.log(ratios))) < 0.15
  assert edges.all()
