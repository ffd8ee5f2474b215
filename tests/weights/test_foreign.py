"""Whose weights these are, what model they are of, and what of it is not read."""
import json
import pathlib
import subprocess
import sys

from flax import traverse_util
import jax
import numpy as np
import pytest
from safetensors import numpy as safetensors

from vit_jax.errors import BadInput
from vit_jax.models import variants
from vit_jax.weights import beside
from vit_jax.weights import foreign
from vit_jax.weights import huggingface
from vit_jax.weights import load
from vit_jax.weights import sizes
from vit_jax.weights import timm

TESTS = pathlib.Path(__file__).parents[1]
FIXTURES, GOLDEN = TESTS / 'fixtures', TESTS / 'golden'
PUBLISHED = json.loads((GOLDEN / 'published_variants.json').read_text())


def golden(name='token'):
  return dict(np.load(GOLDEN / f'{name}_weights.npz'))


def copied(folder, case, change=lambda flat: flat, **files):
  """A fixture in a folder of its own, with its arrays changed, and keys of its JSON files."""
  folder = folder / case
  folder.mkdir()
  safetensors.save_file(change(safetensors.load_file(FIXTURES / case / 'model.safetensors')),
                        folder / 'model.safetensors')
  for path in (FIXTURES / case).glob('*.json'):
    value = json.loads(path.read_text()) | files.get(path.stem, {})
    (folder / path.name).write_text(json.dumps(value))
  return folder


def read_npz(folder, flat):
  np.savez(folder / 'w.npz', **flat)
  return load.read(folder / 'w.npz')


@pytest.mark.parametrize('name', PUBLISHED)
def test_a_published_model_is_known_by_its_parameters(name):
  # Arrays of these shapes that take no memory.
  flat = {key: np.broadcast_to(np.float32(0), shape) for key, shape in PUBLISHED[name]['params'].items()}
  found = sizes.infer(flat, {})
  assert sizes.variant(found) == name
  assert (found['num_classes'], found['representation_size']) == (1000, 0)
  assert sizes.variant(found | {'num_heads': found['num_heads'] + 1}) == ''


@pytest.mark.parametrize(('width', 'layers', 'mlp', 'heads'), [
    (192, 12, 768, 3), (1280, 32, 5120, 16), (1024, 24, 4096, 16), (128, 1, 128, 2),
    (1408, 40, 6144, 16), (1664, 48, 8192, 16), (1152, 27, 4304, 16)])  # Zhai et al. 2022, table 2; So400m
def test_heads_where_nothing_says_how_many(width, layers, mlp, heads):
  assert sizes.num_heads(None, width, layers, mlp) == heads
  with pytest.raises(BadInput, match='how many heads share the 100 features; put its config'):
    sizes.num_heads(None, 100, layers, mlp)


@pytest.mark.parametrize(('change', 'message'), [
    (lambda flat: flat | {'MAPHead_0/probe': np.zeros((1, 1, 48))}, 'pools by attention'),
    (lambda flat: flat | {'surplus': np.zeros(3)}, 'surplus is not part of the model'),
    (lambda flat: flat | {'head/bias': np.zeros(11)}, r'head/bias is \(11,\) there and \(10,\) in the model'),
    (lambda flat: flat | {sizes.POSITIONS: np.zeros((1, 15, 48))}, 'no square grid'),
    (lambda flat: flat | {'embedding/kernel': np.zeros((8, 8, 3))}, r'embedding/kernel is \(8, 8, 3\); .* 4 axes'),
    (lambda flat: flat | {'embedding/kernel': np.zeros((8, 4, 3, 48))}, r'embedding/kernel is \(8, 4, 3, 48\) there'),
    (lambda flat: {name: leaf for name, leaf in flat.items() if 'head' not in name} | {'head/bias': np.zeros(2)},
     'head/bias is not part of the model'),
    (lambda flat: {name: leaf for name, leaf in flat.items() if 'MlpBlock' not in name}, 'Dense_0/kernel is missing'),
    (lambda flat: {name.replace('block_1', 'block_7'): leaf for name, leaf in flat.items()},
     'encoderblock_1/LayerNorm_0/bias is missing; .* and 27 more'),
    (lambda flat: {'x': np.zeros(3)}, 'its names are those of no ViT: x$'),
    (lambda flat: {}, 'its names are those of no ViT: there are none$'),
    (lambda flat: {'patch_embed.backbone.stem.conv.weight': np.zeros(3)}, "timm's hybrids are not read"),
])
def test_what_is_no_whole_model_is_refused(tmp_path, change, message):
  with pytest.raises(BadInput, match=message) as error:
    read_npz(tmp_path, change(golden()))
  assert str(error.value).startswith(f'the weights of {tmp_path / "w.npz"} are not those of a ViT that vit_jax has: ')


