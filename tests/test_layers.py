"""Imports only ever point downward, and the command line is quick because it imports nothing big."""
import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# From the top: a module imports from the layers below its own only, never from its own.
LAYERS = [
    ['main', 'inspect_data', 'benchmark', 'export', 'predict', 'report', 'demo', 'sweep'],
    ['benchmarks.speed', 'benchmarks.scaling', 'benchmarks.data', 'benchmarks.startup', 'benchmarks.started'],
    ['reporting.findings', 'reporting.model_card', 'showing.app', 'benchmarks.turns'],
    ['reporting.looks', 'reporting.page', 'showing.page', 'benchmarks.child', 'sweeping.driver', 'sweeping.page'],
    ['showing.looking', 'explain.explained', 'benchmarks.ours', 'benchmarks.twin', 'sweeping.plots'],
    ['predictor', 'explain.explainer', 'reporting.plots', 'sweeping.results'],
    ['train', 'assess', 'replay', 'forecast'],
    ['job', 'answerer', 'overview', 'sweeping.space', 'sweeping.study'],
    ['weights.load', 'weights.outward'],
    ['weights.foreign', 'weights.files'],
    ['weights.huggingface', 'weights.timm', 'weights.published', 'weights.adapt'],
    ['weights.beside', 'weights.sizes', 'weights.torch_names', 'weights.positions', 'weights.tensors', 'weights.hub',
     'weights.program', 'run', 'data.load', 'models.described', 'models.flops', 'evaluate', 'step', 'defaults',
     'inspect_page', 'explain.attention', 'explain.figures', 'calibration', 'models.features'],
    ['data.digits', 'data.tfds_sets', 'data.folder', 'data.inspect', 'data.clear', 'data.pipeline', 'models.variants',
     'optim', 'checkpoint', 'config', 'tensorboard', 'command', 'metrics', 'corruptions'],
    ['models.vit', 'models.resnet', 'data.source', 'data.duplicates', 'data.cache', 'data.picture', 'data.scan',
     'data.tiny_imagenet', 'data.tfds_features', 'data.pixel_file', 'sharding', 'augment', 'losses',
     'interrupt', 'explain.heads', 'explain.overlay', 'explain.faithfulness', 'reporting.charts', 'reporting.chance'],
    ['models.stem', 'models.tokens', 'muon', 'trivial', 'quiet', 'progress', 'digests', 'sweeping.launch',
     'sweeping.child'],
    ['energy', 'machine', 'atomic', 'paths', 'models.attention', 'models.dense', 'models.depthwise', 'models.gelu',
     'models.norm', 'models.rounded', 'processes', 'showing.guard', 'benchmarks.setting'],
    ['models.sums'],
    ['cpu'],
    ['errors', 'types', 'models.shifts'],
]
LEVELS = {module: level for level, modules in enumerate(LAYERS) for module in modules}


def module_name(path):
  """vit_jax/data/source.py -> 'data.source'."""
  return '.'.join(path.relative_to(ROOT / 'vit_jax').with_suffix('').parts)


MODULES = {module_name(path): path for path in (ROOT / 'vit_jax').rglob('*.py') if path.stem != '__init__'}


def imports(path):
  """The modules of vit_jax that a file imports anywhere, inside functions too."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path.name}:{node.lineno} imports relatively'
      names = [f'{node.module}.{alias.name}' for alias in node.names]
    else:
      continue
    for name in names:
      if name.split('.')[0] == 'vit_jax':
        inner = name.removeprefix('vit_jax.')
        # `from vit_jax.errors import BadInput` names something inside a module.
        found.add(inner if inner in MODULES else inner.rpartition('.')[0])
  return found


def test_every_module_has_its_layer():
  assert LEVELS.keys() == MODULES.keys()
  assert sum(map(len, LAYERS)) == len(LEVELS), 'a module is listed twice'


@pytest.mark.parametrize('name', sorted(MODULES))
def test_imports_point_downward(name):
  wrong = [other for other in imports(MODULES[name]) if LEVELS[other] <= LEVELS[name]]
  assert not wrong, f'{name} must not import {wrong}: same layer or above'


def test_packages_import_nothing():
  for path in (ROOT / 'vit_jax').rglob('__init__.py'):
    assert not imports(path)


def test_the_command_line_imports_nothing_big():
  big = ('jax', 'tensorflow', 'tensorflow_datasets', 'flax', 'optax', 'orbax', 'sklearn')
  code = f'import sys, vit_jax.main; print(*[name for name in {big} if name in sys.modules])'
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
  assert done.stdout.split() == []
