"""What a config becomes before the first step: data, model, optimizer, and the compiled steps."""
import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vit_jax import augment
from vit_jax import config as config_lib
from vit_jax import cpu
from vit_jax import defaults
from vit_jax import digests
from vit_jax import evaluate
from vit_jax import optim
from vit_jax import processes
from vit_jax import sharding
from vit_jax import step as step_lib
from vit_jax.data import load
from vit_jax.data import pipeline
from vit_jax.errors import BadInput
from vit_jax.models import described
from vit_jax.models import rounded
from vit_jax.models import variants
from vit_jax.weights import load as load_weights


@dataclasses.dataclass
class Job:
  """What a config becomes before the first step: data, model, optimizer, and how long it takes."""
  config: Any
  data: Any
  model: Any
  mesh: Any
  tx: Any
  rate: Any  # step -> AdamW's learning rate
  total_steps: int
  eval_every: int  # steps
  weights: Any = None  # what `weights.load.read` found where the config starts from; None if not yet read
  chosen: dict = dataclasses.field(default_factory=dict)  # {key: value} that the config left open
  eval_step: Any = None  # compiled when it is first needed

  def describe_data(self):
    """What the data was, as JSON-able data: the run folder keeps it, and knows by it whether the data has changed."""
    data = self.data
    counts = {name: np.bincount(part.labels, minlength=len(data.class_names)).tolist()
              for name, part in (('train', data.train), ('validation', data.validation), ('test', data.test))}
    return {'name': data.name, 'class_names': list(data.class_names), 'counts': counts, 'notes': list(data.notes),
            'fingerprint': data.fingerprint, 'test_fingerprint': data.test_fingerprint, 'chosen': self.chosen}

  def validates(self, step):
    """Whether a validation and a checkpoint follow this step: every so many epochs, and at the end."""
    left = self.total_steps - step
    # One that would come just before the last is left out.
    return left == 0 or (step % self.eval_every == 0 and left >= self.eval_every / 2)

  def create_state(self, key):
    """A pure function: random key -> the state before the first step."""
    return step_lib.create_state(self.model, self.tx, key, self.config.data.image_size)

  def initial_state(self):
    """The state before the first step, on every device of the mesh."""
    where = sharding.of(self.abstract_state)
    state = jax.jit(self.create_state, out_shardings=where)(jax.random.key(self.config.seed))
    if not self.config.init:
      return state
    # Each a copy of its own: the train step gives both buffers away.
    copy = lambda: jax.tree.map(lambda leaf, place: jax.device_put(np.array(leaf), place), self.first_weights,
                                where.params)
    return state.replace(params=copy(), ema=copy())

  def read_other_weights(self):
    """Reads what the training starts from and who teaches it; raises BadInput where they do not fit."""
    return self.config.init and self.first_weights, self.teacher

  @functools.cached_property
  def first_weights(self):
    """The weights that the config starts from, as the model's; raises BadInput where they do not fit it."""
    flat, _, _ = self.weights or load_weights.read(self.config.init)
    return load_weights.fit(flat, self.abstract_state.params, self.config.init)

  @functools.cached_property
  def teacher_weights(self):
    """What `weights.load.read_described` finds of the config's teacher, read once: it may still be training."""
    return load_weights.read_described(self.config.teacher)

  @functools.cached_property
  def teacher(self):
    """Pictures f32[B,S,S,3] in [-1,1] -> the logits f32[B,K] of the config's teacher, or None without one.

    Raises BadInput where it knows other classes, or the same in another order, or pictures of another size.
    """
    path = self.config.teacher
    if not path:
      return None
    flat, description, *_ = self.teacher_weights
    size, names = description['preprocessing']['image_size'], tuple(description['class_names'])
    if names != self.data.class_names or size != self.config.data.image_size:
      here = self.config.data.image_size
      raise BadInput(f'teacher={path!r} was trained on pictures of {size}×{size} of {", ".join(names[:10])}; the data '
                     f'are {here}×{here} of {", ".join(self.data.class_names[:10])}: a teacher needs the same classes, '
                     'order and size')
    model = described.build(description | {'dtype': jnp.dtype(self.model.dtype).name})
    sizes = self.config.augment.sizes
    if config_lib.outgrows(self.config, getattr(model, 'posemb', None)):
      raise BadInput(f'teacher={path!r} has positions for pictures of {size}×{size} alone, and augment.sizes={sizes}; '
                     'leave that out, or take a teacher whose model.posemb is sincos2d')
    for other in sizes:
      variants.check_image_size(model, other)
    params = load_weights.fit(flat, variants.abstract_params(model, size), path)
    return lambda images: model.apply({'params': params}, images, train=False)

  def describe_teacher(self):
    """The digest of the teacher's weights, {'teacher_sha256': …}, {} without one; the run folder knows it by that."""
    return {'teacher_sha256': digests.of_tree(self.teacher_weights[0])} if self.config.teacher else {}

  @functools.cached_property
  def abstract_state(self):
    """Its shapes, dtypes and shardings, on every device whole or with `fsdp` cut into parts; nothing is computed."""
    place = lambda x: (sharding.fully_sharded(x.shape, self.mesh) if self.config.fsdp
                       else sharding.replicated(self.mesh))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place(x)),
                        jax.eval_shape(self.create_state, jax.random.key(0)))

  def size_at(self, step):
    """Pixels a side of the pictures in the step after `step` steps: the training's equal parts, one for each size."""
    sizes = self.config.augment.sizes or (self.config.data.image_size,)
    return sizes[min(step * len(sizes) // self.total_steps, len(sizes) - 1)]

  def step(self, size):
    """The step_lib.Step on pictures of `size` pixels a side."""
    config = self.config
    return step_lib.Step(
        self.model, self.tx, num_classes=len(self.data.class_names), label_smoothing=config.label_smoothing,
        augment=functools.partial(
            augment.augment, size=size, flip=config.augment.flip, crop_padding=config.augment.crop_padding,
            crop_scale=config.augment.crop_scale, trivial=config.augment.trivial, cutmix=config.augment.cutmix,
            mixup=config.augment.mixup, erasing=config.augment.erasing),
        ema_decay=config.ema_decay, accum_steps=config.accum_steps, log_every=config.log_every, teacher=self.teacher,
        head_only=config.optim.layer_decay == 0, max_loss_ratio=config.max_loss_ratio,
        skip_bad=config.on_bad_step == 'skip')

  def compiled_train_step(self, state, size):
    """The train step on pictures of `size` pixels a side, compiled for this state and the batches of the config."""
    return cpu.compile_lowered(self.lowered_train_step(state, size))

  def lowered_train_step(self, state, size):
    """The same, traced only: jax.stages.Lowered. Of the state, shapes and shardings count."""
    whole, split, where = sharding.replicated(self.mesh), sharding.split(self.mesh), sharding.of(state)
    jitted = jax.jit(self.step(size).train, donate_argnums=0, in_shardings=(where, split, whole),
                     out_shardings=(where, whole))
    return jitted.lower(state, self.abstract_batch(self.config.batch_size), jax.random.key(0))

  def abstract_batch(self, batch_size):
    """The shapes and dtypes of a training batch."""
    image = (batch_size, *self.data.train.images.shape[1:])
    return {'image': jax.ShapeDtypeStruct(image, jnp.uint8),
            'label': jax.ShapeDtypeStruct((batch_size,), jnp.int32)}

  def eval_batch_size(self):
    """Pictures in a batch of an evaluation: the config's, or the next number that the devices can share."""
    return math.ceil(self.config.eval_batch_size / self.mesh.size) * self.mesh.size

  def compiled(self, step, params, batch):
    """A function of parameters and an evaluation's batch, whose shapes and dtypes `batch` has, on all devices."""
    jitted = jax.jit(step, in_shardings=(sharding.of(params), sharding.split(self.mesh)),
                     out_shardings=sharding.replicated(self.mesh))
    return cpu.compile_fast(jitted, params, batch)

  def evaluate(self, params, source):
    """One pass over a source -> metrics, as `evaluate.evaluate` says; the first call compiles."""
    batch_size, params = self.eval_batch_size(), rounded.rounded(params, self.model.dtype)
    if self.eval_step is None:
      step = evaluate.make_eval_step(self.model, flip=self.config.augment.flip)
      batch = {**self.abstract_batch(batch_size), 'mask': jax.ShapeDtypeStruct((batch_size,), jnp.bool)}
      self.eval_step = self.compiled(step, params, batch)
    batches = pipeline.eval_batches(source, batch_size=batch_size, share=processes.share())
    return evaluate.evaluate(self.eval_step, params, batches, self.mesh)


def build_model(config, description, num_classes, image_size):
  """The config's model; raises BadInput where its sizes do not fit together, or not to pictures of this size.

  Without a variant it is the model of the weights that the config starts from, which `description` describes.
  """
  sizes = config.model.to_dict()
  variant = sizes.pop('variant')
  if not variant and not description:
    raise BadInput(f'init={config.init!r} does not say what model it is of; name that with --config.model.variant=…')
  row = None if variant else {key: value for key, value in described.sizes(description).items() if key != 'num_classes'}
  return variants.build(variant, row=row, num_classes=num_classes, image_size=image_size,
                        dtype=cpu.activation_dtype(config.dtype), **sizes)


def of_run(folder, cache_dir, *, training=False):
  """The Job of a run that is there; raises BadInput where its data are not what they were.

  Only for `training` the batches have to suit the devices of this machine.
  """
  job = prepare(folder.config(), cache_dir, folder.read_json('model.json'), folder.chosen(), training=training)
  folder.check_data(job.describe_data())
  return job


def prepare(config, cache_dir, description=None, chosen=None, *, training=True):
  """Checks a config and makes a Job of it; raises BadInput for whatever cannot work.

  `description` is the model.json of the config's run folder, if there is one already, and `chosen` what the run chose
  of what the config leaves open: the weights that it started from need not be there any more. Without `training` the
  batches need not suit the devices of this machine.
  """
  weights = None
  if config.init and not description:
    weights = load_weights.read(config.init)
    _, description, _ = weights
  config = defaults.from_weights(config, description)
  def check(config):
    config_lib.check(config)
    if training:
      sharding.check_batch_size('batch_size', config.batch_size, jax.device_count(), config.accum_steps)
    for size in {config.data.image_size, *config.augment.sizes}:
      model = build_model(config, description, 2, size)
      config_lib.check_positions(config, getattr(model, 'posemb', None))
  defaults.check_early(config, check)
  data = load.load(config.data.name, path=config.data.path, data_dir=config.data.dir, cache_dir=cache_dir,
                   classes=config.data.classes, image_size=config.data.image_size,
                   val_fraction=config.data.val_fraction, clear_of=config.data.clear_of)
  config, chosen = defaults.fill(config, len(data.train), chosen)
  if chosen:
    check(config)
  model = build_model(config, description, len(data.class_names), config.data.image_size)
  return make(config, data, model, weights=weights, chosen=chosen)


def make(config, data, model, **others):
  """The Job that trains a model on data by a config which is checked and leaves nothing open; `others` are its rest."""
  steps = lambda epochs: round(epochs * len(data.train) / config.batch_size)
  total_steps = max(steps(config.epochs), 1)
  tx, rate = optim.make_optimizer(
      variants.abstract_params(model, config.data.image_size), name=config.optim.name, peak_lr=config.optim.lr,
      muon_lr=config.optim.muon_lr, weight_decay=config.optim.weight_decay,
      warmup_steps=steps(config.optim.warmup_epochs), total_steps=total_steps, grad_clip=config.optim.grad_clip,
      layer_decay=config.optim.layer_decay, dtype=model.dtype)
  return Job(config, data, model, sharding.make_mesh(), tx, rate, total_steps, max(steps(config.eval_epochs), 1),
             **others)
