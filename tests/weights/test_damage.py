"""Damaged at random, files of weights load whole or not at all, and the error is ours."""
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from vit_jax.errors import BadInput
from vit_jax.models import described
from vit_jax.models import variants
from vit_jax.weights import files
from vit_jax.weights import load

TESTS = pathlib.Path(__file__).parents[1]
# Of each kind of file; 1,000 were run by hand.
MUTATIONS = 50


def ours(path):
  """Writes a file of our own."""
  model = variants.build('small-digits', num_classes=3, hidden_size=16, mlp_dim=32, num_layers=1)
  numbers = np.random.default_rng(0)
  params = jax.tree.map(lambda leaf: numbers.normal(size=leaf.shape), variants.abstract_params(model, 8))
  files.save(path, params, described.describe(model, 'abc', 8), 'made by a test')


def place(kind, folder):
  """Lays a whole example of a kind of file into a folder: -> the file to damage, and what is to be read."""
  if kind == 'ours':
    ours(folder / 'w.safetensors')
    return folder / 'w.safetensors', folder / 'w.safetensors'
  if kind == 'published':
    return shutil.copy(TESTS / 'golden' / 'token_weights.npz', folder / 'w.npz'), folder / 'w.npz'
  case, name = kind.split('/')
  shutil.copytree(TESTS / 'fixtures' / case, folder / case)
  return folder / case / name, folder / case


def damaged(content, rng):
  """The bytes with a bit flipped, a byte replaced, some left out, put in or zeroed, or the end cut off."""
  # Most of what can go wrong is in the first bytes and, of a zip, in the last.
  length = len(content)
  at = int(rng.choice([rng.integers(8), rng.integers(min(length, 3000)), length - 1 - rng.integers(min(length, 3000)),
                       rng.integers(length)]))
  several = int(rng.integers(1, 100))
  return [
      lambda: content[:at] + bytes([content[at] ^ 1 << rng.integers(8)]) + content[at + 1:],
      lambda: content[:at] + bytes([rng.integers(256)]) + content[at + 1:],
      lambda: content[:at] + rng.choice(list(b'0123456789{}[]",:-.')).tobytes()[:1] + content[at + 1:],
      lambda: content[:at] + content[at + several:],
      lambda: content[:at] + rng.bytes(several) + content[at:],
      lambda: content[:at] + bytes(several) + content[at + several:],
      lambda: content[:at],
  ][rng.integers(7)]()


@pytest.mark.parametrize('kind', ['ours', 'published', 'timm_deit3_8/model.safetensors', 'timm_token_8/config.json',
                                  'hf_vit_16/model.safetensors', 'hf_vit_16/config.json'])
def test_damage_is_noticed_or_does_not_change_a_shape(tmp_path, kind):
  file, path = place(kind, tmp_path)
  file, content = pathlib.Path(file), pathlib.Path(file).read_bytes()
  _, description, _ = load.read(path)
  like = variants.abstract_params(described.build(description), description['preprocessing']['image_size'])
  rng = np.random.default_rng(len(kind))
  refused = 0
  for i in range(MUTATIONS):
    file.write_bytes(damaged(content, rng))
    try:
      flat, found, _ = load.read(path)
      params = load.fit(flat, like, path)
    except BadInput as error:
      assert '\n' not in str(error), (i, str(error))
      refused += 1
      continue
    except Exception as error:
      raise AssertionError(f'mutation {i} of {kind} ends in {error!r}') from error
    assert jax.tree.map(np.shape, params) == jax.tree.map(lambda leaf: leaf.shape, like)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))
    described.build(found)  # What it says of itself is a model, too.
    json.dumps(found)
  assert refused > MUTATIONS / 10
