"""A file of decoded pictures, larger than memory if need be: the process holds no more of it than a batch.

The file is numpy's `.npy`, u8[N,S,S,3], which anything else can open too. Rows are read by position (`pread`), not
mapped: a mapping counts all pages that were touched against the process, and reads 128 KB from the disk around each
picture. Where the system has the file in its page cache, a mapping is three times as fast, but either is hundreds of
times faster than training (`python -m vit_jax.benchmark --what=data`).
"""
import os
import shutil
import weakref

import numpy as np

from vit_jax.errors import BadInput


def check_space(folder, size):
  """Raises BadInput where the disk of `folder` has no room for `size` bytes more."""
  free = shutil.disk_usage(folder).free
  if size > free:
    raise BadInput(f'the decoded pictures take {size / 1e9:.1f} GB, and {folder.parent} has room for {free / 1e9:.1f} '
                   'GB; name another place with --cache_dir=…, or choose a smaller --config.data.image_size')


def write_header(file, count, image_size):
  """Writes the header before the pixels of `count` pictures; numpy leaves room in it, so that it can be written again.

  The pixels are written after it by hand, because a write into a mapped file on a full disk would end the process
  without a word.
  """
  shape = (count, image_size, image_size, 3)
  np.lib.format.write_array_header_1_0(file, {'descr': '|u1', 'fortran_order': False, 'shape': shape})


class PixelFile:
  """Pictures u8[N,S,S,3] in a file, indexed as an array is: by a number, a slice, or numbers i64[B].

  Several threads may read at once. The file may be deleted meanwhile; it is gone when the last reader is.
  """
  dtype = np.dtype(np.uint8)

  def __init__(self, path):
    self.path = path
    with open(path, 'rb') as file:
      try:
        np.lib.format.read_magic(file)
        self.shape, _, _ = np.lib.format.read_array_header_1_0(file)
      except ValueError:
        raise self._cut() from None
      self._start = file.tell()
      self._handle = os.dup(file.fileno())
    weakref.finalize(self, os.close, self._handle)
    self._bytes = int(np.prod(self.shape[1:]))
    if os.fstat(self._handle).st_size < self._start + len(self) * self._bytes:
      raise self._cut()

  def _cut(self):
    return BadInput(f'{self.path} is cut short; delete its folder, and the next start decodes the pictures anew')

  def __len__(self):
    return self.shape[0]

  def __getitem__(self, rows):
    """Reads pictures: u8[S,S,3] for a number, u8[B,S,S,3] for a slice or i64[B]. Raises BadInput for a cut file."""
    if isinstance(rows, slice):
      rows = np.arange(*rows.indices(len(self)))
    rows = np.asarray(rows, np.int64)
    if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
      raise IndexError(f'rows from {rows.min()} to {rows.max()} of a file of {len(self)}')
    out = np.empty((*rows.shape, *self.shape[1:]), np.uint8)
    for row, place in zip(rows.ravel().tolist(), out.reshape(-1, self._bytes), strict=True):
      self._read(row, memoryview(place))
    return out

  def __array__(self, dtype=None, copy=None):
    return self[:].astype(dtype or self.dtype, copy=False)

  def _read(self, row, place):
    done = 0
    while done < self._bytes:
      count = os.preadv(self._handle, [place[done:]], self._start + row * self._bytes + done)
      if count == 0:
        raise self._cut()
      done += count


def open_pixels(path):
  """The pictures u8[N,S,S,3] of a file, read when they are asked for; mapped on systems without `preadv`."""
  return PixelFile(path) if hasattr(os, 'preadv') else np.load(path, mmap_mode='r')
