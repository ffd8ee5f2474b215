"""What a job decides before any step."""
import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import pytest

from configs import digits
from configs import finetune
from configs import folder
from vit_jax import job as job_lib
from vit_jax import run
from vit_jax.errors import BadInput
from vit_jax.models import described
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
  description = described.describe(model, 'abc', 8)
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


def test_a_run_is_evaluated_on_devices_that_do_not_share_its_batch(tmp_path, monkeypatch):
  config, folder = digits.get_config(), run.RunFolder(tmp_path / 'run')
  job = job_lib.prepare(config, tmp_path)
  folder.create(config, described.describe(job.model, job.data.class_names, 8), job.describe_data())
  monkeypatch.setattr(job_lib.jax, 'device_count', lambda: 3)
  assert job_lib.of_run(folder, tmp_path).config.batch_size == 64
  with pytest.raises(BadInput, match='batch_size=64 cannot be cut into equal parts for 3 devices'):
    job_lib.of_run(folder, tmp_path, training=True)


def test_weights_that_are_not_named_are_asked_for(tmp_path):
  with pytest.raises(BadInput, match=r'this recipe starts from weights; .*--config\.init='):
    job_lib.prepare(open_ended(''), tmp_path)


def test_sizes_that_grow_need_positions_of_any_size(tmp_path):
  """Whether the config or the variant says that they are a table."""
  config = digits.get_config()
  config.augment.sizes = (4, 8)
  config.model.posemb = 'sincos2d'
  job_lib.prepare(config, tmp_path)
  for config.model.posemb, config.model.variant in (('learned', 'small-digits'), (None, 'ViT-Ti_16')):
    config.model.patch_size = 2
    with pytest.raises(BadInput, match=r'augment\.sizes=\(4, 8\) needs positions that fit any size'):
      job_lib.prepare(config, tmp_path)
  config.augment.sizes = (8,)  # That of the table.
  job_lib.prepare(config, tmp_path)


def early(**changes):
  """The recipe for folders, whose model and epochs follow from the number of pictures, as it is checked before them."""
  config = folder.get_config()
  config.data.path = 'no/such/folder'
  with config.unlocked():
    config.update_from_flattened_dict(changes)
  return config


@pytest.mark.parametrize('changes', [{'batch_size': 1024}, {'model.num_heads': 3}])
def test_what_fits_some_number_of_pictures_is_not_refused_before_they_are_counted(changes, tmp_path):
  with pytest.raises(BadInput, match='no/such/folder'):
    job_lib.prepare(early(**changes), tmp_path)


@pytest.mark.parametrize('changes, message', [({'model.num_heads': 7}, 'num_heads=7'), ({'seed': -1}, 'seed=-1')])
def test_what_fits_none_is_refused_first(changes, message, tmp_path):
  with pytest.raises(BadInput, match=message):
    job_lib.prepare(early(**changes), tmp_path)


def test_the_step_and_the_optimizer_get_what_the_config_says(tmp_path, monkeypatch):
  config = digits.get_config()
  step_keys = {'label_smoothing': .11, 'ema_decay': .77, 'accum_steps': 2, 'log_every': 7, 'max_loss_ratio': 6.0}
  optim_keys = {'name': 'sgd', 'weight_decay': .04, 'grad_clip': 3.0, 'layer_decay': .5}
  mixing = {'flip': True, 'crop_padding': 1, 'crop_scale': .6, 'trivial': True, 'cutmix': .1, 'mixup': .2,
            'erasing': .3}
  config.update_from_flattened_dict({**step_keys, 'on_bad_step': 'skip', 'optim.lr': .5, 'optim.muon_lr': .25,
                                     **{f'optim.{key}': value for key, value in optim_keys.items()},
                                     **{f'augment.{key}': value for key, value in mixing.items()}})
  given = {}
  make = job_lib.optim.make_optimizer
  monkeypatch.setattr(job_lib.optim, 'make_optimizer', lambda *args, **options: given.update(options) or make(
      *args, **options))
  job = job_lib.prepare(config, tmp_path)
  monkeypatch.setattr(job, 'teacher', made := object(), raising=False)
  step = job.step(5)
  assert {key: getattr(step, key) for key in step_keys} == step_keys
  assert (step.skip_bad, step.head_only, step.num_classes, step.teacher) == (True, False, 10, made)
  assert step.augment.keywords == mixing | {'size': 5}
  assert {key: given[key] for key in (*optim_keys, 'peak_lr', 'muon_lr')} == optim_keys | {
      'peak_lr': .5, 'muon_lr': .25}
  assert given['total_steps'] == job.total_steps and given['warmup_steps'] < job.total_steps
  config.optim.layer_decay = 0.0
  assert job_lib.prepare(config, tmp_path).step(8).head_only


