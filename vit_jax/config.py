"""Configs as data: to JSON and back, and the difference between two of them."""
import json

import ml_collections

from configs import common
from vit_jax import paths
from vit_jax.errors import BadInput
from vit_jax.errors import choose


def to_json(config):
  """A ConfigDict as JSON text, keys sorted; tuples become lists."""
  return json.dumps(config.to_dict(), indent=2, sort_keys=True) + '\n'


def from_json(text):
  """The locked ConfigDict that `to_json` wrote; lists become tuples."""
  def tuples(value):
    if isinstance(value, dict):
      return {key: tuples(inner) for key, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value
  return ml_collections.ConfigDict(tuples(json.loads(text))).lock()


def with_new_keys(config):
  """The config of an older version, with the keys that have come since as `configs/common.py` has them.

  A new key's default there leaves everything as it was before the key.
  """
  def merge(old, new):
    inner = lambda key: merge(old[key], new[key]) if isinstance(new.get(key), dict) else old[key]
    return {**new, **{key: inner(key) for key in old}}
  return from_json(json.dumps(merge(config.to_dict(), common.get_config().to_dict())))


def flatten(config, prefix=''):
  """{'optim.lr': 0.001, …}: every key with its path."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      flat.update(flatten(value, f'{prefix}{key}.'))
    else:
      flat[prefix + key] = value
  return flat


# Keys that may change between two starts of a run: they decide nothing of what was learned before.
MAY_CHANGE = ('eval_batch_size', 'keep', 'max_loss_ratio', 'on_bad_step')


def differences(old, new):
  """One line for each key in which two configs differ: 'optim.lr: 0.001 there, 0.003 now'.

  Those that may change between two starts of a run are no difference.
  """
  old, new = flatten(old), flatten(new)
  missing = object()
  show = lambda value: 'absent' if value is missing else repr(value)
  return [f'{key}: {show(old.get(key, missing))} there, {show(new.get(key, missing))} now'
          for key in sorted((old.keys() | new.keys()) - set(MAY_CHANGE))
          if old.get(key, missing) != new.get(key, missing)]


# More than anybody means; what is larger was mistyped, and would keep XLA busy for ever, or crash it.
LARGEST = {'batch_size': 2**20, 'eval_batch_size': 2**20, 'accum_steps': 2**16, 'epochs': 1e6, 'log_every': 2**31 - 1,
           'eval_epochs': 1e6, 'keep': 10_000, 'data.image_size': 4096, 'model.hidden_size': 2**15,
           'model.num_layers': 256, 'model.num_heads': 2**15, 'model.mlp_dim': 2**17, 'model.patch_size': 4096,
           'model.representation_size': 2**17}


def check_sizes(flat):
  """Raises BadInput for numbers that are too large or too small, and text that names nothing: {key: value}."""
  for key, largest in LARGEST.items():
    value = flat[key]
    # What a model's sizes must be besides, models/variants.py says.
    if not key.startswith('model.') and not 0 < value < float('inf'):
      raise BadInput(f'{key}={value} must be a finite number greater than 0')
    if value is not None and value > largest:
      raise BadInput(f'{key}={value} must be at most {largest:,}')
  for key, value in flat.items():
    for text in value if isinstance(value, tuple) else (value,):
      if isinstance(text, str) and not paths.is_possible(text):  # Names of files and of sets.
        raise BadInput(f'{key}={value!r} must be of names that a file can have')


def check(config):
  """Raises BadInput for numbers that no training could use, before anything is loaded."""
  flat = flatten(config)
  check_sizes(flat)
  if not 0 <= config.label_smoothing < 1:
    raise BadInput(f'label_smoothing={config.label_smoothing} must be at least 0 and less than 1')
  if not 0 <= config.ema_decay < 1:
    raise BadInput(f'ema_decay={config.ema_decay} must be at least 0 and less than 1')
  for key, kind, example in (('augment.sizes', int, '(32, 48, 64)'), ('model.stem_channels', int, '(32, 64)'),
                             ('data.classes', str, "('cat', 'dog')"), ('data.clear_of', str, "('cifar10',)")):
    values = flat[key] or ()
    if not all(isinstance(value, kind) and (kind is str or 1 <= value <= 2**15) for value in values):
      what = 'numbers from 1 on' if kind is int else 'names'
      raise BadInput(f'{key}={values!r} must be a tuple of {what}, as {example}')
  choose(config.on_bad_step, ('stop', 'skip'), 'on_bad_step')
  if config.max_loss_ratio and not 1 < config.max_loss_ratio < float('inf'):
    raise BadInput(f'max_loss_ratio={config.max_loss_ratio} must be greater than 1, e.g. 5, or 0 for none')
  for key in ('cutmix', 'mixup', 'erasing'):
    if not 0 <= config.augment[key] <= 1:
      raise BadInput(f'augment.{key}={config.augment[key]} must be a probability, from 0 to 1')
  padding, size = config.augment.crop_padding, config.data.image_size
  if not 0 <= padding < size:
    raise BadInput(f'augment.crop_padding={padding} must be at least 0 and less than image_size={size}')
  if not 0 < config.augment.crop_scale <= 1:
    raise BadInput(f'augment.crop_scale={config.augment.crop_scale} must be a share of the area, in (0, 1]')
  check_positions(config, config.model.posemb)
  if not 0 <= config.optim.warmup_epochs < float('inf'):
    raise BadInput(f'optim.warmup_epochs={config.optim.warmup_epochs} must be a finite number of at least 0')
  if not 0 <= config.seed < 2**32:
    raise BadInput(f'seed={config.seed} must be at least 0 and less than 2**32')


def outgrows(config, posemb):
  """Whether a model's positions are a table of one size of picture, and `augment.sizes` has others."""
  return posemb == 'learned' and bool(set(config.augment.sizes) - {config.data.image_size})


def check_positions(config, posemb):
  """Raises BadInput where the pictures of the training outgrow the model's positions."""
  if outgrows(config, posemb):
    raise BadInput(f'augment.sizes={config.augment.sizes} needs positions that fit any size, not a learned table; try '
                   '--config.model.posemb=sincos2d')
