"""The command's shape: what it measures is there, and adds up. How fast anything is, no test says."""
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from vit_jax import benchmark
from vit_jax.data import pixel_file
from vit_jax.data import source

ROOT = pathlib.Path(__file__).parent.parent


def command(*flags):
  return subprocess.run([sys.executable, '-m', 'vit_jax.benchmark', *flags], cwd=ROOT, text=True,
                        capture_output=True, check=False)


@pytest.mark.parametrize(('flags', 'message'), [
    ([], 'nothing to measure; name a recipe'),
    (['--config=configs/digits.py', '--results=no/such/file.json'], '--results=no/such/file.json cannot be written'),
    (['--what=dta'], "value should be one of <data>"),
    (['--rounds=0'], '0 is not a positive integer'),
])
def test_a_mistake_is_one_line(flags, message):
  process = command(*flags)
  assert process.returncode == 2
  assert process.stderr.startswith('error: ') and process.stderr.count('\n') == 1
  assert message in process.stderr


@pytest.mark.parametrize('in_file', [False, True])
def test_all_ways_read_the_same_pictures(tmp_path, in_file):
  images = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), np.uint8)
  if in_file:
    np.save(tmp_path / 'pictures.npy', images)
    images = pixel_file.open_pixels(tmp_path / 'pictures.npy')
  train = source.Source(images, np.arange(9, dtype=np.int32), np.array([8, 2, 4]))
  ways = benchmark.ways(train, tmp_path)
  assert list(ways) == ['streaming', 'memory-mapped', 'memory']
  for way in ways.values():
    batch = way().read(np.array([0, 2]))
    np.testing.assert_array_equal(batch['image'], np.asarray(images)[[8, 4]])
    assert batch['label'].tolist() == [8, 4]


def test_spread():
  assert benchmark.spread([4, 1, 2], '{:.1f}') == '2.0 (1.0 to 4.0)'


@pytest.mark.slow
def test_data_is_measured(tmp_path):
  process = command('--config=configs/digits.py', '--rounds=2', f'--results={tmp_path}/data.json')
  assert process.returncode == 0, process.stderr
  found = json.loads((tmp_path / 'data.json').read_text())
  assert set(found['images_per_second']) == {'streaming', 'memory-mapped', 'memory', 'train step'}
  assert all(len(values) == 2 and min(values) > 0 for values in found['images_per_second'].values())
  assert all(0 < share < 1 for share in found['waiting_share'])
  assert len(found['time_with_loader']) == 2
  assert found['recipe'] == 'digits' and found['environment']['versions']['jax']
  for text in ('digits: 1,295 training pictures of 8×8', 'memory-mapped', 'train step', 'waiting', 'loading'):
    assert text in process.stdout
