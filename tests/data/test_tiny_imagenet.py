"""The builder of Tiny ImageNet: archives in the official layout, whose pixels Pillow knows."""
import io
import os
import pathlib
import threading
import zipfile

import numpy as np
from PIL import Image
import pytest
import tensorflow_datasets as tfds

from vit_jax import progress
from vit_jax.data import tfds_sets
from vit_jax.data import tiny_imagenet
from vit_jax.errors import BadInput

REAL = pathlib.Path.home() / 'tensorflow_datasets/downloads/manual/tiny-imagenet-200.zip'
ROOT = 'tiny-imagenet-200'


def labels_of(files):
  """The class of each labelled picture, read off the archive's files by hand: {member: WordNet id}."""
  lines = files[f'{ROOT}/val/val_annotations.txt'].decode().splitlines()
  found = {f'{ROOT}/val/images/{line.split()[0]}': line.split()[1] for line in lines}
  return found | {name: name.split('/')[2] for name in files if '/train/' in name and name.endswith('.JPEG')}


def pillow(data):
  """A JPEG's pixels u8[64,64,3] by Pillow."""
  return np.asarray(Image.open(io.BytesIO(data)).convert('RGB'), int)


def same_picture(got, want):
  """Whether two decoders had the same file: TFDS takes JPEG's faster transform, Pillow the exact one."""
  difference = np.abs(np.asarray(got, int) - want)
  return difference.max() <= 8 and difference.mean() < 2


def built(tmp_path):
  """The builder of the archive in `tmp_path`, after building."""
  return tfds_sets.prepared_builder('tiny_imagenet', str(tmp_path / 'sets'))


def test_names_are_200_and_different():
  names = tiny_imagenet.class_names()
  assert len(names) == len(set(names.values())) == 200
  assert list(names) == sorted(names)
  assert all(len(key) == 9 and key[0] == 'n' and key[1:].isdigit() for key in names)
  assert names['n01443537'] == 'goldfish' and names['n03976657'] == 'pole' and names['n02123045'] == 'tabby'


def test_pictures_labels_and_file_names_are_the_archives(tiny_imagenet_files, pack, tmp_path):
  pack(tiny_imagenet_files)
  builder = built(tmp_path)
  by_name = {name.split('/')[-1]: name for name in labels_of(tiny_imagenet_files)}
  names = builder.info.features['label'].names
  for split, count in {'train': 400, 'validation': 200}.items():
    decoded = list(builder.as_dataset(split=split).as_numpy_iterator())
    raw = builder.as_dataset(split=split, decoders={'image': tfds.decode.SkipDecoding()}).as_numpy_iterator()
    assert len(decoded) == builder.info.splits[split].num_examples == count
    for example, stored in zip(decoded, raw, strict=True):
      member = by_name.pop(example['file_name'].decode())
      assert stored['image'] == tiny_imagenet_files[member]  # Never encoded again.
      assert names[example['label']] == tiny_imagenet.class_names()[labels_of(tiny_imagenet_files)[member]]
      assert same_picture(example['image'], pillow(tiny_imagenet_files[member])), member  # Grey and CMYK ones too.
  assert not by_name
  assert [*builder.info.metadata['wordnet_ids']] == [*tiny_imagenet.class_names()]


