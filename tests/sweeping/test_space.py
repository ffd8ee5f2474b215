"""What the texts behind --sweep.KEY mean, and which of them mean nothing."""
import itertools

import pytest

from configs import common
from configs import digits
from configs import folder
from vit_jax.errors import BadInput
from vit_jax.sweeping import space
from vit_jax.sweeping.space import Range
from vit_jax.sweeping.space import Values


@pytest.mark.parametrize(('key', 'text', 'expected'), [
    ('optim.lr', '1e-4,3e-4, 1', Values((1e-4, 3e-4, 1.0))),
    ('seed', '0:3', Values((0, 1, 2))),
    ('seed', '5:-1:-2', Values((5, 3, 1))),
    ('seed', '7', Values((7,))),
    ('seed', '1..4', Range(1, 4, False)),
    ('optim.lr', 'log:1e-5..1e-2', Range(1e-5, 1e-2, True)),
    ('optim.lr', '.1...5', Range(.1, .5, False)),
    ('ema_decay', '0..0.5', Range(0.0, .5, False)),
    ('augment.flip', 'true,False', Values((True, False))),
    ('optim.name', 'adamw,muon', Values(('adamw', 'muon'))),
    ('data.path', '../cats,../dogs', Values(('../cats', '../dogs'))),
    ('data.classes', "('cat','dog'),('eel',)", Values((('cat', 'dog'), ('eel',)))),
    ('model.num_heads', '2,4', Values((2, 4))),
    ('model.stem', 'conv,linear', Values(('conv', 'linear')))])
def test_texts_become_values_of_the_key(key, text, expected):
  found = space.parse({key: text}, common.get_config())[key]
  assert found == expected
  kinds = lambda part: [type(value) for value in part.extremes]
  assert kinds(found) == kinds(expected)


@pytest.mark.parametrize(('key', 'text', 'message'), [
    ('seed', '3:3', '--sweep.seed=3:3 is empty: 3:3 counts from 3 to one before 3; try 3:6'),
    ('seed', '0:3:0', 'is empty'),
    ('seed', '4..1', 'is empty: 4 is not less than 1'),
    ('optim.lr', '1e-2..1e-2', 'is empty: 0.01 is not less than 0.01'),
    ('optim.lr', 'log:0..1', 'a range by its logarithm starts above 0'),
    ('optim.lr', '1,x', "'x' is no number; name values (1,2,3) or search in a range low..high"),
    ('optim.lr', 'nan', "'nan' is no number"),
    ('optim.lr', '1..inf', "'inf' is no number"),
    ('optim.lr', '0:3', "'0:3' is no number"),
    ('seed', '1.5', "'1.5' is no whole number"),
    ('seed', '1,,2', 'a value is missing'),
    ('optim.name', '', 'a value is missing'),
    ('augment.flip', 'yes', "'yes' is no true or false"),
    ('data.classes', 'cat,dog', "'cat' is no tuple, as \"('cat','dog')\" is"),
    ('optim.lr', '1,1.0', 'names 1.0 twice')])
def test_a_text_that_means_nothing_is_refused(key, text, message):
  with pytest.raises(BadInput) as error:
    space.parse({key: text}, common.get_config())
  assert str(error.value).startswith(f'--sweep.{key}={text}') and message in str(error.value)


def test_a_key_that_the_recipe_leaves_open_keeps_its_type():
  assert space.parse({'batch_size': '32,64'}, folder.get_config())['batch_size'] == Values((32, 64))


def test_a_grid_is_every_combination():
  found = space.grid({'optim.lr': Values((.1, .2)), 'seed': Values((0, 1, 2))})
  expected = list(itertools.product((.1, .2), (0, 1, 2)))
  assert [tuple(point.values()) for point in found] == expected and len(found) == 6
  with pytest.raises(BadInput, match=r'--sweep.optim.lr is a range, and a grid has none'):
    space.grid({'optim.lr': Range(.1, .2, False)})


def test_what_optuna_keeps_is_numbers_and_text():
  assert space.stored({'optim.lr': .1, 'data.classes': ('cat', 'dog')}) == {
      'optim.lr': .1, 'data.classes': "('cat', 'dog')"}


def test_each_value_and_each_end_is_checked():
  found = space.extremes({'optim.lr': Range(.1, .2, False), 'seed': Values((0, 1, 2))})
  assert {(point['optim.lr'], point['seed']) for point in found} == {(.1, 0), (.2, 0), (.1, 1), (.1, 2)}


def test_values_go_into_the_config():
  before = common.get_config()
  after = space.with_values(before, {'optim.lr': .5, 'model.num_heads': 2, 'data.classes': ('0', '1')})
  assert (after.optim.lr, after.model.num_heads, after.data.classes) == (.5, 2, ('0', '1'))
  assert before.optim.lr != .5
  with pytest.raises(BadInput, match=r'with augment.cutmix=2.0: augment.cutmix=2.0 must be a probability'):
    space.with_values(before, {'augment.cutmix': 2.0})


def test_what_some_number_of_pictures_would_make_possible_is_no_mistake():
  assert space.with_values(folder.get_config(), {'batch_size': 1024}).batch_size == 1024
  config = digits.get_config()
  config.augment.sizes = (4, 8)
  with pytest.raises(BadInput, match=r'with model.posemb=learned: augment.sizes=\(4, 8\) needs positions'):
    space.with_values(config, {'model.posemb': 'learned'})
