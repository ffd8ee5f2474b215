"""Folders of pictures that the tests paint: pixels come back, splits follow content, broken files are named."""
import collections
import io
import itertools
import os
import shutil

import numpy as np
from PIL import Image
import pytest

from vit_jax.data import folder
from vit_jax.data import picture
from vit_jax.data import source
from vit_jax.errors import BadInput

SIZE = 16


def painted(seed, size=SIZE):
  """A picture of coloured blots u8[s,s,3] that no other seed's picture looks like."""
  rng = np.random.default_rng(seed)
  blots = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
  return np.asarray(blots.resize((size, size), Image.Resampling.BICUBIC))


def save(path, pixels, **options):
  """Writes pixels to a file of the kind that its name says."""
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def root(tmp_path):
  """Forty cats and twenty dogs as PNG, lossless."""
  for i in range(60):
    save(tmp_path / 'pictures' / ('cat' if i < 40 else 'dog') / f'{i:02d}.png', painted(i))
  return tmp_path / 'pictures'


@pytest.fixture
def load(tmp_path):
  """load(path, …): as a recipe would."""
  def load(path, **changes):
    options = dict(cache_dir=tmp_path / 'cache', classes=(), image_size=SIZE, val_fraction=0.1)
    return folder.load(path, **{**options, **changes})
  return load


def pictures(part, names):
  """A part as a sorted list of (class name, pixels)."""
  batch = part.read(np.arange(len(part)))
  return sorted((names[label], image.tobytes()) for label, image in zip(batch['label'], batch['image'], strict=True))


def split(data):
  """{pixels: part} over all parts."""
  return {pixels: name for name in ('train', 'validation', 'test')
          for _, pixels in pictures(getattr(data, name), data.class_names)}


def test_pixels_and_classes_come_back_in_stratified_parts(root, load):
  data = load(root)
  assert (data.name, data.class_names, data.notes) == ('pictures', ('cat', 'dog'), ())
  want = sorted(('cat' if i < 40 else 'dog', painted(i).tobytes()) for i in range(60))
  parts = (data.train, data.validation, data.test)
  assert sorted(itertools.chain(*(pictures(part, data.class_names) for part in parts))) == want
  # A fifth of each class for the test; a tenth of the rest, 32 and 16, for validation.
  assert [np.bincount(part.labels).tolist() for part in parts] == [[29, 14], [3, 2], [8, 4]]


def test_the_split_follows_content_not_names_or_dates(root, load, tmp_path):
  before = split(load(root))
  other = tmp_path / 'other'
  for i, path in enumerate(sorted(root.rglob('*.png'), reverse=True)):
    save(other / path.parent.name / 'inner' / f'renamed {i}.png', np.asarray(Image.open(path)))
  assert split(load(other)) == before
  assert load(other).fingerprint == load(root).fingerprint
  save(root / 'cat' / 'one more.png', painted(99))
  after = split(load(root))
  # One more picture moves a few over the border at the most.
  assert sum(after[pixels] != part for pixels, part in before.items()) <= 4
  assert load(root).fingerprint != load(other).fingerprint
  # The test part is chosen first, whatever is held out besides.
  assert load(root).test_fingerprint == load(root, val_fraction=.3).test_fingerprint != ''
  assert load(root).fingerprint != load(root, val_fraction=.3).fingerprint


def test_near_duplicates_stay_on_one_side(root, load):
  for i in range(0, 60, 3):
    name = 'cat' if i < 40 else 'dog'
    save(root / name / f'{i} again.jpg', painted(i), quality=90)
    save(root / name / f'{i} copy.png', painted(i))
  data = load(root)
  assert sum(map(len, (data.train, data.validation, data.test))) == 100
  rows = [set(part.rows.tolist()) for part in (data.train, data.validation, data.test)]
  groups = folder.read(root, cache_dir=root.parent / 'cache', image_size=SIZE).groups
  assert len(set(groups.tolist())) == 60
  assert collections.Counter(collections.Counter(groups.tolist()).values()) == {3: 20, 1: 40}
  for group in set(groups.tolist()):
    members = set(np.flatnonzero(groups == group).tolist())
    assert sum(bool(members & part) for part in rows) == 1


