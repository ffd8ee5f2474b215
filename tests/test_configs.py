"""Every recipe: it loads, is locked, says its command, and its keys are explained and used."""
import ast
import importlib.util
import pathlib
import re

import pytest

from configs import common
from vit_jax import config as config_lib
from vit_jax import defaults
from vit_jax.models import variants

ROOT = pathlib.Path(__file__).parents[1]
RECIPES = sorted(path for path in (ROOT / 'configs').glob('*.py') if path.stem not in ('__init__', 'common'))
KEYS = set(config_lib.flatten(common.get_config()))


def load(path):
  """The module of a recipe, read from its file as the flag --config does."""
  spec = importlib.util.spec_from_file_location(f'recipe_{path.stem}', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(params=RECIPES, ids=lambda path: path.stem)
def recipe(request):
  """One recipe's module after the other."""
  return load(request.param)


def test_there_are_recipes():
  assert {'digits', 'cifar_catdog'} <= {path.stem for path in RECIPES}


def test_recipe_has_the_keys_of_common_and_is_locked(recipe):
  config = recipe.get_config()
  assert set(config_lib.flatten(config)) == KEYS
  for part in (config, config.data, config.model, config.optim, config.augment):
    with pytest.raises(AttributeError):
      part.no_such_key = 1


def test_recipe_passes_the_checks_and_its_model_can_be_built(recipe):
  weights = {'preprocessing': {'image_size': 64}}
  config = recipe.get_config()
  if config.init is None:
    config.init = 'runs/some'
  config, _ = defaults.fill(defaults.from_weights(config, weights), 300)
  if config.model.variant is None:
    pytest.skip('the model is that of weights, see test_job.py')
  config_lib.check(config)
  sizes = config.model.to_dict()
  variants.build(sizes.pop('variant'), num_classes=2, image_size=config.data.image_size, **sizes)


def test_docstring_holds_the_command(recipe):
  name = pathlib.Path(recipe.__file__).name
  command = rf'^ *python -m vit_jax.main --config=configs/{name}( --config.(data.path|init)=\S+)?$'
  assert re.search(command, recipe.__doc__, re.MULTILINE)


def test_recipes_do_not_share_state():
  first = common.get_config()
  first.data.name = first.optim.name = 'changed'
  assert common.get_config().data.name != 'changed' != common.get_config().optim.name


def assignments():
  """The lines of common.py that set a key: {'optim.lr': line number}; sub-configs are left out."""
  [function] = [node for node in ast.parse((ROOT / 'configs/common.py').read_text()).body
                if isinstance(node, ast.FunctionDef)]
  lines = {}
  for node in ast.walk(function):
    if isinstance(node, ast.Assign) and 'ConfigDict()' not in ast.unparse(node.value):
      lines[ast.unparse(node.targets[0]).removeprefix('config.')] = node.lineno
  return lines


def test_every_key_is_explained():
  text = (ROOT / 'configs/common.py').read_text().splitlines()
  lines = assignments()
  assert lines.keys() == KEYS
  bare = {key for key, line in lines.items() if not text[line - 2].lstrip().startswith('# ')}
  assert bare <= {'epochs'}  # explained together with batch_size, on the line above


def test_every_key_is_used():
  source = '\n'.join(path.read_text() for path in (ROOT / 'vit_jax').glob('*.py'))
  read = lambda key: re.search(rf'(config|_CONFIG\.value)\.{re.escape(key)}\b', source)
  unused = {key for key in KEYS if not key.startswith('model.') and not read(key)}
  assert not unused
  # The model's keys are handed on as they are called: `variants.build` refuses one that it does not know.
  assert 'config.model.to_dict()' in source
