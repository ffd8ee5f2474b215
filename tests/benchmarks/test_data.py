"""Ways to read the same pictures read the same pictures."""
import numpy as np
import pytest

from vit_jax.benchmarks import data
from vit_jax.data import pixel_file
from vit_jax.data import source


@pytest.mark.parametrize('in_file', [False, True])
def test_all_ways_read_the_same_pictures(tmp_path, in_file):
  images = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), np.uint8)
  if in_file:
    np.save(tmp_path / 'pictures.npy', images)
    images = pixel_file.open_pixels(tmp_path / 'pictures.npy')
  train = source.Source(images, np.arange(9, dtype=np.int32), np.array([8, 2, 4]))
  ways = data.ways(train, tmp_path)
  assert list(ways) == ['streaming', 'memory-mapped', 'memory']
  for way in ways.values():
    batch = way().read(np.array([0, 2]))
    np.testing.assert_array_equal(batch['image'], np.asarray(images)[[8, 4]])
    assert batch['label'].tolist() == [8, 4]
