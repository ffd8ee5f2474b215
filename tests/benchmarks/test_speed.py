"""What is compared, and what is made of the numbers, against numbers worked out by hand."""
import dataclasses
import importlib.util

import pytest

from vit_jax.benchmarks import speed
from vit_jax.benchmarks.setting import Setting
from vit_jax.errors import BadInput

BOTH = ['float32', 'bfloat16']


def test_everybody_is_there_once():
  names = [setting.name for setting in speed.group('train', BOTH, peers=True, width=64)]
  assert len(names) == len(set(names)) == 2 + 2 * (1 + 2 * 4)
  names = [setting.name for setting in speed.group('predict', BOTH, peers=True)]
  assert len(names) == len(set(names)) == 2 + (2 + 8 + 2) + (1 + 8 + 2)
  # The Predictor's type is its own.
  assert [name for name in names if 'Predictor' in name] == ['vit_jax Predictor, float32']
  assert all(setting.framework == 'vit_jax' for setting in speed.group('train', BOTH))


def test_a_group_has_one_size():
  groups = speed.groups(['train', 'predict'], ['float32'], widths=[8, 16], tokens=[4, 9], peers=True, depth=2)
  size = lambda one: (one.work, one.tokens, one.width, one.depth)
  sizes = [{size(one) for one in group if one.work != 'product'} for group in groups]
  assert sizes == [{(work, tokens, width, 2)}
                   for work in ('train', 'predict') for tokens in (4, 9) for width in (8, 16)]


@pytest.mark.parametrize(('missing', 'text'), [
    ({'torch', 'timm'}, 'needs torch and timm: '), ({'timm'}, 'needs timm: ')])
def test_missing_peers(monkeypatch, missing, text):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name in missing else 'there')
  with pytest.raises(BadInput, match=text + r"pip install 'vit_jax\[benchmarks\]'"):
    speed.check_peers()


def one(setting, turns, facts=None, error=None):
  return {'name': setting.name, 'setting': dataclasses.asdict(setting), 'error': error,
          'facts': facts or {}, 'turns': turns}


def turn(pictures, seconds, watts=None):
  return {'pictures': pictures, 'seconds': seconds, 'watts': watts, 'peak_memory': 2**30, 'device_memory': None}


@pytest.fixture
def found():
  """Three rounds: ours at 100, 200 and 150 pictures/s of 1 MFLOP, the others at 50, 80 and 100."""
  facts = {'flops': 8e6, 'pictures': 8, 'parameters': 1234, 'total_steps': 50, 'energy_method': 'a guess'}
  peer = dict(framework='torch', keep_pages=False)
  return speed.judge([
      one(Setting('product'), [{'flops_per_second': value} for value in (1e9, 4e9, 1e9)]),
      one(Setting('train', way='step'), [turn(100, 1.0, 36.0), turn(100, .5, 72.0), turn(150, 1.0, 54.0)], facts),
      one(Setting('train', way='eager', **peer), [turn(100, 2.0), turn(80, 1.0), turn(100, 1.0)]),
      one(Setting('train', way='compiled', **peer), [turn(10, 1.0), turn(10, 1.0), turn(90, 1.0)]),
      one(Setting('train', way='frozen', **peer), [], error='no compiler')])


def test_shares_and_energy(found):
  _, ours, eager, *_ = found
  assert ours['flops_per_second'] == [1e8, 2e8, 1.5e8]
  assert ours['peak_share'] == pytest.approx([.1, .05, .15])  # Each of its own round's product.
  # 1,000 pictures take 10, 5 and 6.67 s at 36, 72 and 54 W: 0.1 Wh.
  assert ours['wh_per_1000'] == pytest.approx([.1, .1, .1])
  assert eager['flops_per_second'] == [5e7, 8e7, 1e8] and 'wh_per_1000' not in eager


def test_the_lead_is_that_of_the_best_over_the_best(found):
  assert speed.lead(found) == ('vit_jax step, float32', 'torch eager, float32', [2.0, 2.5, 1.5])
  assert speed.lead(found[:2]) is None


def test_the_screen(found):
  text = speed.describe(found)
  for part in ('train: width 192, 64 tokens, 6 blocks, batches of 64; 1,234 parameters, 1 MFLOP a picture',
               'matrix product, float32', '1 GFLOP/s', '150 (100 to 200)', '150 MFLOP/s', '10.0%', '1.00 GiB',
               'no compiler', 'energy: a guess',
               'vit_jax step, float32 is 2.00 (1.50 to 2.50) times as fast as the fastest of the others, torch eager'):
    assert part in text
  assert 'whole training' not in text and 'note: ' not in text
  found[0]['facts']['device'], found[2]['facts']['device'] = 'cpu', 'cuda'
  assert 'note: not all ran on the same device, but on cpu and cuda' in speed.describe(found)
  # 50 steps of 8 pictures, 0.1 Wh for 1,000.
  assert 'the whole training in float32: 400 pictures, 0.04 Wh' in speed.describe(found, 'digits')


def test_where_all_of_ours_were_killed_the_rest_is_still_shown():
  killed = one(Setting('train', way='step'), [], error='its process was killed')
  torch = one(Setting('train', framework='torch', way='eager'), [turn(100, 1.0)], {'pictures': 8})
  text = speed.describe(speed.judge([one(Setting('product'), [{'flops_per_second': 1e9}]), killed, torch]))
  assert text.startswith('train: width 192, 64 tokens') and 'its process was killed' in text
  assert 'not judged, as none of ours could be measured' in text