@pytest.mark.parametrize(('case', 'files', 'message'), [
    ('timm_token_8', {'config': {'model_args': {'num_heads': 5}}}, 'the 5 heads of its config.json do not divide'),
    ('timm_token_8', {'config': {'model_args': {'num_heads': 'x'}}}, "num_heads='x' in config.json must be a whole"),
    ('timm_token_8', {'config': {'model_args': {}}}, 'nothing says how many heads share the 24 features'),
    ('timm_token_8', {'config': {'model_args': 7}}, 'model_args=7 in config.json must be a JSON object'),
    ('timm_token_8', {'config': {'global_pool': 'map', 'model_args': {'num_heads': 3}}}, "pools by 'map' with a class"),
    ('timm_token_8', {'config': {'model_args': {'num_heads': 3, 'act_layer': 'relu'}}}, "activation is 'relu'"),
    ('timm_token_8', {'config': {'pretrained_cfg': {'mean': [0, 0]}}}, r'mean=\[0, 0\] must be three numbers'),
    ('timm_token_8', {'config': {'pretrained_cfg': {'std': [0, 1, 1]}}}, r'std=\[0, 1, 1\] must be three'),
    ('timm_token_8', {'config': {'label_names': ['a']}}, 'config.json names 1 classes, and the arrays have 5'),
    ('timm_token_8', {'config': {'global_pool': ['avg'], 'model_args': {'num_heads': 3}}}, 'must be a text'),
    ('hf_vit_16', {'config': {'hidden_act': 'relu'}}, "hidden_act='relu'"),
    ('hf_vit_16', {'config': {'hidden_act': ['gelu']}}, 'must be a text'),
    ('hf_vit_model_8', {'config': {'pooler_act': 'relu'}}, "pooler_act='relu'"),
    ('hf_vit_16', {'config': {'layer_norm_eps': -1}}, 'layer_norm_eps=-1 in config.json must be a number above 0'),
    ('hf_vit_16', {'config': {'hidden_size': 768}}, 'hidden_size is 768, and the arrays that it is 24'),
    ('hf_vit_16', {'config': {'num_attention_heads': 7}}, 'the 7 heads of its config.json do not'),
    ('hf_vit_16', {'config': {'id2label': {'1': 'a'}}}, 'id2label in config.json must name the classes 0 to 0'),
    ('hf_vit_16', {'preprocessor_config': {'image_std': 'x'}}, "image_std='x' must be three numbers"),
])
def test_a_config_of_something_else_is_refused(tmp_path, case, files, message):
  with pytest.raises(BadInput, match=message):
    load.read(copied(tmp_path, case, **files))


def test_broken_json_is_named(tmp_path):
  folder = copied(tmp_path, 'hf_vit_16')
  for content in ('{', '[]', '[' * 100_000):
    (folder / 'config.json').write_text(content)
    with pytest.raises(BadInput, match=r'config\.json is damaged'):
      load.read(folder)


