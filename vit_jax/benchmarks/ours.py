"""What vit_jax does in a benchmark, by the same code that trains and answers for its users."""
import functools
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np

from configs import common
from vit_jax import augment
from vit_jax import calibration
from vit_jax import config as config_lib
from vit_jax import forecast
from vit_jax import job as job_lib
from vit_jax import machine
from vit_jax import predictor
from vit_jax import sharding
from vit_jax import train
from vit_jax.benchmarks import setting as setting_lib
from vit_jax.data import source
from vit_jax.models import flops
from vit_jax.models import rounded
from vit_jax.models import variants
from vit_jax.models import vit
from vit_jax.weights import load


def make(setting):
  """The work of a setting, made ready."""
  kinds = {'step': Training, 'evaluation': Evaluation, 'Predictor': Answering}
  if setting.work == 'product':
    return Product(setting)
  if setting.work == 'compile':
    return Compiled(setting)
  return kinds[setting.way](setting)


def made_up_job(setting):
  """The Job of a setting without a recipe: AdamW on made-up pictures, and nothing done to pictures or labels."""
  config = common.get_config()
  config.batch_size, config.data.image_size = setting.batch_size, setting.image_size
  config.epochs = 1_000
  config.augment.crop_padding, config.label_smoothing, config.optim.grad_clip = 0, 0.0, 0.0
  model = variants.build(
      None, num_classes=setting_lib.CLASSES, image_size=setting.image_size, dtype=jnp.dtype(setting.dtype),
      row=dict(hidden_size=setting.width, num_layers=setting.depth, num_heads=setting.num_heads,
               mlp_dim=4 * setting.width, patch_size=setting_lib.PATCH, classifier='gap'))
  sharding.check_batch_size('--batch_size', setting.batch_size, jax.device_count())
  return job_lib.make(config, made_up_data(config, setting_lib.CLASSES), model)


def made_up_data(config, num_classes):
  """A DataSet of noise, as many pictures of the config's size as one of its batches has."""
  size, rng = config.data.image_size, np.random.default_rng(0)
  images = rng.integers(0, 256, (config.batch_size, size, size, 3), np.uint8)
  pictures = source.Source.whole(images, rng.integers(0, num_classes, config.batch_size).astype(np.int32))
  return source.DataSet('made up', tuple(map(str, range(num_classes))), pictures, pictures, pictures)


def job_of(setting):
  """The job of a setting: its recipe's, or a made-up one."""
  if not setting.recipe:
    return made_up_job(setting)
  config = config_lib.from_json(setting.recipe)
  config.dtype = setting.dtype
  return job_lib.prepare(config, pathlib.Path(setting.cache_dir))


def first_batch(job):
  """A batch of the training's first pictures, u8[B,S,S,3] and i32[B]; the same ones again where there are fewer."""
  return job.data.train.read(np.arange(job.config.batch_size) % len(job.data.train))


def step_flops(job):
  """FLOP of the products in a train step, on pictures of its last size."""
  return forecast.step_flops(job, job.size_at(job.total_steps))


class Work:
  """A job, and its first batch again and again; what it says of itself is JSON-able."""

  def __init__(self, setting):
    self.job = job_of(setting)
    self.batch = first_batch(self.job)
    self.pictures = self.job.config.batch_size

  def facts(self):
    """What is known before it runs: parameters; pictures and 'flops' of a step; the length of its training."""
    return {'parameters': vit.num_params(self.job.abstract_state.params), 'pictures': self.pictures,
            'flops': self.flops(), 'compiled_memory': self.compiled_memory(), 'total_steps': self.job.total_steps}

  def flops(self):
    """FLOP of a step."""
    return self.pictures * flops.flops_per_image(self.job.model, self.job.config.data.image_size)

  def compiled_memory(self):
    """Bytes that the compiled step says it needs, where it is known."""
    return None

  def device_memory(self):
    """The most bytes of an accelerator's own memory that were in use; None on a processor."""
    return (jax.local_devices()[0].memory_stats() or {}).get('peak_bytes_in_use')


class Training(Work):
  """The train step of the job, as `train.loop` runs it."""

  def __init__(self, setting):
    super().__init__(setting)
    self.begin()

  def begin(self):
    """Makes the job's first state and compiles its step."""
    self.state, self.key, self.waiting = self.job.initial_state(), jax.random.key(0), None
    self.step = self.job.compiled_train_step(self.state, self.job.size_at(self.job.total_steps))
    self.alone = train.one_by_one(self.job, self.step)

  def run(self, count):
    """Takes so many steps, the last one to its end."""
    for _ in range(count):
      self.state, metrics = self.step(self.state, sharding.shard_batch(self.batch, self.job.mesh), self.key)
      jax.block_until_ready(metrics if self.alone else self.waiting)  # One step is waiting at most.
      self.waiting = metrics
    jax.block_until_ready(self.state)

  def flops(self):
    """FLOP of a step."""
    return step_flops(self.job)

  def compiled_memory(self):
    """Bytes that the compiled step says it needs."""
    return machine.memory_of(self.step)


class Evaluation(Work):
  """Pictures → probabilities, compiled as evaluations are, for batches of the training's size."""

  def __init__(self, setting):
    super().__init__(setting)
    model = self.job.model
    answer = lambda params, images: jax.nn.softmax(
        model.apply({'params': params}, augment.normalize(images), train=False).astype(jnp.float32))
    self.params = rounded.rounded(self.job.initial_state().params, model.dtype)
    self.step = self.job.compiled(answer, self.params, self.job.abstract_batch(self.pictures)['image'])

  def run(self, count):
    """Answers so many batches."""
    for _ in range(count):
      jax.device_get(self.step(self.params, sharding.shard_batch(self.batch['image'], self.job.mesh)))


class Answering(Work):
  """What `vit_jax.predict` and the demo do with pictures: Predictor.answer, in float32."""

  def __init__(self, setting):
    super().__init__(setting)
    opened = load.Opened(self.job.model.clone(dtype=jnp.float32), self.job.initial_state().params,
                         self.job.data.class_names, self.job.config.data.image_size, 'made up',
                         calibration.Calibration())
    self.answer = predictor.Predictor(opened, 'made up', pathlib.Path(setting.cache_dir)).answer

  def run(self, count):
    """Answers so many batches."""
    for _ in range(count):
      self.answer(self.batch['image'])


class Compiled(Work):
  """A train step that is compiled for so many devices, to be asked what memory it needs, and not run."""

  def __init__(self, setting):
    self.job = job_of(setting)
    self.pictures = self.job.config.batch_size

  @functools.cached_property
  def step(self):
    """The compiled step."""
    return self.job.compiled_train_step(self.job.abstract_state, self.job.size_at(self.job.total_steps))

  flops, compiled_memory = Training.flops, Training.compiled_memory


class Product:
  """Two large matrices, multiplied: what the machine could do at most."""

  def __init__(self, setting):
    self.dtype = jnp.dtype(setting.dtype)

  def facts(self):
    """What this machine is, since the process that asks must not occupy its accelerator."""
    name = jax.default_backend()
    return {'environment': machine.environment(), 'device': 'cuda' if name == 'gpu' else name}

  def turn(self, seconds):
    """-> {'flops_per_second', 'watts', 'seconds'}; how long it takes, forecast.py says."""
    del seconds
    started = time.perf_counter()
    speed, watts = forecast.measured(self.dtype)
    return {'flops_per_second': speed, 'watts': watts, 'seconds': time.perf_counter() - started}
