"""Which files a folder holds: small trees of empty files, and what should be said of each."""
import os

import pytest

from vit_jax.data import scan
from vit_jax.errors import BadInput


@pytest.fixture
def plant(tmp_path):
  """plant(names…): empty files in a new folder, with the folders that they need; a name ending in / is a folder."""
  def plant(*names):
    for name in names:
      path = tmp_path / 'pictures' / name
      (path if name.endswith('/') else path.parent).mkdir(parents=True, exist_ok=True)
      if not name.endswith('/'):
        path.touch()
    return tmp_path / 'pictures'
  return plant


def scanned(root):
  """What was found as {name: (class, part)}, and the names of what was skipped."""
  _, files, skipped = scan.scan(root)
  return {file.name: (file.class_name, file.part) for file in files}, dict(skipped)


def test_a_folder_for_each_class(plant):
  root = plant('cat/1.jpg', 'cat/more/deep/2.png', 'dog/1.jpg', 'dog/notes.txt', 'README', 'cat/.hidden.jpg',
               '.git/config', 'dog/.thumbs/1.jpg', 'empty/')
  files, skipped = scanned(root)
  assert files == {'cat/1.jpg': ('cat', ''), 'cat/more/deep/2.png': ('cat', ''), 'dog/1.jpg': ('dog', ''),
                   'dog/notes.txt': ('dog', '')}  # Whether it is a picture is for Pillow to say.
  assert skipped == {'README': "in no class's folder", 'cat/.hidden.jpg': 'hidden', '.git': 'hidden',
                     'dog/.thumbs': 'hidden'}


def test_parts_above_the_classes(plant):
  root = plant('train/cat/1.jpg', 'train/dog/1.jpg', 'Validation/cat/2.jpg', 'test/dog/3.jpg', 'test/loose.jpg')
  files, skipped = scanned(root)
  assert files == {'train/cat/1.jpg': ('cat', 'train'), 'train/dog/1.jpg': ('dog', 'train'),
                   'Validation/cat/2.jpg': ('cat', 'val'), 'test/dog/3.jpg': ('dog', 'test')}
  assert skipped == {'test/loose.jpg': "in no class's folder"}


def test_a_class_of_trains_is_a_class(plant):
  files, _ = scanned(plant('train/1.jpg', 'bus/1.jpg'))
  assert files == {'train/1.jpg': ('train', ''), 'bus/1.jpg': ('bus', '')}


@pytest.mark.parametrize('other', ['__MACOSX/train/cat/1.jpg', 'annotations/deep/', 'cat/1.jpg'])
def test_what_lies_beside_the_parts_makes_no_classes_of_them(other, plant):
  files, skipped = scanned(plant('train/cat/1.jpg', 'train/dog/1.jpg', 'test/cat/2.jpg', other))
  assert files == {'train/cat/1.jpg': ('cat', 'train'), 'train/dog/1.jpg': ('dog', 'train'),
                   'test/cat/2.jpg': ('cat', 'test')}
  assert skipped == ({} if other.endswith('/') else {other: 'beside test and train'})


def test_names_of_classes_are_composed(plant):
  files, _ = scanned(plant('Ka\u0308tzchen/1.jpg', '犬/1.jpg', 'K\u00e4tzchen/2.jpg'))
  assert {name for name, _ in files.values()} == {'K\u00e4tzchen', '犬'}


def test_links_are_followed_but_not_in_a_circle(plant, tmp_path):
  root = plant('cat/1.jpg', 'dog/1.jpg')
  (tmp_path / 'elsewhere').mkdir()
  (tmp_path / 'elsewhere' / '2.jpg').touch()
  os.symlink(tmp_path / 'elsewhere', root / 'bird')
  os.symlink(root, root / 'cat' / 'all')
  os.symlink(root / 'dog' / 'self', root / 'dog' / 'self')
  files, skipped = scanned(root)
  assert set(files) == {'cat/1.jpg', 'dog/1.jpg', 'bird/2.jpg', 'dog/self'}
  assert skipped == {'cat/all': 'a link to a folder that it lies in'}


def test_two_links_to_each_other_end(plant):
  root = plant('cat/1.jpg', 'dog/1.jpg')
  os.symlink(root / 'dog', root / 'cat' / 'dogs')
  os.symlink(root / 'cat', root / 'dog' / 'cats')
  files, _ = scanned(root)
  assert {'cat/1.jpg', 'cat/dogs/1.jpg', 'dog/1.jpg', 'dog/cats/1.jpg'} == set(files)


@pytest.mark.parametrize('names, path, message', [
    ([], '', 'data.path is empty; name your folder'),
    ([], 'nowhere', 'data.path=.*nowhere does not exist'),
    (['one.zip'], 'one.zip', r'is a file; .*\(unpack it first\)'),
    (['one.jpg'], 'one.jpg', 'is a file; name the folder that holds a folder for each class$'),
    (['cat/', 'dog/'], '.', 'is empty: there are no folders with files'),
    (['1.jpg', '2.jpg'], '.', 'is empty: there are no folders with files'),
    (['train/cat/1.jpg', 'train/dog/1.jpg', 'test/cow/1.jpg'], '.', 'classes in test/ that are not in train/: cow')])
def test_errors(names, path, message, plant, tmp_path):
  plant('.nothing', *names)
  with pytest.raises(BadInput, match=message):
    scan.scan(tmp_path / 'pictures' / path if path else '')


def test_a_link_to_itself(tmp_path):
  os.symlink(tmp_path / 'loop', tmp_path / 'loop')
  with pytest.raises(BadInput, match='is a link in a circle'):
    scan.scan(tmp_path / 'loop')


def test_tilde(plant, tmp_path, monkeypatch):
  plant('cat/1.jpg')
  monkeypatch.setenv('HOME', str(tmp_path))
  assert scanned('~/pictures')[0] == {'cat/1.jpg': ('cat', '')}


def test_a_pipe_is_not_waited_for(plant):
  root = plant('cat/1.jpg', 'dog/1.jpg')
  os.mkfifo(root / 'dog' / 'pipe.jpg')
  files, skipped = scanned(root)
  assert set(files) == {'cat/1.jpg', 'dog/1.jpg'} and skipped == {'dog/pipe.jpg': 'a pipe or a device'}
