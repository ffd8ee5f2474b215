"""Any file of weights -> arrays by name. What it is, its first bytes say, whatever its name is.

Two formats are read: safetensors and .npz. Neither runs code. Pickles do, and so no pickle is ever opened: PyTorch's
.bin, .pth, .pt and .ckpt are refused with the line that converts them.
"""
from concurrent import futures
import json
import math
import pathlib
import zipfile

import jax.numpy as jnp
import numpy as np

from vit_jax.errors import BadInput
from vit_jax.errors import one_line

# The floats that weights may be stored as, by the name that safetensors gives them. Importing jax has taught numpy the
# first.
STORED = {'BF16': np.dtype(jnp.bfloat16), 'F16': np.dtype('<f2'), 'F32': np.dtype('<f4'), 'F64': np.dtype('<f8')}
PICKLE_SUFFIXES = ('.bin', '.pth', '.pt', '.ckpt', '.pkl', '.pickle')
# No header of a ViT is near this; safetensors itself refuses longer ones.
LONGEST_HEADER = 100_000_000
# Threads that read the arrays of a file; most of the time goes into making memory, which a second one halves.
READERS = 2


def read(path):
  """Reads a file of weights: -> ({name: f32 array}, the file's metadata {str: str}).

  Raises BadInput for anything that is no such file, or a damaged one. A flipped bit inside the numbers of a
  safetensors file is not seen, as nothing in the file says what they were; that of an .npz is, by its checksums.
  """
  path = pathlib.Path(path)
  try:
    with path.open('rb') as file:
      head = file.read(512)
  except OSError as error:
    raise BadInput(f'{path} cannot be read ({error.strerror})') from None
  try:
    return decoder(path, head)(path)
  except BadInput:
    raise
  except Exception as error:  # Whatever a decoder stumbles over, MemoryError included: the file is damaged.
    if 'Object arrays' in str(error):
      raise BadInput(f'{path} holds arrays of Python objects, which are pickles: opening one runs whatever it says. '
                     'Write it anew, as arrays of numbers') from None
    raise BadInput(f'{path} holds no weights that can be read ({one_line(error)})') from None


def decoder(path, head):
  """The function that reads a file with these first bytes; raises BadInput where there is none."""
  if head[8:9] == b'{' and int.from_bytes(head[:8], 'little') < LONGEST_HEADER:
    return read_safetensors
  if head[:4] in (b'PK\x03\x04', b'PK\x05\x06'):  # the second of an empty one
    # The file's own table of contents; of a truncated one, the first name is all there is.
    if b'.pkl' in head or any(name.endswith('.pkl') for name in names_in_zip(path)):
      refuse_pickle(path)
    return read_npz
  if head[:1] == b'\x80' and head[1:2] in (b'\x02', b'\x03', b'\x04', b'\x05') and head[2:3] != b'\x00':
    refuse_pickle(path)
  if path.suffix.lower() in PICKLE_SUFFIXES:
    refuse_pickle(path)
  raise BadInput(f'{path} holds no weights that can be read: it is neither safetensors nor .npz, and begins with '
                 f'{head[:12]!r}')


def names_in_zip(path):
  """The names of the files in a zip, [] for a damaged one."""
  try:
    with zipfile.ZipFile(path) as archive:
      return archive.namelist()
  except zipfile.BadZipFile:
    return []


def refuse_pickle(path):
  """Raises BadInput with the reason and the way out."""
  raise BadInput(
      f'{path} is a pickle, PyTorch\'s old format: opening one runs whatever code it holds, so vit_jax does not. Where '
      f'you have torch, this makes a safe file of it: python -c "import torch, safetensors.torch as s; d = torch.load('
      f'{str(path)!r}, map_location=\'cpu\', weights_only=True); d = d.get(\'state_dict\', d.get(\'model\', d)); '
      's.save_file({k: v.clone().contiguous() for k, v in d.items() if torch.is_tensor(v)}, '
      f'{str(path.with_suffix(".safetensors"))!r})"')


def read_safetensors(path):
  """-> ({name: f32 array}, metadata); the library checks that the header's offsets and shapes fit the file."""
  import safetensors  # Here, not above: nothing else needs it.

  with safetensors.safe_open(path, 'numpy') as file:
    names, metadata = file.keys(), file.metadata() or {}
  with path.open('rb') as file:
    length = int.from_bytes(file.read(8), 'little')
    header = json.loads(file.read(length))
  def array(name):
    entry = header[name]
    check_float(entry['dtype'], STORED, name, path)
    stored = room(entry['shape'], STORED[entry['dtype']])
    # Read, not mapped as the library does: a process that maps the file holds every number twice.
    with path.open('rb') as file:
      file.seek(8 + length + entry['data_offsets'][0])
      file.readinto(stored.reshape(-1).view(np.uint8))
    if stored.dtype == np.float32:
      return stored
    single = room(stored.shape, np.float32)
    single[...] = stored
    return single
  with futures.ThreadPoolExecutor(READERS) as readers:
    return dict(zip(names, readers.map(array, names), strict=True)), metadata


def room(shape, dtype):
  """An array of zeros in memory that Python gave.

  Numpy asks the system for huge pages, and where memory is in pieces that takes longer than to read the file.
  """
  dtype = np.dtype(dtype)
  return np.frombuffer(bytearray(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)


def read_npz(path):
  """-> ({name: f32 array}, {}); never unpickles."""
  # Opened here, as numpy leaves a damaged file open.
  with path.open('rb') as file, np.load(file, allow_pickle=False) as archive:
    def array(name):
      leaf = archive[name]
      check_float(getattr(leaf, 'dtype', type(leaf).__name__), STORED.values(), name, path)
      return np.asarray(leaf, np.float32)
    return {name: array(name) for name in archive.files}, {}


def check_float(dtype, floats, name, path):
  """Raises BadInput where an array's type is none of `floats`."""
  if dtype not in floats:
    raise BadInput(f'{path} holds no weights that can be read: {name} is {dtype}, not floating-point numbers')