def test_without_config_what_is_assumed_is_said(tmp_path):
  flat = {name: np.zeros(leaf, np.float32) for name, leaf in {
      'patch_embed.proj.weight': (64, 3, 4, 4), 'blocks.0.mlp.fc1.weight': (128, 64),
      'blocks.0.attn.qkv.weight': (192, 64), 'dist_token': (1, 1, 64)}.items()}
  found = timm.read(flat, {})
  assert found.flat['Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel'].shape == (64, 1, 64)
  assert (found.note, found.normalization) == ('no config.json says which mean and std its pixels had', beside.IMAGENET)
  folder = copied(tmp_path, 'hf_deit_8')
  (folder / 'preprocessor_config.json').unlink()
  assert 'no preprocessor_config.json says which mean' in load.read(folder)[2]


@pytest.mark.parametrize(('case', 'config', 'gelu', 'eps'), [
    ('timm_token_8', {'model_args': {'num_heads': 3}}, 'erf', 1e-6),
    ('timm_token_8', {'model_args': {'num_heads': 3, 'act_layer': 'gelu_tanh'}}, 'tanh', 1e-6),
    ('hf_vit_16', {}, 'erf', 1e-12), ('hf_vit_16', {'hidden_act': 'gelu_new', 'layer_norm_eps': 1e-5}, 'tanh', 1e-5)])
def test_each_librarys_gelu_and_epsilon_are_the_models(tmp_path, case, config, gelu, eps):
  found = load.read(copied(tmp_path, case, config=config))[1]['sizes']
  assert (found['gelu'], found['norm_eps']) == (gelu, eps)


@pytest.mark.parametrize(('name', 'heads', 'gelu'), [
    ('test_vit', 2, 'erf'), ('vit_base_patch16_gap_224', 16, 'erf'), ('vit_base_patch16_224', 1, 'erf'),
    ('vit_giantopt_patch16_siglip_gap_256', 16, 'tanh'), ('vit_so400m_patch16_siglip_gap_384', 1, 'tanh')])
