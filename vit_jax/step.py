"""The train step: batch → augment → model → loss → update → metrics, as one pure function."""
import dataclasses
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
import optax

from vit_jax import losses
from vit_jax.models import vit


class TrainState(struct.PyTreeNode):
  """All that training carries from step to step; together with the seed it decides everything that follows."""
  step: Any  # i32[], steps done
  params: Any
  ema: Any  # running mean of params, like params
  opt_state: Any
  sums: Any  # {'loss', 'accuracy', 'grad_norm'}: f32[], over the steps since the last multiple of `log_every`
  bad_step: Any  # i32[], the first bad step, or the newest one where they are skipped; 0 while there is none
  bad_loss: Any  # f32[], its loss
  usual_loss: Any  # f32[], running mean of the loss, over good steps; 0 before the first


def create_state(model, tx, key, image_size):
  """The state before the first step."""
  images = jnp.zeros((1, image_size, image_size, 3))
  params = model.init(key, images, train=False)['params']
  zero = jnp.zeros(())
  return TrainState(step=jnp.zeros((), jnp.int32), params=params, ema=params, opt_state=tx.init(params),
                    sums={'loss': zero, 'accuracy': zero, 'grad_norm': zero},
                    bad_step=jnp.zeros((), jnp.int32), bad_loss=zero, usual_loss=zero)


def young_mean(mean, new, decay, count):
  """The next running mean of `count` values before; young ones forget faster, or they would be made of the first."""
  decay = jnp.minimum(decay, (1 + count) / (10 + count))
  return optax.incremental_update(new, mean, 1 - decay)


