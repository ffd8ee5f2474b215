"""PixelFile answers as numpy's own array does, and the process stays small however large the file is."""
import concurrent.futures
import os
import subprocess
import sys
import types

import numpy as np
import pytest

from vit_jax import machine
from vit_jax.data import pipeline
from vit_jax.data import pixel_file
from vit_jax.data import source
from vit_jax.errors import BadInput

COUNT, SIZE = 50, 6


@pytest.fixture
def images():
  return np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)


@pytest.fixture
def file(images, tmp_path):
  np.save(tmp_path / 'images.npy', images)
  return pixel_file.PixelFile(tmp_path / 'images.npy')


@pytest.mark.parametrize('rows', [0, 49, np.int64(3), slice(None), slice(5, 100), slice(40, 3, -2), slice(7, 7), [],
                                  [3, 3, 0], np.array([49, 0]), np.array([[1, 2], [3, 4]])], ids=str)
def test_reads_what_numpy_reads(file, images, rows):
  expected = images[np.asarray(rows, np.int64) if isinstance(rows, list) else rows]
  np.testing.assert_array_equal(file[rows], expected)
  assert file[rows].dtype == images.dtype


def test_looks_like_an_array(file, images):
  assert (file.shape, file.dtype, len(file)) == (images.shape, images.dtype, COUNT)
  np.testing.assert_array_equal(np.asarray(file), images)


@pytest.mark.parametrize('rows', [COUNT, -1, [0, COUNT], [-1, 0]])
def test_rows_that_are_not_there(file, rows):
  with pytest.raises(IndexError, match=f'of a file of {COUNT}'):
    file[rows]


def test_header_can_be_written_again(tmp_path, images):
  """A count that is known at the end only, as `folder.decode` has it: numpy reads the file."""
  with open(tmp_path / 'images.npy', 'wb') as out:
    pixel_file.write_header(out, 10**9, SIZE)
    out.write(images.tobytes())
    out.seek(0)
    pixel_file.write_header(out, COUNT, SIZE)
  np.testing.assert_array_equal(np.load(tmp_path / 'images.npy'), images)


def test_no_pictures_at_all(tmp_path):
  with open(tmp_path / 'images.npy', 'wb') as out:
    pixel_file.write_header(out, 0, SIZE)
  file = pixel_file.PixelFile(tmp_path / 'images.npy')
  assert len(file) == 0
  assert file[[]].shape == (0, SIZE, SIZE, 3)


def test_a_file_that_is_cut_short(tmp_path, images):
  np.save(tmp_path / 'images.npy', images)
  file = pixel_file.PixelFile(tmp_path / 'images.npy')
  whole = (tmp_path / 'images.npy').stat().st_size
  data = source.Source.whole(file, np.zeros(COUNT, np.int32))
  for size in (whole - 1, 20, 0):
    os.truncate(tmp_path / 'images.npy', size)
    with pytest.raises(BadInput, match=r'images\.npy is cut short'):
      pixel_file.PixelFile(tmp_path / 'images.npy')
    with pytest.raises(BadInput, match=r'images\.npy is cut short'):  # After it was opened.
      next(pipeline.train_batches(data, batch_size=COUNT, seed=0))
  os.truncate(tmp_path / 'images.npy', whole)


def test_a_disk_without_room_is_one_line(tmp_path, monkeypatch):
  monkeypatch.setattr(pixel_file.shutil, 'disk_usage', lambda folder: types.SimpleNamespace(free=10**6))
  pixel_file.check_space(tmp_path, 10**6)
  with pytest.raises(BadInput, match=r'the decoded pictures take 2\.0 GB, and .* has room for 0\.0 GB'):
    pixel_file.check_space(tmp_path, 2 * 10**9)


def test_threads_read_at_once_and_after_the_file_was_deleted(tmp_path, images):
  np.save(tmp_path / 'images.npy', images)
  file = pixel_file.PixelFile(tmp_path / 'images.npy')
  (tmp_path / 'images.npy').unlink()
  rng = np.random.default_rng(1)
  indices = [rng.integers(0, COUNT, 20) for _ in range(200)]
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for rows, found in zip(indices, pool.map(file.__getitem__, indices), strict=True):
      np.testing.assert_array_equal(found, images[rows])


def test_batches_are_those_of_the_pictures_in_memory(file, images):
  labels = np.arange(COUNT, dtype=np.int32)
  batches = [pipeline.train_batches(source.Source.whole(pictures, labels), batch_size=16, seed=0)
             for pictures in (file, images)]
  for _, streamed, in_memory in zip(range(8), *batches, strict=False):
    for key in in_memory:
      np.testing.assert_array_equal(streamed[key], in_memory[key])


# Reads a file of 600 MB, of which nothing is on the disk but its length, once over in shuffled batches.
BOUNDED = """
import sys
import numpy as np
from vit_jax import machine, quiet
quiet.silence()
from vit_jax.data import pixel_file, pipeline, source
count, size = 50_000, 64
with open(sys.argv[1], 'wb') as file:
  pixel_file.write_header(file, count, size)
  file.truncate(file.tell() + count * size * size * 3)
images = np.load(sys.argv[1], mmap_mode='r') if sys.argv[2] == 'mapped' else pixel_file.open_pixels(sys.argv[1])
batches = pipeline.train_batches(source.Source.whole(images, np.zeros(count, np.int32)), batch_size=128, seed=0)
peak = lambda: machine.peak_memory() // 2**20
for _ in range(10):
  next(batches)
before = peak()
for _ in range(count // 128):
  next(batches)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(machine.resident_memory() is None, reason='the system does not tell a process its memory')
def test_memory_stays_bounded_while_a_large_file_is_streamed(tmp_path):
  """The mapping is the counter-proof: the same file, all of which ends up in the process."""
  grown = {}
  for how in ('streamed', 'mapped'):
    command = [sys.executable, '-c', BOUNDED, str(tmp_path / 'images.npy'), how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    grown[how] = int(done.stdout)
  assert grown['streamed'] < 60
  assert grown['mapped'] > 200
