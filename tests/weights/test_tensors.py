"""Any file: read for what it is, or refused in one line; nothing in it is ever run."""
import importlib.util
import json
import pathlib
import pickle
import re
import struct
import subprocess
import sys
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors

from vit_jax.errors import BadInput
from vit_jax.weights import tensors

NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3)


def refused(path, message):
  """Asserts that the file is refused in one line that says so."""
  with pytest.raises(BadInput, match=message) as error:
    tensors.read(path)
  assert '\n' not in str(error.value) and str(path) in str(error.value)
  return str(error.value)


def with_header(path, header, data):
  """A safetensors file by hand, of any header and data."""
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  path.write_bytes(struct.pack('<Q', len(text)) + text + data)
  return path


@pytest.mark.parametrize('dtype', [jnp.bfloat16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize('name', ['w.safetensors', 'w.npz', 'w.bin'])
def test_floats_of_any_width_become_float32_whatever_the_name(tmp_path, dtype, name):
  path = tmp_path / name
  safetensors.save_file({'x': NUMBERS.astype(dtype)}, path, {'about': 'me'})
  flat, metadata = tensors.read(path)
  assert metadata == {'about': 'me'} and flat['x'].dtype == np.float32
  np.testing.assert_array_equal(flat['x'], NUMBERS)
  if dtype != jnp.bfloat16:  # Which .npz does not have.
    with path.open('wb') as file:
      np.savez_compressed(file, **{'a/x': NUMBERS.astype(dtype)})
    flat, metadata = tensors.read(path)
    assert metadata == {} and flat['a/x'].dtype == np.float32
    np.testing.assert_array_equal(flat['a/x'], NUMBERS)


@pytest.mark.parametrize('dtype', [np.int64, np.uint8, bool, np.complex64])
def test_what_is_no_float_is_named(tmp_path, dtype):
  np.savez(tmp_path / 'w.npz', good=NUMBERS, steps=NUMBERS.astype(dtype))
  refused(tmp_path / 'w.npz', f'steps is {np.dtype(dtype)}, not floating-point')
  with zipfile.ZipFile(tmp_path / 'w.zip', 'w') as archive:
    archive.writestr('readme.txt', 'hello')
  refused(tmp_path / 'w.zip', 'readme.txt is bytes, not floating-point')


class Trap:
  """Pickled, it makes a file where it is unpickled."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return pathlib.Path.touch, (self.path,)


def torch_file(path, payload, first):
  """A file with the layout of torch.save: a zip that holds a pickle, the first in it or the last."""
  parts = [('archive/data.pkl', payload), ('archive/data/0', bytes(5000))]
  with zipfile.ZipFile(path, 'w') as archive:
    for name, content in parts if first else parts[::-1]:
      archive.writestr(name, content)


@pytest.mark.parametrize('name', ['model.bin', 'model.pt', 'model.safetensors', 'model.npz'])
@pytest.mark.parametrize('kind', ['zip', 'zip, last', 'cut zip', 'protocol 2', 'protocol 4'])
def test_no_pickle_is_opened_whatever_its_name(tmp_path, name, kind):
  path, trap = tmp_path / name, Trap(tmp_path / 'sprung')
  if 'zip' in kind:
    torch_file(path, pickle.dumps(trap), first='last' not in kind)
    if kind == 'cut zip':
      path.write_bytes(path.read_bytes()[:-30])
  else:
    path.write_bytes(pickle.dumps(trap, protocol=int(kind[-1])))
  message = refused(path, 'is a pickle')
  assert 'runs whatever code it holds' in message and 'python -c "import torch' in message
  assert not (tmp_path / 'sprung').exists()


def test_a_nameless_old_pickle_is_refused_by_its_ending(tmp_path):
  (tmp_path / 'model.pth').write_bytes(pickle.dumps({'x': 1}, protocol=0))
  refused(tmp_path / 'model.pth', 'is a pickle')


def test_the_line_that_converts_a_pickle_does(tmp_path):
  if not importlib.util.find_spec('torch'):
    pytest.skip('torch is not installed')
  import torch

  shared = torch.as_tensor(NUMBERS)
  torch.save({'state_dict': {'x': shared, 'same': shared.T, 'epoch': 3}}, tmp_path / 'model.pth')
  line = re.search(r'-c "(.*)"$', refused(tmp_path / 'model.pth', 'is a pickle')).group(1)
  subprocess.run([sys.executable, '-c', line], check=True)
  flat, _ = tensors.read(tmp_path / 'model.safetensors')
  np.testing.assert_array_equal(flat['x'], NUMBERS)
  np.testing.assert_array_equal(flat['same'], NUMBERS.T)


def test_object_arrays_are_refused_and_not_unpickled(tmp_path):
  trap = np.array([Trap(tmp_path / 'sprung')], dtype=object)
  np.savez(tmp_path / 'w.npz', x=NUMBERS, trap=trap)
  refused(tmp_path / 'w.npz', 'holds arrays of Python objects, which are pickles')
  assert not (tmp_path / 'sprung').exists()


@pytest.mark.parametrize(('content', 'message'), [
    (b'', "begins with b''"),
    (b'weights, honestly', "neither safetensors nor .npz, and begins with b'weights, hon'"),
    (b'\xff' * 100, 'neither safetensors nor .npz'),
    (b'\x89HDF\r\n\x1a\n' + b'\x00' * 64, 'neither safetensors nor .npz'),
    (b'PK\x03\x04' + b'\x00' * 64, 'no weights that can be read'),
])
@pytest.mark.parametrize('name', ['w.safetensors', 'w.npz'])
def test_other_files_are_refused(tmp_path, content, message, name):
  (tmp_path / name).write_bytes(content)
  refused(tmp_path / name, re.escape(message))


def test_a_place_that_cannot_be_read(tmp_path):
  refused(tmp_path / 'none', 'cannot be read')


ENTRY = {'dtype': 'F32', 'shape': [2, 3], 'data_offsets': [0, 24]}


@pytest.mark.parametrize('header', [
    {'x': ENTRY | {'data_offsets': [0, 48]}},  # more than there is
    {'x': ENTRY | {'data_offsets': [0, 20]}},  # less than its shape needs
    {'x': ENTRY | {'data_offsets': [24, 0]}},
    {'x': ENTRY | {'data_offsets': [-24, 0]}},
    {'x': ENTRY | {'shape': [2, 30]}},
    {'x': ENTRY | {'shape': [2**62, 2**62]}},
    {'x': ENTRY | {'shape': [-2, -3]}},
    {'x': ENTRY | {'dtype': 'F33'}},
    {'x': ENTRY | {'dtype': 'F64'}},
    {'x': ENTRY, 'y': ENTRY},  # one above the other
    {'x': ENTRY | {'shape': [1, 3], 'data_offsets': [12, 24]}},  # a hole before it
    {},  # numbers that belong to nothing
    {'x': 7},
    b'{"x": ', b'{' * 3000, b'{"x": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}' + b'\x00' * 8,
])
def test_a_header_that_lies(tmp_path, header):
  refused(with_header(tmp_path / 'w.safetensors', header, NUMBERS.tobytes()), 'no weights that can be read')


def test_an_honest_header_made_by_hand_is_read(tmp_path):
  path = with_header(tmp_path / 'w.safetensors', {'x': ENTRY}, NUMBERS.tobytes())
  np.testing.assert_array_equal(tensors.read(path)[0]['x'], NUMBERS)
  path.write_bytes(struct.pack('<Q', 2**40) + path.read_bytes()[8:])
  refused(path, 'no weights that can be read')


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_an_npz_that_is_cut_bent_or_lies(tmp_path, save):
  path = tmp_path / 'w.npz'
  save(path, x=NUMBERS, y=np.zeros(1000, np.float32))
  whole = path.read_bytes()
  for length in (40, 200, len(whole) // 2, len(whole) - 1):
    path.write_bytes(whole[:length])
    refused(path, 'no weights that can be read')
  if save is np.savez:
    place = whole.index(NUMBERS.tobytes()) + 9
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
    refused(path, 'Bad CRC-32')  # A zip has a checksum for each array.
    path.write_bytes(whole.replace(b"'shape': (2, 3)", b"'shape': (9, 9)"))
    refused(path, 'no weights that can be read')
