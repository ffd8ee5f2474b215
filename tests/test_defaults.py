"""What a recipe leaves open: filled by the number of pictures, and by nothing that was given."""
import pytest

from configs import digits
from configs import folder
from vit_jax import config as config_lib
from vit_jax import defaults
from vit_jax.errors import BadInput


@pytest.mark.parametrize('count, variant, batch_size, steps', [
    (40, 'small-conv_8', 32, 2000), (999, 'small-conv_8', 32, 2000), (1000, 'small-conv_8', 64, 4000),
    (20_000, 'medium-conv_8', 128, 6000), (10**6, 'medium-conv_8', 128, 6000)])
def test_follows_the_number_of_pictures(count, variant, batch_size, steps):
  config, chosen = defaults.fill(folder.get_config(), count)
  assert config.is_locked
  assert (config.model.variant, config.batch_size) == (variant, batch_size)
  assert config.epochs * count / batch_size == pytest.approx(steps, rel=.05)
  assert config.optim.warmup_epochs == pytest.approx(config.epochs / 20, rel=.05)
  assert config.eval_epochs == pytest.approx(config.epochs / 10, rel=.05)
  assert chosen.keys() == {'model.variant', 'batch_size', 'epochs', 'eval_epochs', 'optim.warmup_epochs',
                           'augment.cutmix'}


def test_what_is_given_stays():
  config = folder.get_config()
  config.epochs, config.model.variant = 3.0, 'small-conv'
  filled, chosen = defaults.fill(config, 500)
  assert (filled.epochs, filled.model.variant, filled.eval_epochs) == (3.0, 'small-conv', .3)
  assert not {'epochs', 'model.variant'} & chosen.keys()
  assert config.eval_epochs is None  # The one that was given is left as it was.


def test_full_recipes_are_left_as_they_are():
  config, chosen = defaults.fill(digits.get_config(), 1295)
  assert chosen == {} and config_lib.differences(config, digits.get_config()) == []


def test_a_key_without_default_is_named():
  config = digits.get_config()
  with config.unlocked():
    config.seed = None
  with pytest.raises(BadInput, match=r'seed has no value; give it one with --config\.seed='):
    defaults.fill(config, 5)