def test_own_parts_are_kept_and_twins_across_them_are_said(load, tmp_path):
  root = tmp_path / 'mine'
  for i in range(40):
    save(root / ('train' if i < 30 else 'test') / ('cat' if i % 2 else 'dog') / f'{i}.png', painted(i))
  data = load(root, val_fraction=.2)
  assert [np.bincount(part.labels).tolist() for part in (data.train, data.validation, data.test)] == [
      [12, 12], [3, 3], [5, 5]]
  test = {pixels for _, pixels in pictures(data.test, data.class_names)}
  assert test == {painted(i).tobytes() for i in range(30, 40)}
  assert data.notes == ()
  save(root / 'test' / 'cat' / 'again.png', painted(1))
  save(root / 'val' / 'cat' / 'x.png', painted(50))
  data = load(root)
  assert len(data.validation) == 1 and len(data.train) == 30
  assert data.notes == ('1 near-duplicates are in train and in test: test accuracy will be flattered',)


def test_classes_are_kept_by_name(root, load):
  save(root / 'eel' / '1.png', painted(200))
  with pytest.raises(BadInput, match=r"class 'eel' has too few different pictures \(1 in all.*at least 3"):
    load(root)
  data = load(root, classes=('dog', 'cat'))
  assert data.class_names == ('dog', 'cat')
  assert np.bincount(data.train.labels).tolist() == [14, 29]
  with pytest.raises(BadInput, match="class 'dgo' is unknown; did you mean dog"):
    load(root, classes=('cat', 'dgo'))


def test_three_pictures_a_class_are_enough(load, tmp_path):
  for i in range(6):
    save(tmp_path / 'few' / 'ab'[i % 2] / f'{i}.png', painted(i))
  data = load(tmp_path / 'few')
  assert [np.bincount(part.labels).tolist() for part in (data.train, data.validation, data.test)] == [[1, 1]] * 3


def test_broken_files_are_named_and_others_counted(root, load):
  whole = (root / 'cat' / '00.png').read_bytes()
  (root / 'cat' / 'cut.png').write_bytes(whole[:-40])
  (root / 'cat' / 'empty.jpg').write_bytes(b'')
  (root / 'dog' / 'letter.txt').write_text('Dear dog')
  (root / 'dog' / '.DS_Store').write_text('hidden')
  (root / 'dog' / 'gone.png').symlink_to(root / 'nowhere.png')
  save(root / 'dog' / 'x.jpg', painted(77))
  (root / 'dog' / 'x.jpg').rename(root / 'dog' / 'jpeg.png')
  (root / 'dog' / 'no ending').write_bytes((root / 'dog' / '50.png').read_bytes())
  found = folder.read(root, cache_dir=root.parent / 'cache', image_size=SIZE)
  assert [name for name, _ in found.unreadable] == ['cat/cut.png', 'cat/empty.jpg', 'dog/gone.png']
  assert [name for name, _ in found.skipped] == ['dog/.DS_Store', 'dog/letter.txt']
  assert {'dog/jpeg.png', 'dog/no ending'} < set(found.files)
  notes = load(root).notes
  assert notes[0].startswith('3 files left out, unreadable: cat/cut.png (') and 'No such file' in notes[0]
  assert notes[1] == ('2 files left out, no pictures, hidden, or beside the parts: dog/.DS_Store (hidden), '
                      'dog/letter.txt (not a picture that Pillow knows)')


@pytest.mark.parametrize('make, message', [
    (lambda root: shutil.rmtree(root / 'dog'), "holds one class only, 'cat'"),
    (lambda root: [path.write_bytes(b'junk') for path in root.rglob('*.png')],
     'holds no readable picture; cat/00.png: not a picture')])
def test_nothing_to_learn_from(make, message, root, load):
  make(root)
  with pytest.raises(BadInput, match=message):
    load(root)


