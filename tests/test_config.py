"""Configs as JSON, their differences, and the numbers that are refused."""
import json

import ml_collections
from ml_collections import config_dict
import pytest

from configs import common
from vit_jax import config as config_lib
from vit_jax.errors import BadInput


def small_config(**changes):
  """A config with a value of each kind."""
  config = ml_collections.ConfigDict()
  config.seed = 3
  config.data = ml_collections.ConfigDict({'classes': ('cat', 'dog'), 'none': (), 'flip': True, 'name': 'größe'})
  config.model = ml_collections.ConfigDict({
      'mlp_dim': config_dict.placeholder(int), 'channels': config_dict.placeholder(tuple)})
  config.lr = 0.1 + 0.2
  config.tiny = 1e-300
  config.update_from_flattened_dict(changes)
  return config.lock()


def test_to_json_is_plain_json():
  assert json.loads(config_lib.to_json(small_config(**{'model.channels': (8, 16)}))) == {
      'seed': 3, 'lr': 0.30000000000000004, 'tiny': 1e-300,
      'data': {'classes': ['cat', 'dog'], 'none': [], 'flip': True, 'name': 'größe'},
      'model': {'mlp_dim': None, 'channels': [8, 16]}}


@pytest.mark.parametrize('config', [small_config(), small_config(**{'model.mlp_dim': 7}), common.get_config()],
                         ids=['placeholders', 'filled', 'common'])
def test_round_trip(config):
  back = config_lib.from_json(config_lib.to_json(config))
  assert back.to_dict() == config.to_dict()
  assert config_lib.differences(config, back) == []
  assert config_lib.to_json(back) == config_lib.to_json(config)
  assert back.is_locked and back.data.is_locked
  assert isinstance(back.data.classes, tuple)


def test_equal_configs_have_equal_text():
  turned = ml_collections.ConfigDict(dict(reversed(small_config().to_dict().items())))
  assert config_lib.to_json(turned) == config_lib.to_json(small_config())


def test_differences_name_exactly_the_keys_that_differ():
  old, new = small_config(), small_config(**{'data.classes': ('cat',), 'lr': .5, 'model.mlp_dim': 64})
  with old.unlocked():
    old.gone = 0
  with new.data.unlocked():
    new.data.fresh = None
  assert config_lib.differences(old, new) == [
      "data.classes: ('cat', 'dog') there, ('cat',) now",
      'data.fresh: absent there, None now',
      'gone: 0 there, absent now',
      'lr: 0.30000000000000004 there, 0.5 now',
      'model.mlp_dim: None there, 64 now']


def test_what_may_change_between_two_starts_is_no_difference():
  old, new = common.get_config(), common.get_config()
  new.update_from_flattened_dict({'on_bad_step': 'skip', 'max_loss_ratio': 4.0, 'keep': 7, 'eval_batch_size': 9})
  assert config_lib.differences(old, new) == []


def test_no_differences():
  assert config_lib.differences(small_config(), small_config()) == []


def test_the_defaults_pass():
  config_lib.check(common.get_config())


NAN, INF = float('nan'), float('inf')
COUNTS = ('batch_size', 'eval_batch_size', 'accum_steps', 'log_every', 'keep', 'data.image_size')
REFUSED = {
    **dict.fromkeys(COUNTS, (0, -1)),
    'epochs': (0.0, -1.0, NAN, INF),
    'eval_epochs': (0.0, -1.0, NAN, INF),
    'label_smoothing': (-.1, 1.0, 2.0, NAN, INF),
    'ema_decay': (-.1, 1.0, 2.0, NAN, INF),
    'augment.cutmix': (-.1, 1.1, NAN, INF),
    'augment.crop_padding': (-1, 8),
    'max_loss_ratio': (-1.0, .5, 1.0, NAN, INF),
    'seed': (-1, 2**32),  # jax sees the lowest 32 bits only
    'optim.warmup_epochs': (NAN, INF),
}
ACCEPTED = {
    **dict.fromkeys(COUNTS[:-1], (1,)),
    'data.image_size': (2,),
    'epochs': (.01, 1e4),
    'label_smoothing': (0.0, .999),
    'ema_decay': (0.0, .9999),
    'augment.cutmix': (0.0, 1.0),
    'augment.crop_padding': (0, 7),
    'max_loss_ratio': (0.0, 1.5),
    'seed': (0, 2**32 - 1),
    'optim.warmup_epochs': (0.0,),
}
pairs = lambda table: [(key, value) for key, values in table.items() for value in values]


@pytest.mark.parametrize('key, value', pairs(REFUSED))
def test_impossible_numbers_are_named(key, value):
  config = common.get_config()
  config.update_from_flattened_dict({key: value})
  with pytest.raises(BadInput) as error:
    config_lib.check(config)
  assert f'{key}={value} must be' in str(error.value)


@pytest.mark.parametrize('key, value', pairs(ACCEPTED))
def test_numbers_at_the_border_pass(key, value):
  config = common.get_config()
  config.update_from_flattened_dict({key: value})
  config_lib.check(config)
