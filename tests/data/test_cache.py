"""The cache folder: there whole or not at all."""
import os
import threading
import time

import pytest

from vit_jax.data import cache
from vit_jax.errors import BadInput


def test_is_written_once_for_each_key(tmp_path):
  written = []
  def write(folder):
    written.append(folder)
    (folder / 'a').write_text(str(len(written)))
  first = cache.folder(tmp_path, 'name', ['key', 1], write)
  assert cache.folder(tmp_path, 'name', ['key', 1], write) == first
  second = cache.folder(tmp_path, 'name', ['key', 2], write)
  assert ((first / 'a').read_text(), (second / 'a').read_text(), len(written)) == ('1', '2', 2)
  assert sorted(path.name for path in first.parent.iterdir()) == sorted([first.name, second.name])


@pytest.mark.parametrize('error, raised, message', [
    (OSError(28, 'No space left on device'), BadInput, r'kept in .*pictures \(No space left.*--cache_dir='),
    (KeyboardInterrupt('c'), KeyboardInterrupt, 'c'), (ValueError('broken'), ValueError, 'broken')])
def test_nothing_is_left_of_a_failure(tmp_path, error, raised, message):
  def fail(folder):
    (folder / 'half').write_text('half')
    raise error
  with pytest.raises(raised, match=message):
    cache.folder(tmp_path, 'name', 1, fail)
  assert list((tmp_path / 'pictures').iterdir()) == []
  (tmp_path / 'file').touch()
  with pytest.raises(BadInput, match='decoded pictures cannot be kept in'):
    cache.folder(tmp_path / 'file', 'name', 1, fail)


def test_two_at_once_share_what_the_quicker_one_wrote(tmp_path):
  both = threading.Barrier(2, timeout=30)
  got = []
  def start(number):
    def write(folder):
      both.wait()
      (folder / 'who').write_text(str(number))
      both.wait()
    got.append((cache.folder(tmp_path, 'name', 1, write) / 'who').read_text())
  threads = [threading.Thread(target=start, args=(i,)) for i in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(got) == 2 and got[0] == got[1]
  assert len(list((tmp_path / 'pictures').iterdir())) == 1


def test_what_a_killed_process_left_is_deleted_a_day_later(tmp_path):
  old, new, kept = [tmp_path / 'pictures' / name for name in ('.name-old', '.name-new', 'other-1')]
  for folder in (old, new, kept):
    folder.mkdir(parents=True)
    (folder / 'images.npy').write_bytes(b'half')
  yesterday = time.time() - 25 * 3600
  for path in (old / 'images.npy', old, new, kept / 'images.npy', kept):  # Somebody is still writing to new/images.npy.
    os.utime(path, (yesterday, yesterday))
  cache.folder(tmp_path, 'name', 1, lambda folder: None)
  assert (old.exists(), new.exists(), kept.exists()) == (False, True, True)
