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


def test_no_differences():
  assert config_lib.differences(small_config(), small_config()) == []


def test_the_defaults_pass():
  config_lib.check(common.get_config())


POSITIVE = ('batch_size', 'eval_batch_size', 'accum_steps', 'epochs', 'log_every', 'eval_epochs', 'keep',
            'data.image_size')
FLOATS = ('epochs', 'eval_epochs')


@pytest.mark.parametrize('key, value', [
    *((key, value) for key in POSITIVE for value in (0, -1)),
    *((key, float(value)) for key in FLOATS for value in ('nan', 'inf', '-inf')),
    *((key, float(value)) for key in ('label_smoothing', 'ema_decay') for value in ('-0.1', '1.0', '2', 'nan', 'inf')),
    *(('augment.cutmix', float(value)) for value in ('-0.1', '1.1', 'nan')), ('augment.crop_padding', -1), ('augment.crop_padding', 8),
    ('seed', -1),
    *(('optim.warmup_epochs', float(value)) for value in ('nan', 'inf'))])
def test_impossible_numbers_are_named(key, value):
  config = common.get_config()
  kind = type(config_lib.flatten(config)[key])
  config.update_from_flattened_dict({key: kind(value)})
  with pytest.raises(BadInput) as error:
    config_lib.check(config)
  assert f'{key}={kind(value)} must be' in str(error.value)


@pytest.mark.parametrize('key, value', [
    ('label_smoothing', 0.0), ('label_smoothing', .999), ('ema_decay', 0.0), ('augment.cutmix', 0.0), ('augment.cutmix', 1.0),
    ('augment.crop_padding', 0),
    ('augment.crop_padding', 7), ('seed', 0), ('epochs', .01), ('batch_size', 1)])
def test_numbers_at_the_border_pass(key, value):
  config = common.get_config()
  config.update_from_flattened_dict({key: value})
  config_lib.check(config)
