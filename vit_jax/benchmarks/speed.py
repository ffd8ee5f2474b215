"""How fast training and predicting are, what share of the machine that is, and what others do at the same sizes."""
import importlib.util
import statistics

from vit_jax import progress
from vit_jax.benchmarks import turns
from vit_jax.benchmarks.setting import Setting
from vit_jax.errors import BadInput

# The ways in which each framework does a piece of work.
OURS = {'train': ('step',), 'predict': ('evaluation', 'Predictor')}
PEERS = {'train': {'torch': ('eager', 'compiled', 'eager math', 'compiled math')},
         'predict': {'torch': ('eager', 'compiled', 'frozen', 'tuned'), 'timm': ('eager', 'compiled')}}


def group(work, dtypes, *, peers=False, **sizes):
  """All settings that are compared at the same sizes: [Setting], the matrix products first."""
  made = [Setting('product', dtype) for dtype in dtypes]
  for dtype in dtypes:
    # The Predictor computes in float32 whatever it is given.
    made += [Setting(work, dtype, way=way, **sizes) for way in OURS[work] if way != 'Predictor' or dtype == 'float32']
    for framework, ways in PEERS[work].items() if peers else ():
      # Torch's processes are given what makes ours fast, too; timm's are as its users have them.
      made += [Setting(work, dtype, framework, way, keep, **sizes) for way in ways
               for keep in ((False, True) if framework == 'torch' else (False,))]
  return made


def groups(works, dtypes, *, widths, tokens, peers=False, **sizes):
  """A group for each piece of work, number of tokens and width."""
  return [group(work, dtypes, peers=peers, tokens=count, width=width, **sizes)
          for work in works for count in tokens for width in widths]


def check_peers():
  """Raises BadInput where torch or timm is not installed."""
  missing = [name for name in ('torch', 'timm') if importlib.util.find_spec(name) is None]
  if missing:
    raise BadInput(f"--what=peers needs {' and '.join(missing)}: pip install 'vit_jax[benchmarks]'")


def judge(found):
  """Numbers of a group that need more than one contender, beside what turns.take_turns found: -> the same group.

  Each contender that has worked gets 'flops_per_second' and 'peak_share' (of the matrix product of its type, in the
  same round), and 'wh_per_1000' where watts are known: lists over the rounds.
  """
  products = {one['setting']['dtype']: one for one in found if one['setting']['work'] == 'product'}
  flops = next((one['facts']['flops'] / one['facts']['pictures'] for one in found if 'flops' in one['facts']), None)
  if flops is None:
    return [one | {'error': one['error'] or 'not judged, as none of ours could be measured'} for one in found]
  for one in found:
    product = products.get(one['setting']['dtype'])
    if one is product or not one['turns']:
      continue
    speeds = turns.per_turn(one, turns.pictures_per_second)
    one['flops_per_second'] = [flops * speed for speed in speeds]
    one['peak_share'] = [speed / turn['flops_per_second']
                         for speed, turn in zip(one['flops_per_second'], product['turns'], strict=True)]
    if all(turn['watts'] is not None for turn in one['turns']):
      one['wh_per_1000'] = [1000 / speed * turn['watts'] / 3600
                            for speed, turn in zip(speeds, one['turns'], strict=True)]
  return found


def lead(found):
  """The fastest of ours and of the others, by their medians: -> (ours, theirs, their ratio in each round), or None."""
  of = lambda ours: [one for one in found if (one['setting']['framework'] == 'vit_jax') == ours
                     and one['setting']['work'] != 'product' and one['turns']]
  if not of(False) or not of(True):
    return None
  ours, theirs = (max(of(mine), key=turns.speed) for mine in (True, False))
  speeds = [turns.per_turn(one, turns.pictures_per_second) for one in (ours, theirs)]
  return ours['name'], theirs['name'], [mine / other for mine, other in zip(*speeds, strict=True)]


def title(found, recipe):
  """What the contenders of a group have in common."""
  setting = next(setting for one in found if (setting := Setting(**one['setting'])).work != 'product')
  facts = next((one['facts'] for one in found if 'flops' in one['facts']), None)
  if facts is None:  # All of ours were killed.
    return f'{setting.work}: {recipe or setting.sizes}'
  sizes = f'{recipe}, batches of {facts["pictures"]}' if recipe else setting.sizes
  return (f'{setting.work}: {sizes}; {progress.number(facts["parameters"])} parameters, '
          f'{progress.number(round(facts["flops"] / facts["pictures"]))}FLOP a picture')


def row(one):
  """One contender as a line."""
  if one['error']:
    return f'{one["name"]:<38}{one["error"]}'
  if one['setting']['work'] == 'product':
    return f'{one["name"]:<38}{"":<30}{progress.number(round(turns.product_speed(one))):>7}FLOP/s'
  memory = max(turn['device_memory'] or turn['peak_memory'] or 0 for turn in one['turns'])
  energy = f'{statistics.median(one["wh_per_1000"]):>12.3g}' if 'wh_per_1000' in one else ''
  return (f'{one["name"]:<38}{turns.spread(turns.per_turn(one, turns.pictures_per_second), "{:,.0f}"):<30}'
          f'{progress.number(round(statistics.median(one["flops_per_second"]))):>7}FLOP/s'
          f'{statistics.median(one["peak_share"]):>8.1%}{memory / 2**30:>9.2f} GiB{energy}').rstrip()


def describe(found, recipe=''):
  """A group, judged, as a screen of text."""
  lines = [title(found, recipe), '',
           f'{"":<38}{"pictures/s, median and range":<30}{"":>13}{"of peak":>8}{"memory":>13}{"Wh/1,000":>12}']
  lines += map(row, found)
  if best := lead(found):
    ours, theirs, ratios = best
    lines += ['', f'{ours} is {turns.spread(ratios, "{:.2f}")} times as fast as the fastest of the others, {theirs}']
  devices = {one['facts']['device'] for one in found if 'device' in one['facts']}
  if len(devices) > 1:
    lines.append(f'note: not all ran on the same device, but on {" and ".join(sorted(devices))}')
  trained = [one for one in found if one['setting']['work'] == 'train' and 'wh_per_1000' in one and recipe]
  for one in trained:
    pictures = one['facts']['total_steps'] * one['facts']['pictures']
    energy = statistics.median(one['wh_per_1000']) * pictures / 1000
    lines.append(f'the whole training in {one["setting"]["dtype"]}: {progress.number(pictures)} pictures, {energy:.3g} '
                 'Wh, without validations')
  if methods := {one['facts']['energy_method'] for one in found if 'wh_per_1000' in one}:
    lines.append(f'energy: {"; ".join(sorted(methods))}')
  return '\n'.join(lines)