def test_what_timms_functions_say_and_its_config_need_not(name, heads, gelu):
  flat = {key: np.zeros(leaf, np.float32) for key, leaf in {
      'patch_embed.proj.weight': (64, 3, 4, 4), 'blocks.0.mlp.fc1.weight': (128, 64),
      'blocks.0.attn.qkv.weight': (192, 64), 'cls_token': (1, 1, 64)}.items()}
  found = timm.read(flat, {'architecture': name})
  query = found.flat['Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel']
  assert query.shape == (64, heads, 64 // heads) and found.sizes['gelu'] == gelu


def test_those_are_all_that_timm_has():
  """A newer timm may have more."""
  torch = pytest.importorskip('torch', reason='torch, timm and transformers are not installed')
  library = pytest.importorskip('timm')
  for name, heads in timm.HEADS.items():
    with torch.device('meta'):
      assert library.create_model(name).blocks[0].attn.num_heads == heads
  for name in timm.TANH:
    with torch.device('meta'):
      assert 'Tanh' in type(library.create_model(name).blocks[0].mlp.act).__name__


def test_two_last_norms_are_one_too_many(tmp_path):
  add = lambda flat: flat | {'norm.weight': flat['fc_norm.weight']}
  with pytest.raises(BadInput, match=r'norm\.weight is not part of the model'):
    load.read(copied(tmp_path, 'timm_gap_16', add))


@pytest.mark.parametrize('first', [False, True])
def test_one_parameter_under_two_names_is_refused(first):
  theirs = safetensors.load_file(FIXTURES / 'timm_token_8' / 'model.safetensors')
  ours = {'Transformer/encoder_norm/scale': theirs['norm.weight'] + 1}
  with pytest.raises(BadInput, match='Transformer/encoder_norm/scale is there under two names'):
    foreign.read(ours | theirs if first else theirs | ours, FIXTURES / 'timm_token_8' / 'model.safetensors')


def test_the_mask_token_of_pretraining_is_left_out(tmp_path):
  add = lambda flat: flat | {'vit.embeddings.mask_token': np.zeros((1, 1, 24), np.float32)}
  assert 'head/bias' in load.read(copied(tmp_path, 'hf_vit_16', add))[0]


@pytest.mark.parametrize(('processor', 'mean', 'std'), [
    ({}, .5, .5), ({'image_mean': [.4] * 3, 'image_std': [.2] * 3}, .4, .2), ({'do_normalize': False}, 0, 1),
    # Pixels of 0 to 2, and of 0 to 255.
    ({'rescale_factor': 2 / 255, 'image_mean': [1] * 3, 'image_std': [1] * 3}, .5, .5),
    ({'do_rescale': False, 'image_mean': [255] * 3, 'image_std': [51] * 3}, 1, .2)])
def test_what_a_processor_does_is_a_mean_and_a_deviation(processor, mean, std):
  np.testing.assert_allclose(huggingface.normalization(processor, deit=False), [[mean] * 3, [std] * 3], rtol=1e-12)


def test_all_blocks_are_as_the_first_one():
  model = variants.build('ViT-Ti_16', num_classes=2, num_layers=3, representation_size=5)
  want = traverse_util.flatten_dict(variants.abstract_params(model, 32), sep='/')
  assert foreign.parameters(model, 32) == want


def test_another_mean_is_folded_into_the_patches():
  rng = np.random.default_rng(0)
  kernel, bias = rng.normal(size=(2, 2, 3, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32)
  mean, std = (.1, .5, .9), (.2, .3, .4)
  flat = {'embedding/kernel': kernel, 'embedding/bias': bias}
  found = foreign.folded(beside.Found('', flat, normalization=(mean, std)))
  pixels = rng.random((2, 2, 3))
  want = np.einsum('hwc,hwcd->d', (pixels - mean) / std, kernel) + bias
  got = np.einsum('hwc,hwcd->d', 2 * pixels - 1, found.flat['embedding/kernel']) + found.flat['embedding/bias']
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_a_folder_of_pieces_or_of_a_pickle_is_refused(tmp_path):
  (tmp_path / 'model.safetensors.index.json').write_text('{}')
  with pytest.raises(BadInput, match='in several pieces'):
    load.read(tmp_path)
  (tmp_path / 'pytorch_model.bin').write_bytes(b'\x80\x02}q\x00.')
  with pytest.raises(BadInput, match='is a pickle'):
    load.read(tmp_path)


def test_arrays_are_not_copied_on_the_way():
  # Or a big model would need its memory twice.
  flat = safetensors.load_file(FIXTURES / 'hf_vit_16' / 'model.safetensors')
  found, _, _ = foreign.read(flat, FIXTURES / 'hf_vit_16' / 'model.safetensors')
  kernel = found['Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel']
  assert np.shares_memory(kernel, flat['vit.encoder.layer.0.intermediate.dense.weight'])
  assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found))


def test_a_backbone_names_no_classes_though_its_config_does(tmp_path):
  """As transformers saves the backbone of a fine-tuned classifier."""
  folder = copied(tmp_path, 'hf_vit_16')
  flat = {name: leaf for name, leaf in safetensors.load_file(folder / 'model.safetensors').items()
          if not name.startswith('classifier.')}
  safetensors.save_file(flat, folder / 'model.safetensors')
  config = json.loads((folder / 'config.json').read_text())
  (folder / 'config.json').write_text(json.dumps(config | {'id2label': {'0': 'cat', '1': 'dog'}}))
  assert load.read(folder)[1]['class_names'] == []
  with pytest.raises(BadInput, match='has no head, so it names no classes'):
    load.open_model(folder)
  done = subprocess.run([sys.executable, '-m', 'vit_jax.export', folder, tmp_path / 'w.stablehlo'], text=True,
                        capture_output=True, check=False)
  assert done.returncode == 2 and 'has no head, so that a program would answer nothing' in done.stderr
