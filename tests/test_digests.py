"""Digests of files against coreutils' sha256sum, and of trees against hashlib."""
import hashlib
import shutil
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import digests
from vit_jax.errors import BadInput


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'inner' / 'ä b').mkdir(parents=True)
  (tmp_path / 'a.txt').write_text('a')
  (tmp_path / 'inner' / 'ä b' / 'empty').touch()
  (tmp_path / 'inner' / 'z').write_bytes(bytes(range(256)))
  digests.write(tmp_path)
  return tmp_path


@pytest.mark.skipif(not shutil.which('sha256sum'), reason='there is no sha256sum here')
def test_sha256sum_agrees(folder):
  done = subprocess.run(['sha256sum', '--check', '--strict', digests.NAME], cwd=folder, text=True, capture_output=True,
                        check=True)
  assert done.stdout.splitlines() == ['a.txt: OK', 'inner/z: OK', 'inner/ä b/empty: OK']


def test_what_is_missing_new_or_changed_is_named(folder):
  digests.check(folder)
  (folder / '.DS_Store').touch()  # Hidden files come and go.
  digests.check(folder)
  (folder / 'new').touch()
  with pytest.raises(BadInput, match=r'its digests do not hold: new$'):
    digests.check(folder)
  (folder / 'new').unlink()
  (folder / 'inner' / 'z').write_bytes(bytes(256))
  (folder / 'a.txt').unlink()
  with pytest.raises(BadInput, match=r'its digests do not hold: a\.txt, inner/z$'):
    digests.check(folder)


def test_digests_that_are_cut_off_do_not_hold(folder):
  whole = (folder / digests.NAME).read_bytes()
  for length in range(len(whole)):
    (folder / digests.NAME).write_bytes(whole[:length])
    with pytest.raises(BadInput, match='its digests do not hold'):
      digests.check(folder)
  (folder / digests.NAME).unlink()
  with pytest.raises(BadInput, match='SHA256SUMS is missing'):
    digests.check(folder)


def test_digest_of_a_known_tree():
  expected = hashlib.sha256()
  for name, array in (("['a']", np.arange(3, dtype=np.int32)), ("['b']['c']", np.ones((2, 1), np.float32))):
    expected.update(f'{name} {array.dtype} {array.shape}\n'.encode() + array.tobytes())
  tree = {'b': {'c': jnp.ones((2, 1))}, 'a': jnp.arange(3)}
  assert digests.of_tree(tree) == expected.hexdigest()


@pytest.mark.parametrize('other', [
    {'a': np.zeros((2, 3), np.float32)}, {'b': np.zeros((3, 2), np.float32)}, {'a': np.zeros((3, 2), np.int32)},
    {'a': np.full((3, 2), -0.0, np.float32)}])
def test_digest_sees_names_shapes_dtypes_and_bits(other):
  assert digests.of_tree({'a': np.zeros((3, 2), np.float32)}) != digests.of_tree(other)
