"""What no person would think of: mutated pictures, senseless values and misspelt keys. Each is answered in one line."""
import io
import os
import random
import signal
import string
import traceback

import numpy as np
from PIL import Image
import pytest

from configs import common
from vit_jax import config as config_lib
from vit_jax import train
from vit_jax.data import picture
from vit_jax.errors import BadInput

KEYS = sorted(config_lib.flatten(common.get_config()))
VALUES = [
    '', ' ', '0', '1', '-1', '-0.0', '1e400', 'inf', '-inf', 'nan', '1e-320', '99999999999999999999', '2**99', '.5.',
    '1j', '0x10', '1_000', '1,5', 'None', 'True', 'digits', '()', '(1,)', "('a',)", '(8, 4)', '(0,)',
    "(('a','b'),)", '[]', '{}', "'", '"', '\\', '%s', '../..', '/', '\x00', '\n', 'ä', '𝔸', 'a' * 500, '=',
    '__import__("os").abort()', '--seed=1', 'b"x"']


def encoded(rng):
  """A few small pictures in the formats that people have: the bytes of a file each."""
  files = []
  for mode, kinds in {'RGB': ('JPEG', 'PNG', 'GIF', 'BMP', 'TIFF', 'WEBP', 'PPM', 'TGA', 'ICO', 'JPEG2000'),
                      'L': ('JPEG', 'PNG', 'TIFF'), 'RGBA': ('PNG', 'WEBP', 'TIFF'), 'P': ('PNG', 'GIF'),
                      'I;16': ('PNG', 'TIFF')}.items():
    pixels = rng.integers(0, 256, (12, 17, 4), np.uint8)
    image = (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == 'I;16'
             else Image.fromarray(pixels, 'RGBA').convert(mode))
    for kind in kinds:
      file = io.BytesIO()
      image.save(file, kind)
      files.append(file.getvalue())
  return files


def mutated(data, rng):
  """The bytes of a file with something done to them."""
  data = bytearray(data)
  for _ in range(rng.integers(1, 5)):
    place = int(rng.integers(0, max(len(data), 1)))
    match rng.integers(0, 6):
      case 0:
        data[place:place + 1] = rng.bytes(1)
      case 1:
        data[place:] = b''
      case 2:
        data[place:place] = rng.bytes(int(rng.integers(1, 30)))
      case 3:
        data[place:place + int(rng.integers(1, 30))] = b''
      case 4:  # Sizes and offsets that are as large as can be.
        data[place:place + 4] = b'\xff\xff\xff\x7f'
      case 5:
        data[:4], data[place:place + 4] = data[place:place + 4], data[:4]
  return bytes(data)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # Pillow warns of much of it.
def test_ten_thousand_mutated_pictures_are_pixels_or_a_reason():
  rng = np.random.default_rng(0)
  files, readable = encoded(rng), 0
  for i in range(10_000):
    try:
      pixels, (width, height) = picture.read(mutated(files[i % len(files)], rng), 8)
    except picture.Unreadable as error:
      assert str(error) and '\n' not in str(error)
    else:
      assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8 and width > 0 and height > 0
      readable += 1
  assert 500 < readable < 9500  # Both ways were gone.


class Trained(Exception):
  """Raised where the training would have begun."""


@pytest.mark.slow
# With LONG=1 in the environment two thousand of them instead of five hundred.
@pytest.mark.parametrize('part', range(4 if os.environ.get('LONG') else 1))
def test_senseless_values_are_taken_or_refused_in_a_line(part, tmp_path, monkeypatch, parse):
  def begins(*_, **__):
    raise Trained
  monkeypatch.setattr(train, 'train_in', begins)
  def late(*_):
    raise TimeoutError('nothing was said for too long')
  signal.signal(signal.SIGALRM, late)
  rng, refused, begun, wrong = random.Random(part), 0, 0, []
  for i in range(500):
    overrides = [f'--config.{rng.choice(KEYS)}={rng.choice(VALUES)}' for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    workdir = tmp_path / str(i)
    signal.alarm(20)
    try:
      config = parse('configs/digits.py', *overrides)
      train.train(config, workdir, recipe='digits', cache_dir=tmp_path / 'cache')
    except BadInput as error:
      refused += 1
      if '\n' in str(error).strip() or len(str(error)) > 3000 or workdir.exists():
        wrong.append((str(overrides)[:200], len(str(error)), str(error)[:200], workdir.exists()))
    except Trained:
      begun += 1
    except Exception as error:
      wrong.append((str(overrides)[:200], repr(error)[:200], error.__traceback__.tb_next and traceback.format_tb(
          error.__traceback__)[-1][:300]))
    finally:
      signal.alarm(0)
  assert not wrong, '\n'.join(map(str, wrong))
  assert refused > 200 and begun > 20, (refused, begun)


def typos(word, rng):
  """A word with a letter left out, doubled, changed or swapped with the next."""
  i = rng.randrange(len(word) - 1)
  yield word[:i] + word[i + 1:]
  yield word[:i] + word[i] + word[i:]
  yield word[:i] + rng.choice(string.ascii_lowercase) + word[i + 1:]
  yield word[:i] + word[i + 1] + word[i] + word[i + 2:]


def test_every_misspelt_key_is_answered_with_the_right_one(parse):
  rng = random.Random(0)
  last_names = {}
  for key in KEYS:
    last_names.setdefault(key.rpartition('.')[0], []).append(key.rpartition('.')[2])
  for key in KEYS:
    group, _, name = key.rpartition('.')
    for typo in typos(name, rng):
      if typo in last_names[group] or not typo:
        continue
      with pytest.raises(BadInput, match='unknown config key') as error:
        parse('configs/digits.py', f'--config.{group + "." if group else ""}{typo}=1')
      assert f'did you mean {name!r}?' in str(error.value), (key, typo)
