"""TFDS sets: small real ones written to disk by TFDS, whose pixels are known."""
import itertools
import pathlib
import shutil
import subprocess
import sys
import threading
import types

import numpy as np
from PIL import Image
import pytest

from vit_jax.data import cache
from vit_jax.data import tfds_sets

NAMES = ('cat', 'dog', 'eel')


def rows(part):
  """A part as a sorted list of (label, pixels…): TFDS shuffles when it writes."""
  batch = part.read(np.arange(len(part)))
  assert (batch['image'].dtype, batch['label'].dtype) == (np.uint8, np.int32)
  return sorted((label, *image.ravel().tolist()) for label, image in zip(*reversed(batch.values()), strict=True))


def expected(examples, classes=NAMES):
  """The same from the examples that were written: three channels, classes numbered in the order asked for."""
  keep = [x for x in examples if NAMES[x['label']] in classes]
  return sorted((list(classes).index(NAMES[x['label']]), *np.broadcast_to(x['image'], (4, 4, 3)).ravel().tolist())
                for x in keep)


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('classes', [(), ('eel', 'cat')])
def test_pixels_come_back(channels, classes, pictures, features_of, write, open_set):
  # More than decode's batches of 256.
  examples = {'train': pictures(600, (4, 4, channels)), 'test': pictures(9, (4, 4, channels), seed=1)}
  write('tiny', features_of((4, 4, channels)), **examples)
  data = open_set('tiny', classes=classes)
  assert (data.name, data.class_names) == ('tiny', classes or tuple(NAMES))
  assert rows(data.train) == expected(examples['train'], classes or NAMES)
  assert rows(data.test) == expected(examples['test'], classes or NAMES)
  assert len(data.validation) == 0


def test_alpha_is_dropped(pictures, features_of, write, open_set):
  examples = pictures(6, (4, 4, 4))
  write('alpha', features_of((4, 4, 4)), train=examples, test=examples)
  assert rows(open_set('alpha').train) == expected([{**x, 'image': x['image'][..., :3]} for x in examples])


def middle_square(pixels, size):
  """Pillow's version: the middle square, resized with its antialiased bicubic filter."""
  h, w, _ = pixels.shape
  side = min(h, w)
  top, left = (h - side) // 2, (w - side) // 2
  image = Image.fromarray(pixels[top:top + side, left:left + side])
  return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC), int)


def waves(h, w):
  """A picture u8[h,w,3] of waves, cut off at black and white, different along each side and in each channel."""
  y, x, c = np.mgrid[:h, :w, :3]
  return np.clip(127 + 300 * np.sin(y / 5 + c) * np.cos(x / 7 - c), 0, 255).astype(np.uint8)


def test_pictures_of_any_size_become_their_middle_square(features_of, write, open_set):
  sizes = [(8, 8), (40, 24), (24, 41), (5, 5), (8, 30)]
  examples = [{'image': waves(h, w), 'label': i % 3} for i, (h, w) in enumerate(sizes)]
  write('varied', features_of((None, None, 3)), train=examples, test=examples)
  got = open_set('varied', image_size=8).train.read(np.arange(5))['image'].astype(int)
  for example in examples:
    want = middle_square(example['image'], 8)
    closest = min((image - want for image in got), key=lambda difference: np.abs(difference).max())
    # Pillow rounds after each axis; a picture that is of the size already must stay as it is.
    assert np.abs(closest).max() <= (0 if example['image'].shape == (8, 8, 3) else 2), example['image'].shape
    assert abs(closest.mean()) < .2


@pytest.fixture
def parts(pictures):
  """Thirty pictures for each part, and thirty whose label is not told."""
  named = {name: pictures(30, (4, 4, 3), seed) for seed, name in enumerate(['train', 'validation', 'test'])}
  return {**named, 'unlabelled': [{**x, 'label': -1} for x in named['test']]}