def test_cmyk_pictures_are_what_pillow_takes_them_for(tiny_imagenet_files):
  # Pillow writes CMYK as Adobe does, inverted; without that mark the numbers are amounts of ink.
  picture = tiny_imagenet_files[f'{ROOT}/train/n01443537/images/n01443537_1.JPEG']
  image = Image.open(io.BytesIO(picture))
  assert image.mode == 'CMYK' and 'adobe' in image.info
  decode = tfds.features.Image(shape=(64, 64, 3)).decode_example
  assert same_picture(decode(picture), pillow(picture))
  start = picture.index(b'\xff\xee')
  bare = picture[:start] + picture[start + 2 + int.from_bytes(picture[start + 2:start + 4], 'big'):]
  ink = 255 - np.asarray(Image.open(io.BytesIO(picture)), int)  # What the file holds.
  by_hand = (255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255
  assert same_picture(decode(bare), by_hand)


def test_load_tests_on_the_official_validation_part(tiny_imagenet_files, pack, open_set):
  pack(tiny_imagenet_files)
  data = open_set('tiny_imagenet', image_size=64, val_fraction=.5)
  assert data.class_names == tuple(tiny_imagenet.class_names().values())
  assert [np.bincount(part.labels, minlength=200).tolist() for part in (data.train, data.validation, data.test)] == [
      [1] * 200] * 3
  got = data.test.read(np.arange(200))
  ids = list(tiny_imagenet.class_names())
  want = {ids.index(wordnet_id): pillow(tiny_imagenet_files[member])
          for member, wordnet_id in labels_of(tiny_imagenet_files).items() if '/val/' in member}
  for image, label in zip(got['image'], got['label'], strict=True):
    assert np.abs(image.astype(int) - want[label]).max() <= 1  # Decoded exactly; CMYK is rounded.
  some = open_set('tiny_imagenet', image_size=64, classes=('tabby', 'goldfish'))
  assert some.class_names == ('tabby', 'goldfish') and some.train.labels.tolist().count(1) == 2


VALIDATION = f'{ROOT}/val/val_annotations.txt'
ONE = f'{ROOT}/train/n01443537/images/n01443537_0.JPEG'


@pytest.mark.parametrize('change, words', [
    (lambda files: files.pop(ONE), 'it has 1 train pictures of n01443537, not 2'),
    (lambda files: files.update({ONE.replace('n01443537', 'n00000001'): files[ONE]}),
     'it has 1 train pictures of n00000001, not 0'),
    (lambda files: files.pop(f'{ROOT}/val/images/val_3.JPEG'), 'it has no .*val_3.JPEG'),
    (lambda files: files.pop(VALIDATION), 'it has no .*val_annotations.txt'),
    (lambda files: files.update({VALIDATION: b'nonsense'}), 'is damaged'),
    (lambda files: files.update({ONE: b'GIF89a'}), 'n01443537_0.JPEG is not a JPEG'),
    (lambda files: files.clear(), 'it has no .*val_annotations.txt'),
], ids=['lost', 'unknown class', 'lost validation', 'no labels', 'wrong labels', 'no JPEG', 'empty'])
def test_another_archive_under_its_name(change, words, tiny_imagenet_files, pack, tmp_path):
  files = dict(tiny_imagenet_files)
  change(files)
  path = pack(files)
  with pytest.raises(BadInput, match=f'{words}.*; delete it and get it again from http://cs231n') as error:
    built(tmp_path)
  assert str(error.value).startswith(f'{path} is ') and '\n' not in str(error.value)
  assert os.listdir(tmp_path / 'sets/tiny_imagenet') == []


@pytest.mark.parametrize('damage', [
    lambda data, at: data[:len(data) // 2], lambda data, at: b'',
    lambda data, at: data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]], ids=['cut off', 'empty', 'a bit'])
def test_a_damaged_archive(damage, tiny_imagenet_files, pack, tmp_path):
  path = pack(tiny_imagenet_files)
  data = path.read_bytes()
  path.write_bytes(damage(data, data.index(tiny_imagenet_files[ONE]) + 500))
  with pytest.raises(BadInput, match=r'is damaged .*; delete it and get it again from http://cs231n') as error:
    built(tmp_path)
  assert str(error.value).startswith(f'{path} ') and '\n' not in str(error.value)


@pytest.mark.parametrize('other', [False, True], ids=['no manual downloads', 'others'])
def test_no_archive_and_no_network(other, no_network, tmp_path):
  manual = tmp_path / 'sets/downloads/manual'
  if other:
    manual.mkdir(parents=True)
    (manual / 'other.zip').touch()
  with pytest.raises(BadInput, match='could not be downloaded from http://cs231n') as error:
    built(tmp_path)
  assert f'put tiny-imagenet-200.zip into {manual} and start again' in str(error.value)
  assert '\n' not in str(error.value)


def test_the_archive_is_downloaded_and_its_digest_compared(tiny_imagenet_files, pack, tmp_path, monkeypatch):
  known = tiny_imagenet.TinyImagenet.url_infos[tiny_imagenet.URL]
  assert (known.size, len(known.checksum)) == (248_100_043, 64)
  path = pack(tiny_imagenet_files).rename(tmp_path / 'elsewhere.zip')
  other = path.with_name('other.zip')
  other.write_bytes(path.read_bytes())
  monkeypatch.setitem(tiny_imagenet.TinyImagenet.url_infos, str(other), known)
  monkeypatch.setattr(tiny_imagenet, 'URL', str(other))  # TFDS copies what is no address.
  with pytest.raises(BadInput, match=r'could not be downloaded .*NonMatchingChecksumError'):
    built(tmp_path)
  monkeypatch.setattr(tiny_imagenet, 'URL', str(path))
  assert built(tmp_path).info.splits['train'].num_examples == 400


def test_a_kill_while_building_does_not_matter(tiny_imagenet_files, pack, tmp_path, monkeypatch):
  pack(tiny_imagenet_files)
  def killed(self):
    yield from list(pictures(self))[:30]
    raise KeyboardInterrupt
  pictures = tiny_imagenet.Examples.__iter__
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(tiny_imagenet.Examples, '__iter__', killed)
    built(tmp_path)
  # What TFDS leaves after a kill that cleans nothing up.
  left = tmp_path / 'sets/tiny_imagenet/incomplete.ABCDEF_1.0.0'
  left.mkdir()
  (left / 'tiny_imagenet-train.tfrecord-00000-of-00001').write_bytes(b'half')
  assert built(tmp_path).info.splits['train'].num_examples == 400
  assert os.listdir(tmp_path / 'sets/tiny_imagenet') == ['1.0.0']


def test_two_that_build_at_once_both_get_the_set(tiny_imagenet_files, pack, tmp_path, monkeypatch):
  pack(tiny_imagenet_files)
  both, pictures, got = threading.Barrier(2, timeout=60), tiny_imagenet.Examples.__iter__, []
  def together(self):
    both.wait()
    return pictures(self)
  monkeypatch.setattr(tiny_imagenet.Examples, '__iter__', together)
  def build():
    builder = built(tmp_path)
    got.append([len(list(builder.as_dataset(split=split))) for split in ('train', 'validation')])
  threads = [threading.Thread(target=build) for _ in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert got == [[400, 200]] * 2
  assert os.listdir(tmp_path / 'sets/tiny_imagenet') == ['1.0.0']


def test_progress_without_a_terminal_is_whole_lines(tiny_imagenet_files, pack, open_set, monkeypatch, capsys):
  pack(tiny_imagenet_files)
  monkeypatch.setattr(progress, 'PLAIN_EVERY', 0)
  open_set('tiny_imagenet', image_size=64)
  shown = capsys.readouterr().err
  assert 'Generating train examples · 400/400 examples · 0 s left\n' in shown
  assert 'decoding tiny_imagenet · 600/600 pictures · 0 s left\n' in shown
  assert '\r' not in shown


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason='Tiny ImageNet is not in ~/tensorflow_datasets/downloads/manual')
def test_the_real_archive():
  index = tiny_imagenet.read_index(REAL)
  assert {split: len(members) for split, members in index.items()} == {'train': 100_000, 'validation': 10_000}
  with zipfile.ZipFile(REAL) as archive:
    words = dict(line.split('\t') for line in archive.read(f'{ROOT}/words.txt').decode().splitlines())
    ids = archive.read(f'{ROOT}/wnids.txt').decode().split()
  assert tiny_imagenet.class_names() == {key: words[key].split(',')[0].strip() for key in sorted(ids)}
