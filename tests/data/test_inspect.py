"""Findings against what was planted: each flaw is put into a small set by hand, and must be found there alone."""
import types

import numpy as np
import pytest

from vit_jax.data import inspect
from vit_jax.data import source

SIDE = 32


def pictures(count, seed=0):
  """u8[N,32,32,3] of coloured boxes, no two alike."""
  rng = np.random.default_rng(seed)
  images = np.tile(rng.integers(0, 256, (count, 1, 1, 3), np.uint8), (1, SIDE, SIDE, 1))
  for image in images:
    for _ in range(10):
      top, left, height, width = rng.integers(2, SIDE - 2, 4)
      image[top:top + height, left:left + width] = rng.integers(0, 256, 3)
  return images


def data_set(images, labels, train, validation, test, names=('cat', 'dog')):
  everything = source.Source.whole(np.asarray(images), np.asarray(labels, np.int32))
  take = lambda rows: everything.take(np.asarray(rows, np.int64))
  return source.DataSet('pets', names, take(train), take(validation), take(test))


@pytest.fixture
def clean():
  """100 pictures in memory: 60 train, 20 validation, 20 test; change the pixels before `data_set`."""
  return types.SimpleNamespace(images=pictures(100), labels=np.arange(100) % 2, parts=(
      np.arange(60), np.arange(60, 80), np.arange(80, 100)))


def inspected(clean, **options):
  return inspect.inspect(data_set(clean.images, clean.labels, *clean.parts), **options)


def brief(found):
  return [(finding.kind, finding.wrong, finding.groups) for finding in found.findings]


def test_a_clean_set_has_no_findings(clean):
  found = inspected(clean)
  assert found.findings == () and not found.wrong
  assert found.counts.tolist() == [[30, 30], [10, 10], [10, 10]]
  assert found.names[0] == 'train 0' and found.names[99] == 'test 19'


def test_a_leak_into_the_test_part(clean):
  clean.images[90] = clean.images[4]  # equal
  clean.images[94] = np.roll(clean.images[8], 1, axis=1)  # nearly
  clean.images[62] = clean.images[10]  # into validation
  found = inspected(clean)
  assert brief(found) == [('leaks', True, ((62, 10),)), ('leaks', True, ((90, 4), (94, 8)))]
  assert found.findings[1].text == ('2 of 20 test pictures (10.00%) are in train too, 1 of them with equal pixels')
  assert found.findings[0].text == ('1 of 20 validation pictures (5.00%) is in train too, 1 of them with equal pixels')
  assert found.wrong


def test_parts_that_share_no_array(clean):
  a, b = clean.images[:80], clean.images[80:].copy()
  b[3] = a[7]
  first, second = (source.Source.whole(images, np.arange(len(images)) % 2) for images in (a, b))
  found = inspect.inspect(source.DataSet('pets', ('cat', 'dog'), first, first.take(np.zeros(0, np.int64)), second))
  assert found.parts == ('train', 'test')
  assert [(finding.kind, finding.groups) for finding in found.findings if finding.groups] == [
      ('leaks', ((83, 7),)), ]
  np.testing.assert_array_equal(found.pictures[83], a[7])
  np.testing.assert_array_equal(found.pictures[78:83], np.concatenate([a[78:], b[:3]]))
  np.testing.assert_array_equal(found.pictures[np.array([99, 0, 80])], [b[19], a[0], b[0]])
  assert found.pictures.shape == (100, SIDE, SIDE, 3) and len(found.pictures) == 100


def test_the_same_picture_under_two_labels(clean):
  clean.images[[20, 31]] = clean.images[2]
  found = inspected(clean)
  assert brief(found) == [('labels', True, ((2, 20, 31),)), ('repeats', False, ((2, 20, 31),))]
  assert 'cat and dog (1)' in found.findings[0].text
  assert found.findings[1].text == '2 of 60 train pictures repeat another one, 2 with equal pixels'


def test_repeats_are_worth_a_look_only(clean):
  clean.images[20] = clean.images[2]
  found = inspected(clean)
  assert brief(found) == [('repeats', False, ((2, 20),))] and not found.wrong


