"""Growth beside the formula, against numbers worked out by hand."""
import dataclasses

import pytest

from vit_jax.benchmarks import scaling
from vit_jax.benchmarks.setting import Setting


def test_each_group_varies_one_size():
  groups = scaling.groups(['float32'], width=192, tokens=64, depth=6, batch_size=64)
  assert len(groups) == 4
  for axis, group in zip(scaling.AXES, groups, strict=True):
    steps = [one for one in group if one.work == 'train']
    assert [getattr(one, axis) for one in steps] == list(scaling.AXES[axis])
    others = {tuple(value for name, value in dataclasses.asdict(one).items() if name != axis) for one in steps}
    assert len(others) == 1
    spread_out = [one for one in group if one.work == 'compile']
    assert [getattr(one, axis) for one in spread_out] == list(scaling.AXES[axis])
    assert all(one.devices == 8 and one.batch_size % 8 == 0 for one in spread_out)


@pytest.fixture
def found():
  """Two depths, two rounds; the deeper one's step for eight devices could not be compiled."""
  base = Setting('train', way='step', batch_size=8, tokens=4, width=8)
  steps = [dataclasses.replace(base, depth=depth) for depth in (1, 3)]
  one = lambda setting, turns=(), error=None, **facts: {
      'name': setting.name, 'setting': dataclasses.asdict(setting), 'error': error, 'facts': facts,
      'turns': list(turns)}
  turn = lambda seconds, peak: {'pictures': 32, 'seconds': seconds, 'peak_memory': peak, 'device_memory': None}
  apart = [dataclasses.replace(step, work='compile', devices=8) for step in steps]
  return [one(Setting('product'), [{'flops_per_second': 1e6}, {'flops_per_second': 4e6}]),
          one(steps[0], [turn(4.0, 2**20), turn(4.0, 3 * 2**20)], pictures=8, flops=500_000, base_memory=7,
              compiled_memory=2**21),
          one(steps[1], [turn(8.0, 5 * 2**20), turn(12.0, 2**20)], pictures=8, flops=1_000_000, base_memory=7,
              compiled_memory=2**22),
          one(apart[0], compiled_memory=2**19), one(apart[1], error='its process was killed')]


def test_growth(found):
  small, large = scaling.growth(found)
  assert (small['depth'], large['depth']) == (1, 3)
  assert small['seconds'] == [1.0, 1.0] and large['seconds'] == [2.0, 3.0]  # Four steps a turn.
  assert large['theory_flops'] == 3 * small['theory_flops'] == 3 * 6 * 8 * (12 * 4 * 64 + 2 * 16 * 8)
  assert small['peak_share'] == [.5, .125]
  assert large['peak_share'] == pytest.approx([.5, 1 / 12])
  assert small['peak_memory'] == 3 * 2**20 and large['peak_memory'] == 5 * 2**20
  assert small['compiled_memory_of_8'] == 2**19 and large['compiled_memory_of_8'] is None


def test_the_screen(found):
  lines = scaling.describe(found).splitlines()
  assert lines[0].startswith('a train step in float32 over depth')
  assert lines[3].split() == ['1', '1,000.0', '(1,000.0', 'to', '1,000.0)', '1.00', '1.00', '31.2%', '3', '2', '0']
  assert lines[4].split()[-5:] == ['2.50', '3.00', '29.2%', '5', '4']
  assert lines[5] == 'depth=3: its process was killed'
