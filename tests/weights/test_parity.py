"""What other programs compute with their weights, the models here compute with the same files.

The fixtures of tests/fixtures are compared everywhere; where torch, timm and transformers are installed, the same
models are made anew and compared live. The original ViT code's numbers are those of tests/golden.
"""
import functools
import importlib.util
import json
import pathlib

import jax
import numpy as np
import pytest

from vit_jax import predictor
from vit_jax.models import described
from vit_jax.models import variants
from vit_jax.models import vit
from vit_jax.weights import load

TESTS = pathlib.Path(__file__).parents[1]
FIXTURES, GOLDEN = TESTS / 'fixtures', TESTS / 'golden'
CASES = sorted(path.parent.name for path in FIXTURES.glob('*/io.npz'))
GOLDEN_CASES = json.loads((GOLDEN / 'cases.json').read_text())
TOLERANCE = 1e-5


@pytest.fixture(params=['kept', 'live'])
def fixtures(request):
  """The folder of fixtures: the kept one, or one that the installed libraries have just made."""
  return FIXTURES if request.param == 'kept' else request.getfixturevalue('made_now')


@pytest.fixture(scope='session')
def made_now(tmp_path_factory):
  """Runs tests/fixtures/make.py once: -> its folder."""
  for library in ('torch', 'timm', 'transformers'):
    if not importlib.util.find_spec(library):
      pytest.skip(f'{library} is not installed; the kept fixtures are compared instead')
  spec = importlib.util.spec_from_file_location('make_fixtures', FIXTURES / 'make.py')
  maker = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(maker)
  folder = tmp_path_factory.mktemp('live')
  maker.make(folder)
  return folder


def numbers(path):
  """The arrays of an .npz, with u8 pictures as f32 in [-1, 1]."""
  arrays = dict(np.load(path))
  return {name: (leaf / 127.5 - 1).astype(np.float32) if leaf.dtype == np.uint8 else leaf
          for name, leaf in arrays.items()}


def opened(path, size=None, **more):
  """Weights in the model that they describe, or in one for pictures of another size: -> model, parameters."""
  flat, description, _ = load.read(path)
  model = described.build(description)
  like = variants.abstract_params(model, size or description['preprocessing']['image_size'])
  return model, load.fit(flat, like, path, **more)


def relative_error(got, want):
  assert got.shape == want.shape
  return np.abs(np.asarray(got) - want).max() / np.abs(want).max()


def forward(model, params, images, **more):
  return jax.jit(functools.partial(model.apply, train=False, **more))({'params': params}, images)


@pytest.mark.parametrize('case', CASES)
def test_logits_and_tokens_are_theirs(fixtures, case):
  recorded = numbers(fixtures / case / 'io.npz')
  model, params = opened(fixtures / case)
  answers, state = forward(model, params, recorded['image'], capture_intermediates=True, mutable='intermediates')
  assert relative_error(answers, recorded['logits' if model.num_classes else 'features']) < TOLERANCE
  if 'tokens' in recorded and not model.pool_first:  # Otherwise theirs are those before the last norm.
    tokens = state['intermediates']['Transformer']['encoder_norm']['__call__'][0]
    assert relative_error(tokens, recorded['tokens']) < TOLERANCE


@pytest.mark.parametrize('case', ['timm_distilled_16', 'hf_deit_teacher_8'])
def test_training_sees_both_heads_of_deit_and_evaluation_their_mean(fixtures, case):
  recorded = numbers(fixtures / case / 'io.npz')
  model, params = opened(fixtures / case)
  logits, distilled = model.apply({'params': params}, recorded['image'], train=True)
  assert relative_error(np.stack([logits, distilled]), recorded['both']) < TOLERANCE
  assert relative_error((logits + distilled) / 2, recorded['logits']) < TOLERANCE


