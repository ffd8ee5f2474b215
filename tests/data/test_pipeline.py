"""Batches against a plain numpy loop over permutations."""
import itertools

import numpy as np
import pytest

from vit_jax.data import pipeline
from vit_jax.data import source


def make_source(n, size=2):
  """A source of n pictures, each filled with its own number, whose labels run backwards from n - 1."""
  images = np.tile(np.arange(n, dtype=np.uint8)[:, None, None, None], (1, size, size, 3))
  return source.Source.whole(images, np.arange(n, dtype=np.int32)[::-1])


def numbers(batch):
  """Which pictures of `make_source` a batch holds; checks that label and every pixel go with them."""
  image, label = batch['image'], batch['label']
  first = image[:, :1, :1, :1]
  assert np.all(image == first)
  return first.ravel().astype(int).tolist(), label.tolist()


def reference(n, batch_size, seed, steps):
  """The picture numbers of the first batches: permutations one after another, cut into pieces."""
  epochs = -(-steps * batch_size // n)
  order = np.concatenate([np.random.default_rng((seed, epoch)).permutation(n) for epoch in range(epochs)])
  return [order[k * batch_size:(k + 1) * batch_size].tolist() for k in range(steps)]


# A batch that divides the set, one that does not, one that is the set, ones that are larger than it.
SIZES = [(12, 4), (10, 4), (7, 7), (5, 8), (3, 11), (6, 1)]


@pytest.mark.parametrize('n, batch_size', SIZES)
def test_train_batches_are_the_permutations_cut_into_pieces(n, batch_size):
  steps = -(-3 * n // batch_size)
  batches = list(itertools.islice(pipeline.train_batches(make_source(n), batch_size=batch_size, seed=5), steps))
  pictures, labels = zip(*map(numbers, batches), strict=True)
  assert list(pictures) == reference(n, batch_size, 5, steps)
  assert list(labels) == [[n - 1 - i for i in batch] for batch in pictures]
  flat = list(itertools.chain(*pictures))
  for epoch in range(3):
    assert sorted(flat[epoch * n:(epoch + 1) * n]) == list(range(n))


@pytest.mark.parametrize('n, batch_size', SIZES)
@pytest.mark.parametrize('start', [0, 1, 2, 3, 6, 50])  # For 12 pictures in fours, 3 and 6 begin epochs.
def test_start_step_goes_on_as_if_never_stopped(n, batch_size, start):
  batches = pipeline.train_batches(make_source(n), batch_size=batch_size, seed=0, start_step=start)
  got = [numbers(next(batches))[0] for _ in range(4)]
  assert got == reference(n, batch_size, 0, start + 4)[start:]


def test_the_seed_decides_the_order():
  first = lambda seed: numbers(next(pipeline.train_batches(make_source(50), batch_size=50, seed=seed)))[0]
  assert first(0) == first(0) and first(0) != first(1)


@pytest.mark.parametrize('batches', [
    pipeline.train_batches(make_source(5, size=4), batch_size=8, seed=0),
    pipeline.eval_batches(make_source(5, size=4), batch_size=8)], ids=['train', 'eval'])
def test_types(batches):
  batch = next(iter(batches))
  kinds = {key: (value.dtype, value.shape) for key, value in batch.items()}
  assert kinds.pop('mask', (bool, (8,))) == (bool, (8,))
  assert kinds == {'image': (np.uint8, (8, 4, 4, 3)), 'label': (np.int32, (8,))}


@pytest.mark.parametrize('batch_size', [1, 3, 7, 12])
def test_eval_batches_hold_every_picture_once_in_order(batch_size):
  n = 7
  batches = list(pipeline.eval_batches(make_source(n), batch_size=batch_size))
  assert [len(batch['mask']) for batch in batches] == [batch_size] * -(-n // batch_size)
  assert sum(batch['mask'].sum() for batch in batches) == n
  kept = [numbers({key: batch[key][batch['mask']] for key in ('image', 'label')}) for batch in batches]
  assert list(itertools.chain(*(pictures for pictures, _ in kept))) == list(range(n))
  assert list(itertools.chain(*(labels for _, labels in kept))) == list(range(n))[::-1]


def test_eval_batches_of_an_empty_source():
  assert list(pipeline.eval_batches(make_source(3).take(np.zeros(0, np.int64)), batch_size=4)) == []


@pytest.mark.parametrize('n, batch_size', SIZES)
def test_which_pictures_a_step_reads(n, batch_size):
  for step, expected in enumerate(reference(n, batch_size, 5, 8)):
    assert pipeline.indices_of(n, batch_size=batch_size, seed=5, step=step).tolist() == expected


@pytest.mark.parametrize('count', [1, 2, 4])
def test_the_shares_of_all_processes_are_the_batch(count):
  numbers_of = lambda batches: [numbers(batch)[0] for batch in itertools.islice(batches, 4)]
  train = [numbers_of(pipeline.train_batches(make_source(10), batch_size=4, seed=5, share=(i, count)))
           for i in range(count)]
  joined = [list(itertools.chain(*parts)) for parts in zip(*train, strict=True)]
  assert joined == reference(10, 4, 5, 4)
  held = [list(pipeline.eval_batches(make_source(10), batch_size=4, share=(i, count))) for i in range(count)]
  for whole, *parts in zip(pipeline.eval_batches(make_source(10), batch_size=4), *held, strict=True):
    for name, array in whole.items():
      np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), array)


def test_a_process_reads_its_share_only():
  class Counting(source.Source):
    def read(self, indices):
      seen.append(len(indices))
      return super().read(indices)
  seen, small = [], make_source(12)
  counting = Counting(small.images, small.all_labels, small.rows)
  list(pipeline.eval_batches(counting, batch_size=4, share=(1, 2)))
  next(pipeline.train_batches(counting, batch_size=4, seed=0, share=(1, 2)))
  assert set(seen) == {2}