@pytest.mark.parametrize('splits, fraction, train, validation, test', [
    (['train', 'test'], 0.0, 'train', 0, 'test'),
    (['train', 'test'], .2, 24, 6, 'test'),
    (['train', 'validation'], .2, 24, 6, 'validation'),
    (['train', 'validation', 'test'], .2, 'train', 'validation', 'test'),
    (['train', 'validation', 'test'], 0.0, 'train', 0, 'test'),
    (['train', 'validation', 'unlabelled'], .2, 24, 6, 'validation'),
    (['train'], .25, 18, 6, 6),  # a fifth for the test, then a quarter of the rest
])
def test_which_part_is_which(splits, fraction, train, validation, test, parts, features_of, write, open_set):
  write('parts', features_of((4, 4, 3)),
        **{'test' if name == 'unlabelled' else name: parts[name] for name in splits})
  data = open_set('parts', val_fraction=fraction)
  got = {'train': data.train, 'validation': data.validation, 'test': data.test}
  for name, want in {'train': train, 'validation': validation, 'test': test}.items():
    if isinstance(want, int):
      assert len(got[name]) == want
      assert np.bincount(got[name].labels, minlength=3).tolist() == [want // 3] * 3
    else:
      assert rows(got[name]) == expected(parts[want])
  if train != 'train':  # What was held out of the training pictures is theirs, once.
    wanted = zip(got.values(), (train, validation, test), strict=True)
    of_train = [part for part, want in wanted if isinstance(want, int)]
    assert sorted(itertools.chain(*map(rows, of_train))) == expected(parts['train'])


def test_second_start_only_opens_the_cache(parts, features_of, write, open_set, monkeypatch):
  write('tiny', features_of((4, 4, 3)), train=parts['train'], test=parts['test'])
  first = open_set('tiny')
  monkeypatch.setattr(tfds_sets, 'decode', None)
  assert rows(open_set('tiny').train) == rows(first.train)
  for other in (dict(image_size=2), dict(classes=('cat', 'dog'))):
    with pytest.raises(TypeError):  # These pixels must be decoded.
      open_set('tiny', **other)


def test_second_start_imports_neither_tfds_nor_tensorflow(parts, features_of, write, open_set, tmp_path):
  write('tiny', features_of((4, 4, 3)), train=parts['train'], test=parts['test'])
  first = open_set('tiny', val_fraction=.2)
  code = f"""if True:
      import pathlib, sys
      from vit_jax.data import load
      data = load.load('tiny', data_dir={str(tmp_path / 'sets')!r}, cache_dir=pathlib.Path({str(tmp_path / 'cache')!r}),
                       classes=(), image_size=4, val_fraction=.2)
      big = [name for name in ('tensorflow_datasets', 'tensorflow', 'jax') if name in sys.modules]
      print(big, data.class_names, *(part.images[part.rows].astype(int).sum() for part in
                                     (data.train, data.validation, data.test)))"""
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
  sums = [part.read(np.arange(len(part)))['image'].astype(int).sum()
          for part in (first.train, first.validation, first.test)]
  assert done.stdout.split() == f'[] {NAMES} {" ".join(map(str, sums))}'.split()


def test_a_set_that_was_made_anew_is_decoded_anew(parts, features_of, write, open_set, tmp_path):
  write('tiny', features_of((4, 4, 3)), train=parts['train'], test=parts['test'])
  assert rows(open_set('tiny').train) == expected(parts['train'])
  shutil.rmtree(tmp_path / 'sets/tiny')
  write('tiny', features_of((4, 4, 3)), train=parts['validation'], test=parts['test'])
  assert rows(open_set('tiny').train) == expected(parts['validation'])


def test_what_tfds_finds_elsewhere_is_decoded_once(parts, features_of, write, open_set, monkeypatch, tmp_path):
  write('tiny_set', features_of((4, 4, 3)), train=parts['train'], test=parts['test'])
  assert rows(open_set('TinySet').train) == expected(parts['train'])  # TFDS takes the class's name, too.
  monkeypatch.setattr(tfds_sets, 'decode', None)
  assert rows(open_set('TinySet').test) == expected(parts['test'])


@pytest.mark.parametrize('name, size', [('mnist', 28), ('cifar100', 32), ('oxford_flowers102', 16)])
def test_sets_that_tfds_mocks(name, size, open_set, monkeypatch):
  # One channel; two labels, of which 'label' is taken; pictures of any size.
  import tensorflow_datasets as tfds
  some = types.SimpleNamespace(num_bytes=1, num_shards=1)
  monkeypatch.setattr(tfds.core.DatasetInfo, 'splits', {'train': some, 'test': some})  # A mock knows none.
  with tfds.testing.mock_data(num_examples=6):
    data = open_set(name, image_size=size, classes=())
    names = tfds.builder(name).info.features['label'].names
  assert data.class_names == tuple(names)
  assert data.train.images.shape == (12, size, size, 3) and len(data.train) == len(data.test) == 6


def test_a_kill_while_decoding_does_not_matter(parts, features_of, write, open_set, tmp_path, monkeypatch):
  write('tiny', features_of((4, 4, 3)), train=parts['train'], test=parts['test'])
  decode = tfds_sets.decode
  def killed(*args):
    decode(*args)
    np.save(args[-1] / 'images.npy', np.zeros((30, 4, 4, 3), np.uint8))
    raise KeyboardInterrupt
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(tfds_sets, 'decode', killed)
    patch.setattr(cache.shutil, 'rmtree', lambda *_, **__: None)  # A real kill cleans nothing up.
    open_set('tiny')
  assert len(list((tmp_path / 'cache/pictures').iterdir())) == 1
  assert rows(open_set('tiny').train) == expected(parts['train'])


def test_two_at_once_both_get_the_right_pixels(parts, features_of, write, open_set, tmp_path, monkeypatch):
  write('tiny', features_of((4, 4, 3)), train=parts['train'], test=parts['test'])
  both, decode, got = threading.Barrier(2, timeout=60), tfds_sets.decode, []
  def together(*args):
    both.wait()
    decode(*args)
    both.wait()
  monkeypatch.setattr(tfds_sets, 'decode', together)
  threads = [threading.Thread(target=lambda: got.append(rows(open_set('tiny').train))) for _ in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert got == [expected(parts['train'])] * 2
  assert len(list((tmp_path / 'cache/pictures').iterdir())) == 1  # and nothing half-written


@pytest.mark.slow
@pytest.mark.skipif(not (pathlib.Path.home() / 'tensorflow_datasets/cifar10/3.0.2/dataset_info.json').exists(),
                    reason='CIFAR-10 is not in ~/tensorflow_datasets')
def test_cats_and_dogs_of_cifar10(open_set):
  import tensorflow_datasets as tfds
  data = open_set('cifar10', data_dir='', classes=('cat', 'dog'), image_size=32, val_fraction=.05)
  assert [len(part) for part in (data.train, data.validation, data.test)] == [9500, 500, 2000]
  raw = tfds.as_numpy(tfds.load('cifar10', split='test'))
  animals = list(itertools.islice(((x['image'], x['label'] == 5) for x in raw if x['label'] in (3, 5)), 300))
  got = data.test.read(np.arange(300))
  np.testing.assert_array_equal(got['image'], [image for image, _ in animals])
  np.testing.assert_array_equal(got['label'], [dog for _, dog in animals])