def test_second_start_decodes_nothing_and_reads_only_what_was_touched(root, load, monkeypatch):
  before = split(load(root))
  monkeypatch.setattr(picture, 'read', None)
  assert split(load(root)) == before
  opened = []
  digest = folder.hashlib.file_digest
  def noted(file, kind):
    opened.append(file.name)
    return digest(file, kind)
  monkeypatch.setattr(folder.hashlib, 'file_digest', noted)
  assert split(load(root)) == before and opened == []
  os.utime(root / 'cat' / '07.png')
  (root / 'cat' / '08.png').rename(root / 'cat' / 'eight.png')
  assert split(load(root)) == before
  assert sorted(name.rpartition('/')[2] for name in opened) == ['07.png', 'eight.png']


def test_held_out_groups_by_hand():
  labels = np.array([0, 0, 0, 1, 1, 1, 0, 1])
  groups = np.array([0, 0, 2, 3, 2, 5, 6, 3])  # 2 holds a picture of each class, and counts as of class 0
  kept, out = source.held_out_groups(labels, groups, .4)
  # Two of the five in class 0: group 0. One of the three in class 1: group 3 is too large, group 5 is not.
  assert (kept.tolist(), out.tolist()) == ([2, 3, 4, 6, 7], [0, 1, 5])
  # Neither of class 0's two groups is small enough for one picture, so that one of them must do.
  assert source.held_out_groups(labels[:-2], groups[:-2], .01)[1].tolist() == [0, 1, 3]
  assert source.held_out_groups(labels, groups, 0.0)[1].tolist() == []


def mutations(good, rng, count):
  """Broken files: (ending, bytes), as cards, networks and people leave them."""
  for i in range(count):
    data = bytearray(good[i % len(good)])
    kind = i % 5
    if kind == 0:
      data = data[:rng.integers(0, len(data))]
    elif kind == 1:
      for at in rng.integers(0, len(data), rng.integers(1, 30)):
        data[at] ^= 1 << rng.integers(0, 8)
    elif kind == 2:
      data = rng.bytes(rng.integers(0, 400))
    elif kind == 3:  # Absurd sizes, in the place where PNG and BMP keep them.
      data[16:24] = rng.bytes(8)
    else:
      data = b''
    yield ['.png', '.jpg', '.gif', '.tif', '.webp', '.bmp', '.txt', ''][rng.integers(8)], bytes(data)


@pytest.mark.slow
def test_two_thousand_broken_files_lose_no_good_one(root, load):
  rng = np.random.default_rng(0)
  good = []
  for i, kind in enumerate(('PNG', 'JPEG', 'GIF', 'TIFF', 'WEBP', 'BMP')):
    out = io.BytesIO()
    Image.fromarray(painted(300 + i)).save(out, kind)
    good.append(out.getvalue())
  broken = {}
  for i, (ending, data) in enumerate(mutations(good, rng, 2000)):
    name = f'{["cat", "dog"][i % 2]}/broken {i}{ending}'
    (root / name).write_bytes(data)
    broken[name] = data
  found = folder.read(root, cache_dir=root.parent / 'cache', image_size=SIZE)
  whole = [name for name in found.files if name not in broken]
  assert len(whole) == 60
  for name in whole:
    np.testing.assert_array_equal(found.images[found.files.index(name)], painted(int(name[4:6])))
  listed = {name for name, _ in (*found.unreadable, *found.skipped)}
  # Some mutations leave a picture that can be read; all others are named, with a reason.
  assert listed | set(found.files) == set(broken) | set(whole) and not listed & set(found.files)
  assert all(why for _, why in (*found.unreadable, *found.skipped))
  for name in listed:
    with pytest.raises(picture.Unreadable):
      picture.read(broken[name], SIZE)
  assert len(listed) > 1200
  data = load(root)
  assert len(data.train) + len(data.validation) + len(data.test) == len(found.files)


def test_a_class_of_one_is_enough_where_nothing_is_held_out(tmp_path, load):
  for part, start in (('train', 0), ('test', 10)):
    save(tmp_path / 'pictures' / part / 'eel' / 'a.png', painted(start))
    for i in range(1, 4):
      save(tmp_path / 'pictures' / part / 'cat' / f'{i}.png', painted(start + i))
  data = load(tmp_path / 'pictures', val_fraction=0.0)
  assert (len(data.train), len(data.validation), len(data.test)) == (4, 0, 4)
