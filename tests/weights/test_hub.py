"""Names on the Hugging Face Hub, against a folder laid out as its cache, and without a network."""
import os
import subprocess
import sys

from flax import traverse_util
import numpy as np
import pytest

from vit_jax.errors import BadInput
from vit_jax.weights import hub
from vit_jax.weights import load

pytest.importorskip('huggingface_hub', reason='the extra hub is not installed')
COMMIT = '0123456789abcdef0123456789abcdef01234567'
# The settings are read when the package is imported, so that each look is a process of its own.
LOOK = 'import sys; from vit_jax.weights import load; print(load.read(sys.argv[1])[2])'


def look(name, cache):
  return subprocess.run([sys.executable, '-c', LOOK, name], capture_output=True, text=True, check=False,
                        env={**os.environ, 'HF_HUB_CACHE': str(cache), 'HF_HUB_OFFLINE': '1'})


@pytest.fixture
def cache(tmp_path):
  """A cache that holds one model, as the Hub's client lays it out."""
  from safetensors import numpy as safetensors
  model = tmp_path / 'models--someone--tiny'
  snapshot = model / 'snapshots' / COMMIT
  snapshot.mkdir(parents=True)
  (model / 'refs').mkdir()
  (model / 'refs' / 'main').write_text(COMMIT)
  rng = np.random.default_rng(0)
  d, m = 64, 8
  shapes = {'patch_embed.proj.weight': (d, 3, 4, 4), 'patch_embed.proj.bias': (d,), 'cls_token': (1, 1, d),
            'pos_embed': (1, 5, d), 'norm.weight': (d,), 'norm.bias': (d,), 'head.weight': (2, d), 'head.bias': (2,),
            'blocks.0.norm1.weight': (d,), 'blocks.0.norm1.bias': (d,), 'blocks.0.norm2.weight': (d,),
            'blocks.0.norm2.bias': (d,), 'blocks.0.attn.qkv.weight': (3 * d, d), 'blocks.0.attn.qkv.bias': (3 * d,),
            'blocks.0.attn.proj.weight': (d, d), 'blocks.0.attn.proj.bias': (d,), 'blocks.0.mlp.fc1.weight': (m, d),
            'blocks.0.mlp.fc1.bias': (m,), 'blocks.0.mlp.fc2.weight': (d, m), 'blocks.0.mlp.fc2.bias': (d,)}
  flat = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
  safetensors.save_file(flat, snapshot / 'model.safetensors')
  (snapshot / 'config.json').write_text('{"architecture": "vit_tiny_patch16_224"}')
  return tmp_path


def test_what_is_in_the_cache_is_found_without_a_network(cache):
  for name in ('hf://someone/tiny', f'hf://someone/tiny@{COMMIT}'):
    done = look(name, cache)
    assert done.returncode == 0 and 'timm' in done.stdout, done.stderr
  flat, _, _ = load.read(cache / 'models--someone--tiny' / 'snapshots' / COMMIT)
  assert 'head' in traverse_util.unflatten_dict(flat, sep='/')


def test_what_is_not_there_is_said_in_a_line(cache):
  done = look('hf://someone/else', cache)
  assert done.returncode == 1
  assert 'BadInput: hf://someone/else can neither be downloaded nor found in the cache' in done.stderr
  assert 'give a folder that holds config.json and model.safetensors' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize('name', ['hf://', 'hf://tiny', 'hf://a/b/c', 'hf://someone/tiny@'])
def test_names_that_are_none(name):
  with pytest.raises(BadInput, match='must be of the form hf://owner/name'):
    hub.fetch(name)


def test_without_the_extra_the_way_to_it_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  with pytest.raises(BadInput, match=r"pip install 'vit_jax\[hub\]'"):
    hub.fetch('hf://someone/tiny')


def test_a_model_that_is_a_pickle_only_is_refused_with_the_reason(cache):
  (cache / 'models--someone--tiny' / 'snapshots' / COMMIT / 'model.safetensors').unlink()
  done = look('hf://someone/tiny', cache)
  assert 'BadInput: hf://someone/tiny holds no model.safetensors; pytorch_model.bin, a pickle' in done.stderr