@dataclasses.dataclass(frozen=True)
class Step:
  """One step: `train` takes it, `look` shows what it would do, picture by picture. Both are pure functions.

  `augment` makes pictures f32[B,S',S',3] in [-1,1] and targets of a key, the batch's pictures and targets f32[B,K].
  A `teacher`, f32[B,S',S',3] -> logits f32[B,K], sees the same augmented pictures, and what it answers takes the
  place of the labels (Beyer et al. 2022, "consistent teaching"). With `head_only` no gradient is computed below the
  head, or DeiT's two. A step is bad where its loss or gradient is not finite or, with `max_loss_ratio` > 0, its loss is
  more than so many times the running mean; with `skip_bad` it changes no weights.
  """
  model: Any
  tx: Any
  augment: Any
  num_classes: int
  label_smoothing: float
  ema_decay: float
  log_every: int
  accum_steps: int = 1
  teacher: Any = None
  head_only: bool = False
  max_loss_ratio: float = 0.0
  skip_bad: bool = False

  def prepared(self, step, batch, key):
    """What the model learns from in a step: -> pictures f32[B,S',S',3], targets f32[B,K], the key of its dropout."""
    augment_key, dropout_key = jax.random.split(jax.random.fold_in(key, step))
    targets = losses.smooth_labels(batch['label'], self.num_classes, self.label_smoothing)
    with jax.named_scope('augment'):  # The name is what a profile shows, as those of the modules are.
      images, targets = self.augment(augment_key, batch['image'], targets)
    if self.teacher:
      targets = jax.nn.softmax(self.teacher(images))
    return images, targets, dropout_key

  def losses(self, params, images, targets, key):
    """-> the loss of each picture in nats, f32[B], and logits, f32[B,K]; of DeiT's two heads [2,B] and [2,B,K]."""
    if self.head_only:
      params = jax.lax.stop_gradient(params) | {name: params[name] for name in vit.HEADS if name in params}
    logits = self.model.apply({'params': params}, images, train=True, rngs={'dropout': key})
    return losses.cross_entropy(logits, targets), logits

  def gradients(self, params, key, *batch):
    """The gradient over pictures, targets and labels, cut into `accum_steps` parts, with mean loss and accuracy."""
    def mean_loss(params, images, targets, labels, key):
      loss, logits = self.losses(params, images, targets, key)
      return loss.mean(), jnp.mean(logits.argmax(-1) == labels)

    def part(i, batch):
      (loss, accuracy), grads = jax.value_and_grad(mean_loss, has_aux=True)(
          params, *batch, jax.random.fold_in(key, i))
      return {'loss': loss, 'accuracy': accuracy, 'grads': grads}
    if self.accum_steps == 1:
      return part(0, batch)
    # Each part takes every accum_steps-th picture, so that a batch split over devices stays where it is.
    parts = jax.tree.map(lambda x: x.reshape(-1, self.accum_steps, *x.shape[1:]).swapaxes(0, 1), batch)
    add = lambda total, item: (jax.tree.map(jnp.add, total, part(*item)), None)
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(part, 0, jax.tree.map(lambda x: x[0], parts)))
    total, _ = jax.lax.scan(add, zeros, (jnp.arange(self.accum_steps), parts))
    return jax.tree.map(lambda x: x / self.accum_steps, total)

  def train(self, state, batch, key):
    """One update from {'image': u8[B,S,S,3], 'label': i32[B]}: -> state, metrics.

    Metrics are means over the steps since the last multiple of `log_every`: 'loss' (nats), 'accuracy' (0–1, on
    the augmented pictures), 'grad_norm'; and 'bad_step', 'bad_loss', 'usual_loss', see TrainState.
    """
    images, targets, dropout_key = self.prepared(state.step, batch, key)
    out = self.gradients(state.params, dropout_key, images, targets, batch['label'])
    with jax.named_scope('update'):
      updates, opt_state = self.tx.update(out['grads'], state.opt_state, state.params)
      params = optax.apply_updates(state.params, updates)
      ema = young_mean(state.ema, params, self.ema_decay, state.step)
    if self.head_only:  # Even the mean of equal numbers is rounded.
      ema = state.ema | {name: ema[name] for name in vit.HEADS if name in ema}
    new = {'loss': out['loss'], 'accuracy': out['accuracy'], 'grad_norm': optax.tree.norm(out['grads'])}

    bad = ~(jnp.isfinite(new['loss']) & jnp.isfinite(new['grad_norm']))
    if self.max_loss_ratio:
      bad |= (state.usual_loss > 0) & (new['loss'] > self.max_loss_ratio * state.usual_loss)
    mean = jnp.where(state.usual_loss > 0, young_mean(state.usual_loss, new['loss'], .99, state.step), new['loss'])
    # Where training stops at a bad step, what was usual before it is kept, to be told.
    usual_loss = jnp.where(bad | (not self.skip_bad and state.bad_step > 0), state.usual_loss, mean)
    steps_before = state.step % self.log_every
    if self.skip_bad:
      keep = lambda old, new: jax.tree.map(lambda a, b: jnp.where(bad, a, b), old, new)
      params, ema, opt_state = keep((state.params, state.ema, state.opt_state), (params, ema, opt_state))
      # What is not finite counts as what was usual since the last line of metrics, or before it.
      usual = lambda name: state.sums[name] / jnp.where(steps_before == 0, self.log_every, steps_before)
      new = {name: jnp.where(jnp.isfinite(value), value, usual(name)) for name, value in new.items()}
    step = state.step + 1
    note = bad & (self.skip_bad | (state.bad_step == 0))
    bad_step = jnp.where(note, step, state.bad_step)
    bad_loss = jnp.where(note, out['loss'], state.bad_loss)

    sums = {name: jnp.where(steps_before == 0, 0.0, state.sums[name]) + new[name] for name in new}
    state = TrainState(step, params, ema, opt_state, sums, bad_step, bad_loss, usual_loss)
    metrics = {name: total / (steps_before + 1) for name, total in sums.items()}
    return state, {**metrics, 'bad_step': bad_step, 'bad_loss': bad_loss, 'usual_loss': usual_loss}

  def look(self, state, batch, key):
    """What `train` would do with a batch: -> {'images': f32[B,S',S',3], 'loss': f32[B], 'probability': f32[B] of the
    label, 'grad_norms': like params}.
    """
    images, targets, dropout_key = self.prepared(state.step, batch, key)
    # As in `gradients`, whose only part it is; dropout differs where there are several.
    loss, logits = self.losses(state.params, images, targets, jax.random.fold_in(dropout_key, 0))
    out = self.gradients(state.params, dropout_key, images, targets, batch['label'])
    probabilities = jax.nn.softmax(logits)
    if logits.ndim == 3:  # Of DeiT's two heads the mean.
      loss, probabilities = loss.mean(0), probabilities.mean(0)
    probability = jnp.take_along_axis(probabilities, batch['label'][:, None], axis=1)[:, 0]
    return {'images': images, 'loss': loss, 'probability': probability,
            'grad_norms': jax.tree.map(jnp.linalg.norm, jax.tree.map(jnp.ravel, out['grads']))}
