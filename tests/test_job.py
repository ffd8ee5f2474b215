"""What a job decides before any step."""
import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import pytest

from configs import digits
from vit_jax import job as job_lib
from vit_jax import run
from vit_jax.errors import BadInput
from vit_jax.models import variants
from vit_jax.weights import files


@pytest.mark.parametrize(('sizes', 'expected'), [
    ((), [8] * 10), ((4, 8), [4] * 5 + [8] * 5), ((2, 4, 8), [2] * 4 + [4] * 3 + [8] * 3)])
def test_training_is_cut_into_equal_parts_one_for_each_size(sizes, expected):
  config = digits.get_config()
  config.augment.sizes = sizes
  job = job_lib.Job(config, data=None, model=None, mesh=None, tx=None, rate=None, total_steps=10, eval_every=5)
  assert [job.size_at(step) for step in range(10)] == expected
  assert job.size_at(10) == 8


def open_ended(init):
  """The digits recipe with model and size of the pictures left to the weights that it starts from."""
  config = digits.get_config()
  config.init = str(init)
  config.dtype = 'float32'
  with config.unlocked():
    config.model.variant = config_dict.placeholder(str)
    config.data.image_size = config_dict.placeholder(int)
  return config


def test_model_and_size_are_those_of_the_weights_unless_given(tmp_path):
  sizes = dict(hidden_size=16, mlp_dim=32, num_layers=1, posemb='sincos2d')
  model = variants.build('small-digits', num_classes=3, image_size=8, **sizes)
  params = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)['params']
  description = run.describe_model(model, 'abc', 8)
  files.save(tmp_path / 'w.safetensors', params, description, '')

  config = open_ended(tmp_path / 'w.safetensors')
  job = job_lib.prepare(config, tmp_path)
  assert job.model == variants.build('small-digits', num_classes=10, **sizes)
  assert job.config.data.image_size == 8
  kernel = lambda params: params['Transformer']['encoderblock_0']['MlpBlock_3']['Dense_0']['kernel']
  np.testing.assert_array_equal(kernel(job.initial_state().params), kernel(params))
  # A run that exists says itself what its model is.
  (tmp_path / 'w.safetensors').unlink()
  assert job_lib.prepare(config, tmp_path, description).model == job.model
  assert job_lib.prepare(config, tmp_path, description).abstract_state == job.abstract_state

  config.model.patch_dropout = 0.5
  job = job_lib.prepare(config, tmp_path, description)
  assert job.model.patch_dropout == 0.5


def test_weights_that_are_not_named_are_asked_for(tmp_path):
  with pytest.raises(BadInput, match=r'this recipe starts from weights; .*--config\.init='):
    job_lib.prepare(open_ended(''), tmp_path)
