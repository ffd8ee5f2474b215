"""Sources -> host batches. The host only moves bytes: arithmetic on pictures happens on the device."""
import atexit
import weakref

import numpy as np

from vit_jax import quiet
from vit_jax.errors import BadInput


def train_batches(source, *, batch_size, seed, start_step=0, share=(0, 1)):
  """Endless shuffled batches {'image': u8[B,S,S,3], 'label': i32[B]}, from `start_step` on, through tf.data.

  Each epoch is a permutation of all pictures that depends on (seed, epoch) alone, and epochs follow one
  another without a gap: step k reads positions [k·B, (k+1)·B) of that endless order. So every picture is
  seen once an epoch at any batch size, and going on at a step needs nothing but its number. With `share` (i, P) only
  the i-th of P equal parts of each batch is read, for one of P processes.
  """
  tf = quiet.import_tensorflow()

  n = len(source)
  here = rows_of(share, batch_size)
  first_epoch, offset = divmod(start_step * batch_size, n)

  def order(epoch):
    return permutation(n, seed, int(epoch))[offset if epoch == first_epoch else 0:]

  refusals = []

  def read(indices):
    try:
      batch = source.read(indices)
    except BadInput as error:  # tf.data would hand on its text alone, among much else.
      refusals.append(error)
      raise
    return batch['image'], batch['label']

  def gather(indices):
    image, label = tf.numpy_function(read, [indices[here]], (tf.uint8, tf.int32))
    image.set_shape((here.stop - here.start, *source.images.shape[1:]))
    label.set_shape((here.stop - here.start,))
    return {'image': image, 'label': label}

  def permute(epoch):
    indices = tf.numpy_function(order, [epoch], tf.int64)
    indices.set_shape((None,))
    return indices

  indices = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max).map(permute)
  # `rebatch` lets a batch run over the end of an epoch into the next one.
  batches = indices.rebatch(batch_size).map(gather).prefetch(4)
  return Batches(batches.as_numpy_iterator(), refusals)


class Batches:
  """An iterator of tf.data whose threads, which call Python, end before Python does; otherwise a process could hang."""

  def __init__(self, iterator, refusals):
    self._iterator, self._refusals = iterator, refusals  # each BadInput that was raised in a thread
    this = weakref.ref(self)
    atexit.register(lambda: this() and this().close())

  def __iter__(self):
    return self

  def __next__(self):
    try:
      return next(self._iterator)
    except Exception:
      if self._refusals:
        raise self._refusals[0] from None
      raise

  def close(self):
    """Ends the threads; there are no more batches after that."""
    self._iterator = iter(())


def indices_of(n, *, batch_size, seed, step):
  """Which of n pictures `train_batches` reads in the step after `step` steps: -> i64[B]."""
  first, last = step * batch_size // n, ((step + 1) * batch_size - 1) // n
  order = np.concatenate([permutation(n, seed, epoch) for epoch in range(first, last + 1)])
  return order[step * batch_size - first * n:][:batch_size]


def permutation(n, seed, epoch):
  """The order of an epoch's pictures: -> i64[n]."""
  return np.random.default_rng((seed, epoch)).permutation(n)


def rows_of(share, batch_size):
  """The rows of a batch that the i-th of P processes reads: (i, P) -> slice."""
  i, count = share
  return slice(i * batch_size // count, (i + 1) * batch_size // count)


def eval_batches(source, *, batch_size, share=(0, 1)):
  """One pass in order: {'image': u8[B,S,S,3], 'label': i32[B], 'mask': bool[B]}; the last batch is padded.

  Padding repeats the first picture under mask False, so that all batches have one shape and every picture
  counts once. `share` as in `train_batches`.
  """
  for start in range(0, len(source), batch_size):
    indices = np.arange(start, start + batch_size)[rows_of(share, batch_size)]
    mask = indices < len(source)
    yield {**source.read(np.where(mask, indices, 0)), 'mask': mask}