@pytest.mark.parametrize(('dogs_in_train', 'wrong', 'text'), [
    (0, True, '1 class without a picture in train: dog'),
    (5, False, '1 class with fewer than 20 pictures in train: dog (5)'),
    (2, False, 'imbalance: cat has 60 training pictures, 30 times those of dog (2)'),
])
def test_empty_small_and_uneven_classes(clean, dogs_in_train, wrong, text):
  clean.labels[:60] = 0
  clean.labels[:dogs_in_train] = 1
  if dogs_in_train == 2:
    clean.images = pictures(102)
    clean.labels = np.append(clean.labels, [0, 0])
    clean.parts = (np.append(np.arange(60), [100, 101]), *clean.parts[1:])
  found = inspected(clean)
  assert (wrong, text) in [(finding.wrong, finding.text) for finding in found.findings]
  assert {finding.kind for finding in found.findings} == {'classes'} and found.wrong == wrong


def test_classes_that_the_test_part_lacks(clean):
  clean.labels[80:] = 0
  assert [(finding.wrong, finding.text) for finding in inspected(clean).findings] == [
      (True, '1 class without a picture in test: dog')]


def a_folder(clean, **changes):
  count = len(clean.images)
  return types.SimpleNamespace(**{**dict(
      class_names=('cat', 'dog'), files=tuple(f'{"cd"[i % 2]}/{i}.jpg' for i in range(count)),
      sizes=np.full((count, 2), 100, np.int32), digests=tuple(str(i) for i in range(count)), unreadable=(), skipped=(),
      groups=np.arange(count)), **changes})


def test_only_files_tell(clean):
  folder = a_folder(clean, unreadable=(('c/x.jpg', 'cut off'),), skipped=(('.DS_Store', 'hidden'),))
  folder.sizes[3] = 16, 200
  folder.sizes[70] = 31, 40
  found = inspected(clean, folder=folder)
  assert [(finding.kind, finding.wrong, finding.text) for finding in found.findings] == [
      ('files', True, '1 file cannot be read: c/x.jpg (cut off)'),
      ('files', False, '1 file left out: .DS_Store (hidden)'),
      ('sizes', False, '2 pictures smaller than 32 pixels and will be enlarged: d/3.jpg (16×200), c/70.jpg (31×40)'),
      ('sizes', False, '1 picture more than twice as long as wide; less than half of each is used: d/3.jpg (16×200)')]


def test_a_folder_brings_its_groups_and_digests(clean):
  groups = np.arange(100)
  groups[[9, 85]] = 5  # As the folder module would say it of these near-duplicates.
  digests = [str(i) for i in range(100)]
  digests[9] = '5'
  clean.images[9] = clean.images[5]
  found = inspected(clean, folder=a_folder(clean, groups=groups, digests=tuple(digests)))
  assert brief(found) == [('leaks', True, ((85, 5, 9),)), ('repeats', False, ((5, 9),))]
  assert found.findings[1].text.endswith('1 with equal pixels, 1 as equal files')
  assert found.names[85] == 'd/85.jpg'


def test_groups_are_named_by_their_first_in_the_order_of_the_parts(clean):
  groups = np.arange(100)
  groups[[9, 85]] = 5
  clean.parts = (np.arange(60)[::-1], *clean.parts[1:])
  found = inspected(clean, folder=a_folder(clean, groups=groups))
  assert [found.names[i] for i in np.flatnonzero(found.group == 50)] == ['d/9.jpg', 'd/5.jpg', 'd/85.jpg']


def test_what_is_wrong_comes_first(clean):
  clean.images[91] = clean.images[4]
  clean.labels[:60] = np.arange(60) < 50
  assert [(finding.kind, finding.wrong) for finding in inspected(clean).findings] == [
      ('leaks', True), ('classes', False)]


def test_notes_of_the_data_and_findings_from_before(clean):
  data = data_set(clean.images, clean.labels, *clean.parts)
  data = type(data)(**{**vars(data), 'notes': ('left out a lot',)})
  assert [finding.text for finding in inspect.inspect(data).findings] == ['left out a lot']
  before = [inspect.Finding('classes', True, 'too small')]
  assert inspect.inspect(data, notes=before).findings == tuple(before)


def test_together():
  group = np.array([0, 1, 0, 3, 1, 0])
  assert inspect.together(group) == [(0, 2, 5), (1, 4)]
  assert inspect.together(group, np.array([1, 2, 5])) == [(2, 5)]
  assert inspect.together(np.arange(4)) == [] and inspect.together(np.zeros(0, np.int64)) == []
