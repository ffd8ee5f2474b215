"""The command's shape: what it measures is there, and adds up. How fast anything is, no test says."""
import json
import pathlib
import subprocess
import sys

import pytest

from configs import digits
from vit_jax import benchmark

ROOT = pathlib.Path(__file__).parent.parent


def command(*flags):
  return subprocess.run([sys.executable, '-m', 'vit_jax.benchmark', *flags], cwd=ROOT, text=True,
                        capture_output=True, check=False)


@pytest.mark.parametrize(('flags', 'message'), [
    ([], 'nothing to measure; name a recipe'),
    (['--config=configs/digits.py', '--results=no/such/file.json'], '--results=no/such/file.json cannot be written'),
    (['--what=dta'], 'value should be one of <train|predict|data|startup|scaling|peers>'),
    (['--what=startup'], 'nothing to measure; name a recipe'),
    (['--what=train', '--tokens=64,65'], '--tokens=65 is no square'),
    (['--what=scaling', '--batch_size=12'], '--batch_size=12 cannot be cut into equal parts for 8 devices'),
    (['--what=scaling', '--tokens=50'], '--tokens=50 is no square'),
    (['--what=train', '--widths=64,wide'], '--widths=64,wide must be whole numbers'),
    (['--what=train', '--widths=0'], '--widths=0 must be whole numbers'),
    (['--what=predict', '--dtypes=float16'], "--dtypes 'float16' is unknown; did you mean"),
    (['--what=predict', '--dtypes='], '--dtypes= must name'),
    (['--what=peers', '--config=configs/digits.py'], 'leave out --config'),
    (['--rounds=0'], '0 is not a positive integer'),
])
def test_a_mistake_is_one_line(flags, message):
  process = command(*flags)
  assert process.returncode == 2
  assert process.stderr.startswith('error: ') and process.stderr.count('\n') == 1
  assert message in process.stderr


@pytest.mark.slow
def test_data_is_measured(tmp_path):
  process = command('--config=configs/digits.py', '--config.model.patch_size=2', '--rounds=2',
                    f'--results={tmp_path}/data.json')
  assert process.returncode == 0, process.stderr
  found = json.loads((tmp_path / 'data.json').read_text())
  assert set(found['images_per_second']) == {'streaming', 'memory-mapped', 'memory', 'train step'}
  assert all(len(values) == 2 and min(values) > 0 for values in found['images_per_second'].values())
  assert all(0 < share < 1 for share in found['waiting_share'])
  assert len(found['time_with_loader']) == 2
  assert found['recipe'] == 'digits' and found['environment']['versions']['jax']
  for text in ('digits: 1,295 training pictures of 8×8', 'memory-mapped', 'train step', 'waiting', 'loading'):
    assert text in process.stdout


def test_the_machine_is_described(monkeypatch):
  monkeypatch.setattr(benchmark.cpu, 'processor_flags', lambda: frozenset({'fpu', 'avx2', 'amx_bf16', 'sse'}))
  line = benchmark.describe_machine({'processor': 'X1', 'cores': 3, 'devices': ['cpu'], 'python': '3.13.0',
                                     'versions': {'jax': '0.12', 'numpy': '2'}})
  assert line == 'X1, 3 cores (amx_bf16 avx2), device cpu; Python 3.13.0, jax 0.12'


@pytest.mark.slow
def test_a_recipe_is_measured(tmp_path):
  process = command('--what=train', '--config=configs/digits.py', '--config.batch_size=32',
                    '--config.model.patch_size=2', '--rounds=1', '--dtypes=float32', f'--results={tmp_path}/train.json')
  assert process.returncode == 0, process.stderr
  found = json.loads((tmp_path / 'train.json').read_text())
  (product, step), = found['groups']
  assert found['what'] == 'train' and found['recipe'] == 'digits' and found['environment']['cores'] > 0
  assert 'instruction_sets' in found['environment']
  assert product['turns'][0]['flops_per_second'] > 0
  turn, facts = step['turns'][0], step['facts']
  assert facts['pictures'] == 32 and facts['total_steps'] == round(digits.get_config().epochs * 1295 / 32)
  assert turn['pictures'] >= 3 * 32 and turn['seconds'] > 0
  # What the step needs is part of what the process needed at most.
  assert 0 < facts['compiled_memory'] < turn['peak_memory'] - facts['base_memory'] / 2
  assert step['peak_share'][0] == pytest.approx(
      facts['flops'] * turn['pictures'] / 32 / turn['seconds'] / product['turns'][0]['flops_per_second'])
  for text in ('train: digits, batches of 32; 69,514 parameters', 'vit_jax step, float32'):
    assert text in process.stdout