def test_the_data_are_those_that_the_config_says(tmp_path, monkeypatch):
  config = digits.get_config()
  said = {'name': 'digits', 'path': 'somewhere', 'dir': 'tfds', 'classes': ('1', '7'), 'image_size': 8,
          'val_fraction': .2, 'clear_of': ('cifar10',)}
  config.update_from_flattened_dict({f'data.{key}': value for key, value in said.items()})
  given, load = {}, job_lib.load.load
  def noted(name, **options):
    given.update(options, name=name)
    return load('digits', **options | {'clear_of': ()})
  monkeypatch.setattr(job_lib.load, 'load', noted)
  job = job_lib.prepare(config, tmp_path)
  assert given == {('data_dir' if key == 'dir' else key): value for key, value in said.items()} | {
      'cache_dir': tmp_path}
  assert job.data.class_names == ('1', '7')


def test_both_views_are_judged_where_training_pictures_are_mirrored(tmp_path):
  config = digits.get_config()
  config.augment.flip = True
  job = job_lib.prepare(config, tmp_path)
  assert 'accuracy_flip' in job.evaluate(job.initial_state().ema, job.data.validation)


@pytest.fixture
def teacher(tmp_path):
  """Weights that know digits, with positions in a table, and what they are of: (file, model, params)."""
  model = variants.build('small-digits', num_classes=10, image_size=8, hidden_size=16, mlp_dim=32, num_layers=1,
                         patch_dropout=.5, posemb='learned')
  params = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)['params']
  params['head']['kernel'] = jax.random.normal(jax.random.key(1), (16, 10))
  names = job_lib.prepare(digits.get_config(), tmp_path).data.class_names
  files.save(tmp_path / 'w.safetensors', params, described.describe(model, names, 8), '')
  return tmp_path / 'w.safetensors', model, params


def taught(file, **changes):
  """The digits recipe with a teacher."""
  config = digits.get_config()
  config.update_from_flattened_dict({'teacher': str(file), 'dtype': 'float32', 'model.posemb': 'sincos2d', **changes})
  return config


def test_a_teacher_answers_as_its_weights_do(teacher, tmp_path):
  file, model, params = teacher
  images = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)).astype(np.float32)
  found = job_lib.prepare(taught(file), tmp_path).teacher(images)
  np.testing.assert_allclose(found, model.apply({'params': params}, images, train=False), rtol=1e-4, atol=1e-5)


def test_a_teacher_has_to_know_pictures_of_all_sizes(teacher, tmp_path):
  job = job_lib.prepare(taught(teacher[0], **{'augment.sizes': (4, 8)}), tmp_path)
  with pytest.raises(BadInput, match=r'has positions for pictures of 8×8 alone, and augment\.sizes=\(4, 8\)'):
    job.read_other_weights()


def test_a_teacher_that_became_another_one_is_refused(teacher, tmp_path):
  file, model, params = teacher
  config, folder = taught(file), run.RunFolder(tmp_path / 'run')
  job = job_lib.prepare(config, tmp_path)
  def data_description():
    """As another start describes what it finds."""
    job = job_lib.prepare(config, tmp_path)
    return job.describe_data() | job.describe_teacher()
  folder.create(config, described.describe(job.model, job.data.class_names, 8), data_description())
  folder.check_data(data_description())
  params['head']['bias'] = params['head']['bias'] + 1
  files.save(file, params, described.describe(model, job.data.class_names, 8), '')
  with pytest.raises(BadInput, match="the teacher's weights have changed since"):
    folder.check_data(data_description())
  file.unlink()
  assert job_lib.of_run(folder, tmp_path).total_steps == job.total_steps  # To evaluate it needs no teacher.


def test_weights_that_do_not_say_what_they_are_of_are_refused(teacher, tmp_path):
  _, _, params = teacher
  files.save(tmp_path / 'bare.safetensors', params, None, '')
  bare = tmp_path / 'bare.safetensors'
  with pytest.raises(BadInput, match=r'bare\.safetensors does not say what model it is of'):
    job_lib.prepare(taught(bare), tmp_path).read_other_weights()
  config = open_ended(bare)
  with pytest.raises(BadInput, match=r'does not say for which pictures it is; give --config\.data\.image_size'):
    job_lib.prepare(config, tmp_path)
  config.data.image_size = 8
  with pytest.raises(BadInput, match=r'does not say what model it is of; name that with --config\.model\.variant'):
    job_lib.prepare(config, tmp_path)


def test_what_a_run_chose_stays_whatever_would_be_chosen_today(tmp_path, monkeypatch):
  config = digits.get_config()
  with config.unlocked():
    config.epochs = config_dict.placeholder(float)
  job, folder = job_lib.prepare(config, tmp_path), run.RunFolder(tmp_path / 'run')
  folder.create(config, described.describe(job.model, job.data.class_names, 8), job.describe_data())
  monkeypatch.setattr(job_lib.defaults, '_BY_COUNT', [(0, {'steps': 77})])
  assert job_lib.prepare(config, tmp_path).total_steps == 77
  again = job_lib.of_run(folder, tmp_path)
  assert again.total_steps == job.total_steps > 77 and again.describe_data() == job.describe_data()


def test_a_recipe_that_starts_from_weights_is_not_trained_without(tmp_path):
  config = finetune.get_config()
  config.data.image_size = 64
  with pytest.raises(BadInput, match=r'init has no value; give it one with --config\.init='):
    job_lib.prepare(config, tmp_path)