@pytest.mark.parametrize(('which', 'size'), [('larger', 48), ('smaller', 16)])
def test_bicubic_positions_are_those_of_dynamic_img_size(fixtures, which, size):
  recorded = numbers(fixtures / 'timm_token_8' / 'io.npz')
  model, params = opened(fixtures / 'timm_token_8', size, positions='bicubic')
  assert relative_error(forward(model, params, recorded[f'{which}_image']), recorded[f'{which}_logits']) < TOLERANCE


@pytest.mark.parametrize('case', [name for name, case in GOLDEN_CASES.items() if 'weights' not in case])
def test_published_files_give_the_original_codes_numbers(case):
  recorded = numbers(GOLDEN / f'{case}_io.npz')
  model, params = opened(GOLDEN / f'{case}_weights.npz')
  config = GOLDEN_CASES[case]
  assert (model.num_heads, model.classifier) == (config['transformer']['num_heads'], config['classifier'])
  assert model.representation_size == (config['representation_size'] or 0)
  logits, state = forward(model, params, recorded['image'], capture_intermediates=True, mutable='intermediates')
  inside = state['intermediates']
  seen = {'logits': logits, 'embedding': inside['embedding']['__call__'][0]}
  seen |= {name: inside['Transformer'][name]['__call__'][0] for name in ('encoderblock_0', 'encoder_norm')}
  for name, value in seen.items():
    assert relative_error(value, recorded[name]) < TOLERANCE, name


@pytest.mark.parametrize('case', [name for name, case in GOLDEN_CASES.items() if 'weights' in case])
def test_fine_tuning_starts_where_the_original_code_starts(case):
  config, recorded = GOLDEN_CASES[case], numbers(GOLDEN / f'{case}_io.npz')
  model = vit.VisionTransformer(**config['transformer'], num_classes=config['num_classes'], patch_size=8,
                                hidden_size=config['hidden_size'], classifier=config['classifier'])
  params = load.load_weights(GOLDEN / config['weights'], variants.abstract_params(model, config['image_size']))
  positions = params['Transformer']['posembed_input']['pos_embedding']
  assert relative_error(positions, recorded['pos_embedding']) < TOLERANCE
  assert not params['head']['kernel'].any() and not params['head']['bias'].any()
  params['head'] = {'kernel': recorded['head_kernel'], 'bias': recorded['head_bias']}
  assert relative_error(forward(model, params, recorded['image']), recorded['logits']) < TOLERANCE


@pytest.mark.parametrize(('case', 'names'), [
    ('timm_token_8', ('kind 0', 'kind 4')), ('hf_vit_16', ('kind 0', 'kind 4')), ('golden', ('0', '9'))])
def test_a_predictor_opens_them_with_the_names_of_their_classes(case, names):
  path = GOLDEN / 'token_weights.npz' if case == 'golden' else FIXTURES / case / 'model.safetensors'
  found = predictor.Predictor.load(path)
  assert (found.class_names[0], found.class_names[-1], found.image_size) == (*names, 32)
  if case == 'golden':
    return
  recorded = np.load(FIXTURES / case / 'io.npz')
  want = np.exp(recorded['logits']) / np.exp(recorded['logits']).sum(axis=1, keepdims=True)
  np.testing.assert_allclose(found.answer(recorded['image']).probabilities, want, rtol=1e-4)


def test_the_fixtures_say_who_made_them_and_are_small():
  versions = json.loads((FIXTURES / 'versions.json').read_text())
  assert {'torch', 'timm', 'transformers'} <= versions.keys()
  assert sum(path.stat().st_size for path in FIXTURES.rglob('*') if path.is_file()) < 2_000_000


def test_no_parameter_of_the_fixtures_is_idle():
  # Or a mistake in reading it would not be seen: no array is constant.
  for case in CASES:
    flat = load.read(FIXTURES / case)[0]
    zero_rows = {name for name, leaf in flat.items() if np.ptp(leaf) == 0}
    assert not zero_rows, (case, zero_rows)
