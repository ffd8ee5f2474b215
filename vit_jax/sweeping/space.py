"""What `--sweep.KEY=TEXT` means: values of a config key, or a range of them; and the configs that follow from it."""
import ast
import dataclasses
import itertools
import math
import re

from absl import flags

from vit_jax import config as config_lib
from vit_jax import defaults
from vit_jax.errors import BadInput

SEED = 'seed'
# LOW..HIGH, both of them possible, or log:LOW..HIGH.
_RANGE = re.compile(r'(log:)?(.+?)\.\.(.+)')
# FROM:TO or FROM:TO:STEP, as Python counts: without TO.
_COUNT = re.compile(r'\s*(-?\d+):(-?\d+)(?::(-?\d+))?\s*')


@dataclasses.dataclass(frozen=True)
class Values:
  """Some values of a key, in the order in which they were named."""
  values: tuple

  def suggest(self, trial, key):
    """The value that an Optuna trial takes."""
    known = {_stored(value): value for value in self.values}
    return known[trial.suggest_categorical(key, list(known))]

  def describe(self):
    """The values for a person."""
    return ', '.join(map(str, self.values))

  @property
  def extremes(self):
    """Values that are worth a check before anything is trained."""
    return self.values


@dataclasses.dataclass(frozen=True)
class Range:
  """Every number from `low` to `high`, both included; with `log` each factor of ten is as likely as another."""
  low: float
  high: float
  log: bool

  def suggest(self, trial, key):
    """The value that an Optuna trial takes."""
    suggest = trial.suggest_int if isinstance(self.low, int) else trial.suggest_float
    return suggest(key, self.low, self.high, log=self.log)

  def describe(self):
    """The range for a person."""
    return f'{self.low} to {self.high}' + (', by its logarithm' if self.log else '')

  @property
  def extremes(self):
    """Values that are worth a check before anything is trained."""
    return self.low, self.high


def define_flags(keys):
  """Defines --sweep.KEY for each config key."""
  for key in keys:
    flags.DEFINE_string(f'sweep.{key}', None, f'What is tried for {key}.')


def given_flags(keys):
  """Those that the command line gives: -> {key: text}."""
  return {key: flags.FLAGS[f'sweep.{key}'].value for key in keys if flags.FLAGS[f'sweep.{key}'].present}


def _stored(value):
  """A value as Optuna keeps it: it knows numbers and text."""
  return repr(value) if isinstance(value, tuple) else value


def parse(texts, config):
  """{key: text} and the config that is swept -> {key: Values or Range}; raises BadInput for what means nothing."""
  return {key: _parse(f'--sweep.{key}={text}', text, _type(config, key)) for key, text in texts.items()}


def _type(config, key):
  """What a value of a key is: int, float, bool, str or tuple."""
  *path, last = key.split('.')
  for name in path:
    config = config[name]
  return config.get_type(last)


def _parse(flag, text, kind):
  """The meaning of one flag whose values are of a type."""
  if kind in (int, float) and (found := _RANGE.fullmatch(text)):
    return _range(flag, kind, *found.groups())
  if kind is int and (found := _COUNT.fullmatch(text)):
    start, end, step = (int(part) for part in (found[1], found[2], found[3] or 1))
    values = tuple(range(start, end, step)) if step else ()
    if not values:
      raise BadInput(f'{flag} is empty: {start}:{end} counts from {start} to one before {end}; try {start}:{start + 3}')
    return Values(values)
  # Commas within a tuple separate nothing here.
  values = tuple(_value(flag, part.strip(), kind) for part in re.split(r',(?![^(]*\))', text))
  if twice := [value for i, value in enumerate(values) if value in values[:i]]:
    raise BadInput(f'{flag} names {twice[0]!r} twice')
  return Values(values)


def _range(flag, kind, log, low, high):
  """LOW..HIGH as a Range."""
  low, high = _value(flag, low, kind), _value(flag, high, kind)
  if not low < high:
    raise BadInput(f'{flag} is empty: {low} is not less than {high}')
  if log and low <= 0:
    raise BadInput(f'{flag}: a range by its logarithm starts above 0, and not at {low}')
  return Range(low, high, bool(log))


def _value(flag, text, kind):
  """One value of a type from its text; raises BadInput where it is none."""
  names = {int: 'whole number', float: 'number', bool: 'true or false', tuple: "tuple, as \"('cat','dog')\" is"}
  try:
    if not text:
      raise ValueError
    if kind is bool:
      return {'true': True, 'false': False}[text.lower()]
    value = ast.literal_eval(text) if kind is tuple else kind(text)
    if not isinstance(value, kind) or (kind is float and not math.isfinite(value)):
      raise ValueError
    return value
  except (ValueError, KeyError, SyntaxError):
    what = f'{text!r} is no {names[kind]}' if text and kind in names else 'a value is missing'
    raise BadInput(f'{flag}: {what}; name values (1,2,3){_ranges(kind)}') from None


def _ranges(kind):
  """What else but values may be said of a key of this type."""
  return {int: ', count from:to, or search in a range low..high', float: ' or search in a range low..high, also '
          'log:low..high'}.get(kind, '')


def grid(space):
  """Every combination of the values, the last key changing fastest: -> [{key: value}]; raises BadInput for a range."""
  for key, part in space.items():
    if isinstance(part, Range):
      raise BadInput(f'--sweep.{key} is a range, and a grid has none; name values, or search in it with --search=tpe '
                     '--trials=40')
  return [dict(zip(space, values, strict=True)) for values in itertools.product(*(p.values for p in space.values()))]


def stored(point):
  """{key: value} as Optuna keeps it."""
  return {key: _stored(value) for key, value in point.items()}


def extremes(space):
  """Points that are worth a check: each value, and each end of a range, with the others as they come first."""
  first = {key: part.extremes[0] for key, part in space.items()}
  return [{**first, key: value} for key, part in space.items() for value in part.extremes]


def with_values(config, point):
  """The config with other values of some keys; raises BadInput where no training could use them."""
  changed = config.copy_and_resolve_references()
  changed.update_from_flattened_dict(point)
  values = ', '.join(f'{key}={value}' for key, value in point.items())
  if changed.data.image_size is not None:  # Else other weights decide, and the run checks.
    try:
      defaults.check_early(changed, config_lib.check)
    except BadInput as error:
      raise BadInput(f'with {values}: {error}') from None
  return changed.lock()
