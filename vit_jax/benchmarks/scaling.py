"""How time and memory of a train step grow with batch, tokens, width and depth, beside what the formula says."""
import dataclasses
import statistics

from vit_jax import progress
from vit_jax.benchmarks import turns
from vit_jax.benchmarks.setting import Setting

# What each size is set to while the others stay. Eight devices can share each batch.
AXES = {'batch_size': (8, 16, 32, 64, 128), 'tokens': (16, 64, 144, 256, 576), 'width': (64, 128, 192, 256, 384),
        'depth': (1, 2, 4, 8, 16)}
DEVICES = 8


def groups(dtypes, axes=AXES, **base):
  """A group for each size and type: a matrix product, and for each value a step that runs and one for eight devices."""
  made = []
  for dtype in dtypes:
    for axis, values in axes.items():
      steps = [dataclasses.replace(Setting('train', dtype, way='step', **base), **{axis: value}) for value in values]
      spread_out = [dataclasses.replace(step, work='compile', devices=DEVICES) for step in steps]
      made.append([Setting('product', dtype), *steps, *spread_out])
  return made


def axis_of(found):
  """Which size a group varies."""
  steps = [one['setting'] for one in found if one['setting']['work'] == 'train']
  return next((axis for axis in AXES if len({step[axis] for step in steps}) > 1), 'depth')


def growth(found):
  """A line for each value of a group's size: what it takes, and what the formula says it should.

  -> [{axis: value, 'seconds' of a step, over the rounds, 'theory_flops', 'flops' as counted, 'peak_share' over the
  rounds, 'peak_memory' of the process, of which 'base_memory' are its libraries, 'compiled_memory' of one device, and
  'compiled_memory_of_8' of each of eight}].
  """
  axis = axis_of(found)
  (product,) = (one for one in found if one['setting']['work'] == 'product')
  peaks = turns.per_turn(product, lambda turn: turn['flops_per_second'])
  apart = {one['setting'][axis]: one['facts']['compiled_memory'] for one in found
           if one['setting']['work'] == 'compile' and not one['error']}
  lines = []
  for one in found:
    if one['setting']['work'] != 'train' or one['error']:
      continue
    facts, setting = one['facts'], Setting(**one['setting'])
    seconds = turns.per_turn(one, lambda turn, facts=facts: turn['seconds'] * facts['pictures'] / turn['pictures'])
    lines.append({
        axis: one['setting'][axis], 'seconds': seconds, 'theory_flops': setting.theory(), 'flops': facts['flops'],
        'peak_share': [facts['flops'] / time / peak for time, peak in zip(seconds, peaks, strict=True)],
        'peak_memory': max(turn['device_memory'] or turn['peak_memory'] or 0 for turn in one['turns']),
        'base_memory': facts['base_memory'], 'compiled_memory': facts['compiled_memory'],
        'compiled_memory_of_8': apart.get(one['setting'][axis])})
  return lines


def describe(found):
  """A group as a screen of text; growth is against the first line."""
  axis, lines = axis_of(found), growth(found)
  setting = Setting(**next(one['setting'] for one in found if one['setting']['work'] == 'train'))
  size = lambda count: '' if count is None else f'{count / 2**20:,.0f}'
  product = next(one for one in found if one['setting']['work'] == 'product')
  out = [f'a train step in {setting.dtype} over {axis}; otherwise {setting.sizes}; a matrix product does '
         f'{progress.number(round(turns.product_speed(product)))}FLOP/s', '',
         f'{axis:<12}{"ms a step, median and range":<30}{"×":>7}{"theory ×":>10}{"of peak":>9}'
         f'{"MiB: process":>14}{"compiled":>10}{"each of 8":>11}']
  for line in lines:
    times = [1000 * seconds for seconds in line['seconds']]
    more = statistics.median(line['seconds']) / statistics.median(lines[0]['seconds'])
    theory = line['theory_flops'] / lines[0]['theory_flops']
    out.append(f'{line[axis]:<12}{turns.spread(times, "{:,.1f}"):<30}{more:>7.2f}{theory:>10.2f}'
               f'{statistics.median(line["peak_share"]):>9.1%}{size(line["peak_memory"]):>14}'
               f'{size(line["compiled_memory"]):>10}{size(line["compiled_memory_of_8"]):>11}')
  out += [f'{axis}={one["setting"][axis]}: {one["error"]}' for one in found if one['error']]
  return '\n'.join(out)
