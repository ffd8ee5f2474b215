"""Weights go out and come back bit for bit; what does not fit is named."""
import contextlib
import json
import pathlib
import subprocess
import sys

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors import numpy as safetensors

from configs import digits
from vit_jax import checkpoint
from vit_jax import digests
from vit_jax import run
from vit_jax import step
from vit_jax.errors import BadInput
from vit_jax.models import described
from vit_jax.models import variants
from vit_jax.weights import files
from vit_jax.weights import load

ROOT = pathlib.Path(__file__).parents[2]


def make(num_classes=3, **sizes):
  sizes = dict(hidden_size=16, mlp_dim=32, num_layers=1) | sizes
  return variants.build('small-digits', num_classes=num_classes, image_size=8, **sizes)


MODEL = json.loads(json.dumps(described.describe(make(), 'abc', 8)))


def first_params(model, seed):
  params = model.init(jax.random.key(seed), jnp.zeros((1, 8, 8, 3)), train=False)['params']
  leaves, tree = jax.tree.flatten(params)  # Random everywhere: biases and the head start at zero.
  keys = jax.random.split(jax.random.key(seed + 100), len(leaves))
  return jax.tree.unflatten(tree, [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)])


def assert_equal(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.fixture
def file(tmp_path):
  files.save(tmp_path / 'w.safetensors', first_params(make(), 0), MODEL, 'made by a test')
  return tmp_path / 'w.safetensors'


def test_a_file_comes_back_to_the_last_bit(file):
  expected = first_params(make(), 0)
  assert_equal(load.load_weights(file, first_params(make(), 1)), expected)
  _, model, about = load.read(file)
  assert (model, about) == (MODEL, 'made by a test')
  # Another program reads the same under the published names.
  others = safetensors.load_file(file)
  kernel = 'Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel'
  np.testing.assert_array_equal(others[kernel], traverse_util.flatten_dict(expected, sep='/')[kernel])


def test_bfloat16_takes_half_the_room_and_rounds(file, tmp_path):
  expected = first_params(make(), 0)
  files.save(tmp_path / 'half.safetensors', expected, MODEL, '', 'bfloat16')
  found = load.load_weights(tmp_path / 'half.safetensors', expected)
  assert_equal(found, jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16).astype(jnp.float32), expected))
  assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(found))
  assert (tmp_path / 'half.safetensors').stat().st_size < .7 * file.stat().st_size


def test_a_head_for_other_classes_starts_anew(file):
  like = first_params(make(num_classes=5), 1)
  expected = first_params(make(), 0) | {'head': like['head']}
  assert_equal(load.load_weights(file, like), expected)
  without = {name: leaf for name, leaf in like.items() if name != 'head'}
  assert 'head' not in load.load_weights(file, without)


def test_what_does_not_fit_is_named(file):
  with pytest.raises(BadInput) as error:
    load.load_weights(file, first_params(make(mlp_dim=48, num_layers=2), 1))
  for text in ('Transformer/encoderblock_1/LayerNorm_0/scale is missing', 'model.variant', '; and 14 more'):
    assert text in str(error.value)
  with pytest.raises(BadInput, match=r'Dense_0/kernel is \(16, 32\) there and \(16, 48\) in the model'):
    load.load_weights(file, first_params(make(mlp_dim=48), 1))
  with pytest.raises(BadInput, match='stem_conv_0/kernel is not part of the model'):
    files.save(file, first_params(make(), 0) | {'stem_conv_0': {'kernel': jnp.zeros(3)}}, MODEL, '')
    load.load_weights(file, first_params(make(), 1))


