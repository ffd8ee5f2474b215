"""Train is clear of what is tested on: planted copies go, everything else stays."""
import io

import numpy as np
from PIL import Image
import pytest

from vit_jax.data import clear
from vit_jax.data import duplicates
from vit_jax.data import load
from vit_jax.data import pixel_file
from vit_jax.data import source
from vit_jax.errors import BadInput

SIZE = 48


def photo(seed):
  """Coloured blots with grain, unlike those of any other seed: u8[S,S,3]."""
  rng = np.random.default_rng(seed)
  resized = lambda cells: np.asarray(Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8)).resize(
      (SIZE, SIZE), Image.Resampling.BICUBIC), float)
  return np.clip(resized(6) * .7 + resized(20) * .3, 0, 255).astype(np.uint8)


def as_jpeg(image):
  file = io.BytesIO()
  Image.fromarray(image).save(file, 'JPEG', quality=70)
  return np.asarray(Image.open(file))


@pytest.fixture
def parts():
  """A set of forty pictures, and a test part of another: two of the pictures are in their own test part, one there."""
  images = np.stack([photo(seed) for seed in range(60)])
  images[50], images[51] = images[3], as_jpeg(images[7])
  everything = source.Source.whole(images, np.zeros(60, np.int32))
  train, validation, test = (everything.take(np.arange(*bounds)) for bounds in ((0, 40), (40, 50), (50, 60)))
  other = np.stack([photo(seed) for seed in range(100, 120)])
  other[5] = as_jpeg(images[20])
  data = source.DataSet('painted', ('a', 'b'), train, validation, test, ('as before',))
  return data, source.Source.whole(other, np.zeros(20, np.int32))


@pytest.mark.parametrize(('which', 'gone'), [(['painted'], {3, 7}), (['other'], {20}),
                                             (['painted', 'other'], {3, 7, 20})])
def test_what_is_tested_on_is_left_out(parts, tmp_path, which, gone):
  data, other = parts
  tests = {'painted': data.test, 'other': other}
  found = clear.keep_clear(data, {name: tests[name] for name in which}, tmp_path)
  assert set(range(40)) - set(found.train.rows.tolist()) == gone
  assert (found.validation, found.test) == (data.validation, data.test)
  names = ', '.join(which)
  assert found.notes == (
      'as before', f'{len(gone)} training pictures left out: nearly the same as a test picture of {names}')


def test_a_second_time_nothing_is_compared(parts, tmp_path, monkeypatch):
  data, other = parts
  np.save(tmp_path / 'images.npy', data.train.images)
  in_file = source.Source(pixel_file.open_pixels(tmp_path / 'images.npy'), data.train.all_labels, data.train.rows)
  data = source.DataSet('painted', ('a', 'b'), in_file, data.validation, data.test)
  first = clear.keep_clear(data, {'other': other}, tmp_path)
  monkeypatch.setattr(duplicates, 'near_duplicates', None)
  np.testing.assert_array_equal(clear.keep_clear(data, {'other': other}, tmp_path).train.rows, first.train.rows)
  with pytest.raises(TypeError):  # Other pictures are compared anew.
    clear.keep_clear(data, {'other': other.take(np.arange(19))}, tmp_path)


def test_a_set_by_name(tmp_path):
  options = dict(data_dir='', cache_dir=tmp_path, classes=(), image_size=8, val_fraction=0.1)
  plain, cleared = (load.load('digits', **options, clear_of=names) for names in ((), ('digits',)))
  kept = np.isin(plain.train.rows, cleared.train.rows)
  assert 0 < (~kept).sum() < 100 and 'of digits' in cleared.notes[-1]
  with pytest.raises(BadInput, match=r"data\.name='digit'|did you mean digits"):
    load.load('digits', **options, clear_of=('digit',))
