"""What is written for other programs comes back to the last bit, and means the same to them."""
import json
import pathlib
import subprocess
import sys

from flax import traverse_util
import jax
from jax import export as jax_export
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors

from vit_jax import calibration
from vit_jax import export
from vit_jax.errors import BadInput
from vit_jax.models import described
from vit_jax.models import variants
from vit_jax.weights import files
from vit_jax.weights import load
from vit_jax.weights import outward
from vit_jax.weights import program

FIXTURES = pathlib.Path(__file__).parents[1] / 'fixtures'
SIZE, NAMES = 16, ('cat', 'dog', 'a "third" thing')
SIZES = dict(patch_size=8, hidden_size=16, num_layers=2, num_heads=2, mlp_dim=24)
MODELS = {
    'token': {}, 'erf': {'gelu': 'erf', 'norm_eps': 1e-12}, 'distilled': {'classifier': 'distilled'},
    'gap': {'classifier': 'gap'}, 'pool_first': {'classifier': 'gap', 'pool_first': True},
    'gap+token': {'classifier': 'gap+token'}, 'sincos2d': {'classifier': 'gap', 'posemb': 'sincos2d'}}
IMAGES = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)


def make(**changes):
  """A model with random parameters, as {name: array} too."""
  model = variants.make(SIZES | changes, num_classes=3, dtype=jnp.float32)
  params = model.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)), train=False)['params']
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  leaves = [.3 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
  params = jax.tree.unflatten(tree, leaves)
  return model, params, {name: np.asarray(leaf) for name, leaf in traverse_util.flatten_dict(params, sep='/').items()}


def write(folder, form, model, flat):
  """The folder that the command writes."""
  if form == 'timm':
    named, config = outward.to_timm(flat, model, NAMES, SIZE)
    export.write_folder(folder, named, config=config)
  else:
    named, config, preprocessor = outward.to_huggingface(flat, model, NAMES, SIZE)
    export.write_folder(folder, named, config=config, preprocessor_config=preprocessor)


def logits_of(model, params):
  return np.asarray(model.apply({'params': params}, IMAGES / np.float32(127.5) - 1, train=False))


CASES = [(form, name) for form in ('timm', 'huggingface') for name in MODELS
         if (form == 'timm' and MODELS[name].get('norm_eps') is None) or
         (form == 'huggingface' and MODELS[name].get('classifier', 'token') in ('token', 'distilled'))]


@pytest.mark.parametrize(('form', 'name'), CASES)
def test_folders_come_back_to_the_last_bit(form, name, tmp_path):
  model, params, flat = make(**MODELS[name])
  write(tmp_path / 'out', form, model, flat)
  found, description, _ = load.read(tmp_path / 'out')
  for key, leaf in flat.items():
    np.testing.assert_array_equal(found[key], leaf, err_msg=key)
  assert tuple(description['class_names']) == NAMES and description['preprocessing']['image_size'] == SIZE
  again = described.build(description)
  if name == 'sincos2d':  # Fixed positions came back as a table; the function is the same.
    params = load.fit(found, variants.abstract_params(again, SIZE), '')
    np.testing.assert_allclose(logits_of(again, params), logits_of(model, traverse_util.unflatten_dict(flat, sep='/')),
                               rtol=1e-6, atol=1e-6)
  else:
    assert again == model


@pytest.mark.parametrize(('form', 'name'), CASES)
def test_the_other_program_computes_the_same(form, name, tmp_path):
  torch = pytest.importorskip('torch', reason='torch, timm and transformers are not installed')
  model, params, flat = make(**MODELS[name])
  write(tmp_path / 'out', form, model, flat)
  images = torch.tensor(IMAGES / np.float32(127.5) - 1).permute(0, 3, 1, 2)
  if form == 'timm':
    timm = pytest.importorskip('timm')
    theirs = timm.create_model(f'local-dir:{tmp_path / "out"}', pretrained=True).eval()
    found = theirs(images)
  else:
    transformers = pytest.importorskip('transformers')
    kind = json.loads((tmp_path / 'out' / 'config.json').read_text())['architectures'][0]
    theirs = getattr(transformers, kind).from_pretrained(tmp_path / 'out').eval()
    found = theirs(images).logits
  np.testing.assert_allclose(found.detach().numpy(), logits_of(model, params), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('case', ['hf_vit_16', 'timm_token_8'])
def test_what_came_from_the_other_program_goes_back_as_it_was(case):
  """The kept files are theirs, so this needs none of them installed."""
  flat, description, _ = load.read(FIXTURES / case)
  to_theirs = outward.to_timm if case.startswith('timm') else outward.to_huggingface
  named, config, *_ = to_theirs(flat, described.build(description), description['class_names'],
                                description['preprocessing']['image_size'])
  theirs = safetensors.load_file(FIXTURES / case / 'model.safetensors')
  assert named.keys() == theirs.keys()
  for name, leaf in theirs.items():
    np.testing.assert_array_equal(named[name], leaf, err_msg=name)
  kept = json.loads((FIXTURES / case / 'config.json').read_text(encoding='utf-8'))
  if case.startswith('timm'):
    args = {name: value for name, value in config['model_args'].items() if name in kept['model_args']}
    assert len(args) >= 5 and args | {'img_size': [args['img_size']] * 2} == {
        name: kept['model_args'][name] for name in args}
  else:
    for key in ('architectures', 'model_type', 'hidden_size', 'num_hidden_layers', 'num_attention_heads',
                'intermediate_size', 'image_size', 'patch_size', 'hidden_act', 'layer_norm_eps', 'id2label'):
      assert json.loads(json.dumps(config[key])) == kept[key], key


@pytest.mark.parametrize(('changes', 'message'), [
    ({'gelu': 'erf'}, "gelu='erf'"), ({'classifier': 'gap+token'}, "classifier='gap\\+token'"),
    ({'classifier': 'gap', 'pool_first': True}, 'pool_first=True'), ({'norm_eps': 1e-12}, 'norm_eps=1e-12'),
    ({'classifier': 'gap', 'posemb': 'sincos2d'}, 'data.image_size=16')])
def test_a_npz_that_would_be_read_as_another_model_is_not_written(changes, message):
  model, _, flat = make(**changes)
  with pytest.raises(BadInput, match=f'cannot say that the model has {message}, and would be read as another'):
    outward.check_npz(flat, model, SIZE)


@pytest.mark.parametrize('changes', [{}, {'classifier': 'gap'}, {'classifier': 'distilled'}, {
    'representation_size': 8}])
def test_a_npz_is_read_as_the_model_that_it_was(changes, tmp_path):
  model, _, flat = make(**changes)
  outward.check_npz(flat, model, SIZE)
  np.savez(tmp_path / 'w.npz', **flat)
  _, description, _ = load.read(tmp_path / 'w.npz')
  assert described.build(description) == model and description['preprocessing']['image_size'] == SIZE


@pytest.mark.parametrize(('form', 'model', 'message'), [
    ('timm', variants.build('small-conv', num_classes=3), 'no model with convolutions like this one; --format=vit_jax'),
    ('huggingface', variants.build('resnet-small', num_classes=3), 'no model with convolutions'),
    ('timm', variants.make(SIZES | {'representation_size': 4}, num_classes=3, dtype=jnp.float32), 'pre_logits'),
    ('timm', variants.make(SIZES | {'classifier': 'token+dist'}, num_classes=3, dtype=jnp.float32), 'timm has no'),
    ('timm', variants.make(SIZES | {'norm_eps': 1e-12}, num_classes=3, dtype=jnp.float32), 'an ε of 1e-6'),
    ('huggingface', variants.make(SIZES | {'classifier': 'gap'}, num_classes=3, dtype=jnp.float32),
     "no ViT with model.classifier='gap'"),
])
def test_what_has_no_place_there(form, model, message):
  with pytest.raises(BadInput, match=message):
    (outward.to_timm if form == 'timm' else outward.to_huggingface)({}, model, NAMES, SIZE)


@pytest.mark.slow
@pytest.mark.parametrize('changes', [{}, {'classifier': 'gap', 'posemb': 'sincos2d', 'stem': 'conv', 'patch_size': 2,
                                          'stem_channels': (8,), 'conv_positions': True}])
def test_a_program_answers_any_number_of_pictures(changes):
  model, params, _ = make(**changes)
  answer = jax_export.deserialize(bytearray(program.stablehlo(model, params, SIZE))).call
  logits = logits_of(model, params).astype(np.float64)
  want = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  for count in (1, 3):
    np.testing.assert_allclose(answer(IMAGES[:count]), want[:count], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('changes', [
    {}, {'classifier': 'gap', 'stem': 'conv', 'patch_size': 2, 'stem_channels': (8,), 'conv_positions': True},
    {'classifier': 'distilled'}, 'resnet-small'])
def test_an_onnx_program_answers_in_another_runtime(changes):
  pytest.importorskip('jax2onnx', reason="jax2onnx is not installed: pip install 'vit_jax[onnx]'")
  import onnxruntime
  if changes == 'resnet-small':
    model = variants.build(changes, num_classes=3)
    params = model.init(jax.random.key(0, impl='rbg'), jnp.zeros((1, SIZE, SIZE, 3)), train=False)['params']
  else:
    model, params, _ = make(**changes)
  session = onnxruntime.InferenceSession(program.onnx(model, params, SIZE), providers=['CPUExecutionProvider'])
  logits = logits_of(model, params).astype(np.float64)
  want = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  for count in (1, 3):
    found, = session.run(['probabilities'], {'pictures': IMAGES[:count]})
    np.testing.assert_allclose(found, want[:count], rtol=1e-4, atol=1e-6)


def test_onnx_names_what_it_needs(monkeypatch):
  monkeypatch.setitem(sys.modules, 'jax2onnx', None)
  with pytest.raises(BadInput, match=r"ONNX needs jax2onnx: pip install 'vit_jax\[onnx\]'"):
    program.onnx(None, None, SIZE)


@pytest.fixture
def weights(tmp_path):
  model, _, flat = make()
  files.save(tmp_path / 'w.safetensors', traverse_util.unflatten_dict(flat, sep='/'),
             described.describe(model, NAMES, SIZE), 'made by a test',
             calibrated=calibration.Calibration(temperature=.5))
  return tmp_path / 'w.safetensors'


def command(*arguments):
  return subprocess.run([sys.executable, '-m', 'vit_jax.export', *map(str, arguments)], capture_output=True, text=True,
                        check=False)


@pytest.mark.slow
def test_the_command_writes_each_form(weights, tmp_path):
  _, params, flat = make()
  for name, more in [('a.npz', ()), ('folder', ('--format=timm',)), ('a.stablehlo', ())]:
    done = command(weights, tmp_path / name, *more)
    assert done.returncode == 0, done.stderr
    assert f'made by a test -> {tmp_path / name}, 0.' in done.stdout
  with np.load(tmp_path / 'a.npz') as found:
    assert set(found) == set(flat)
    for key, leaf in flat.items():
      np.testing.assert_array_equal(found[key], leaf)
  np.testing.assert_array_equal(load.read(tmp_path / 'folder')[0]['head/kernel'], flat['head/kernel'])
  beside = json.loads((tmp_path / 'a.stablehlo.json').read_text())
  assert beside['class_names'] == list(NAMES)
  # As the file beside it says, in a Python that has never heard of this package.
  code = f'import jax, numpy; pictures = numpy.zeros((2, {SIZE}, {SIZE}, 3), "uint8"); print({beside["run"]}.tolist())'
  alone = subprocess.run([sys.executable, '-P', '-c', code], cwd=tmp_path, capture_output=True, text=True, check=True)
  black = variants.make(SIZES, num_classes=3, dtype=jnp.float32).apply(
      {'params': params}, -jnp.ones((2, SIZE, SIZE, 3)), train=False)
  np.testing.assert_allclose(json.loads(alone.stdout), jax.nn.softmax(black / .5), rtol=1e-4)


@pytest.mark.parametrize(('name', 'more', 'message'), [
    ('out', (), 'must be a file ending in .safetensors, .npz, .stablehlo, .onnx, or a folder with --format=timm'),
    ('out.npz', ('--format=stablehlo',), 'must be a file ending in .stablehlo for --format=stablehlo'),
    ('.', ('--format=timm',), 'exists already; name a new folder'),
    ('none/out.npz', (), 'must be in a folder that exists')])
def test_places_that_cannot_be_written(weights, tmp_path, name, more, message):
  done = command(weights, tmp_path / name, *more)
  assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
  assert sorted(path.name for path in tmp_path.iterdir()) == ['w.safetensors']


def test_somebody_elses_file_is_not_taken_for_the_description_of_a_program(weights, tmp_path):
  (tmp_path / 'w.onnx.json').write_text('mine')
  done = command(weights, tmp_path / 'w.onnx')
  assert done.returncode == 2 and 'w.onnx.json exists already, and would describe the program' in done.stderr
  assert (tmp_path / 'w.onnx.json').read_text() == 'mine' and not (tmp_path / 'w.onnx').exists()