def test_cut_files_are_refused(file):
  whole = file.read_bytes()
  for length in (4, 100, len(whole) // 2, len(whole) - 1):
    file.write_bytes(whole[:length])
    with pytest.raises(BadInput, match='can be read'):
      load.read(file)


@pytest.mark.parametrize('path', ['no/such/place', 'gone.safetensors', 'nonsense'])
def test_places_that_are_none(path):
  with pytest.raises(BadInput, match=f"weights '{path}' do not exist; name a run folder or a .safetensors file"):
    load.read(path)


@pytest.mark.parametrize('damage', [
    {'sizes': {}}, {'sizes': 7}, {'sizes': MODEL['sizes'] | {'width': 3}}, {'dtype': 'float33'}, {'class_names': None},
    {'preprocessing': {}}, {'preprocessing': {'image_size': 'large'}}])
def test_a_damaged_description_is_refused(file, damage):
  files.save(file, first_params(make(), 0), MODEL | damage, '')
  with pytest.raises(BadInput, match='its description is damaged'):
    load.read(file)
  files.save(file, first_params(make(), 0), None, 'bare')
  assert load.read(file)[1:] == (None, 'bare')


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_warned_of(file, value, caplog):
  params = first_params(make(), 0)
  kernel, bias = params['head']['kernel'], params['head']['bias']
  with caplog.at_level('WARNING'):
    load.read(file)
    assert not caplog.text
    # Both signs, whose sum numpy would warn of in its own way.
    params['head'] = {'kernel': kernel.at[0, :2].set(jnp.array([value, -value])), 'bias': bias.at[:].set(value)}
    files.save(file, params, MODEL, '')
    load.read(file)
  assert f'{file} holds numbers that are not finite, in 2 of 22 arrays: head/bias, head/kernel' in caplog.text


def test_the_error_says_what_variant_the_weights_are_of():
  flat = {name: np.broadcast_to(np.float32(0), leaf.shape) for name, leaf in traverse_util.flatten_dict(
      variants.abstract_params(variants.build('ViT-S_16', num_classes=2), 32), sep='/').items()}
  like = variants.abstract_params(variants.build('ViT-S_32', num_classes=2), 32)
  with pytest.raises(BadInput, match=r'the same --config.model.variant\? They are of ViT-S_16: embedding/kernel is'):
    load.fit(flat, like, 'w')


def test_a_run_folder_gives_the_running_mean_of_its_newest_whole_checkpoint(tmp_path):
  model, tx = make(), optax.adamw(1e-3)
  folder = run.RunFolder(tmp_path / 'run')
  folder.create(digits.get_config(), MODEL, {'fingerprint': '', 'counts': {}, 'class_names': []})
  state = step.create_state(model, tx, jax.random.key(0), 8)
  with contextlib.closing(folder.checkpoints(keep=3)) as manager:
    for number in (10, 20):
      checkpoint.save(manager, number, state.replace(ema=first_params(model, number)))
    manager.wait_until_finished()
  assert_equal(load.load_weights(tmp_path / 'run', state.params), first_params(model, 20))
  export = [sys.executable, '-m', 'vit_jax.export', str(tmp_path / 'run'), str(tmp_path / 'out.safetensors')]
  done = subprocess.run([*export, '--about=for a friend'], cwd=ROOT, capture_output=True, text=True, check=False)
  assert (done.returncode, done.stdout.split(' -> ')[0]) == (0, f'step 20 of {tmp_path}/run'), done.stderr
  assert_equal(load.load_weights(tmp_path / 'out.safetensors', state.params), first_params(model, 20))
  assert load.read(tmp_path / 'out.safetensors')[1:] == (MODEL, 'for a friend')
  # Without the newest one's digests, the one before it counts.
  (tmp_path / 'run' / 'checkpoints' / '20' / digests.NAME).unlink()
  assert_equal(load.load_weights(tmp_path / 'run', state.params), first_params(model, 10))


@pytest.mark.parametrize(('arguments', 'message'), [
    ([], 'name a run folder and the file to write'), (['run', 'out.txt'], 'must be a file ending in .safetensors'),
    (['run', 'no/such/out.safetensors'], 'in a folder that exists'), (['.', 'out.safetensors'], 'is not a run'),
])
def test_a_mistake_in_exporting_is_one_line(arguments, message):
  done = subprocess.run([sys.executable, '-m', 'vit_jax.export', *arguments], cwd=ROOT, capture_output=True, text=True,
                        check=False)
  assert done.returncode == 2 and done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
  assert message in done.stderr


def test_shipped_weights_are_found_beside_a_folder_of_their_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'cifar10').mkdir()  # As data are, once unpacked.
  assert load.read('cifar10')[1]['class_names'][3] == 'cat'
  with pytest.raises(BadInput, match=r'cifar10 is not a run of vit_jax: model\.json is missing'):
    load.read('./cifar10')
