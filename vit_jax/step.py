"""The train step: batch → augment → model → loss → update → metrics, as one pure function."""
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
  sums: Any  # {'loss', 'accuracy', 'grad_norm'}: f32[], over the steps since the last line of metrics
  bad_step: Any  # i32[], the first step whose loss or gradient was not finite; 0 while there is none


def create_state(model, tx, key, image_size):
  """The state before the first step."""
  images = jnp.zeros((1, image_size, image_size, 3))
  params = model.init(key, images, train=False)['params']
  zero = jnp.zeros(())
  return TrainState(step=jnp.zeros((), jnp.int32), params=params, ema=params, opt_state=tx.init(params),
                    sums={'loss': zero, 'accuracy': zero, 'grad_norm': zero},
                    bad_step=jnp.zeros((), jnp.int32))


def make_train_step(model, tx, *, augment, num_classes, label_smoothing, ema_decay, accum_steps, log_every,
                    teacher=None, head_only=False):
  """Returns train_step(state, batch, key) -> state, metrics: one update from {'image': u8[B,S,S,3], 'label': i32[B]}.

  `augment` makes pictures f32[B,S',S',3] in [-1,1] and targets of a key, the batch's pictures and targets f32[B,K].
  A `teacher`, f32[B,S',S',3] -> logits f32[B,K], sees the same augmented pictures, and what it answers takes the
  place of the labels (Beyer et al. 2022, "consistent teaching"). With `head_only` no gradient is computed below the
  head, or DeiT's two.
  Metrics are means over the steps since the last multiple of `log_every`: 'loss' (nats), 'accuracy' (0–1, on
  the augmented pictures), 'grad_norm'; and 'bad_step', see TrainState.
  """
  def loss_fn(params, images, targets, labels, key):
    if head_only:
      params = jax.lax.stop_gradient(params) | {name: params[name] for name in vit.HEADS if name in params}
    logits = model.apply({'params': params}, images, train=True, rngs={'dropout': key})
    accuracy = jnp.mean(logits.argmax(-1) == labels)
    return losses.cross_entropy(logits, targets).mean(), accuracy

  def gradients(params, key, *batch):
    """The gradient over a batch that is cut into `accum_steps` parts, with its mean loss and accuracy."""
    def part(i, batch):
      (loss, accuracy), grads = jax.value_and_grad(loss_fn, has_aux=True)(
          params, *batch, jax.random.fold_in(key, i))
      return {'loss': loss, 'accuracy': accuracy, 'grads': grads}
    if accum_steps == 1:
      return part(0, batch)
    # Each part takes every accum_steps-th picture, so that a batch split over devices stays where it is.
    parts = jax.tree.map(lambda x: x.reshape(-1, accum_steps, *x.shape[1:]).swapaxes(0, 1), batch)
    add = lambda total, item: (jax.tree.map(jnp.add, total, part(*item)), None)
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(part, 0, jax.tree.map(lambda x: x[0], parts)))
    total, _ = jax.lax.scan(add, zeros, (jnp.arange(accum_steps), parts))
    return jax.tree.map(lambda x: x / accum_steps, total)

  def train_step(state, batch, key):
    augment_key, dropout_key = jax.random.split(jax.random.fold_in(key, state.step))
    targets = losses.smooth_labels(batch['label'], num_classes, label_smoothing)
    images, targets = augment(augment_key, batch['image'], targets)
    if teacher:
      targets = jax.nn.softmax(teacher(images))
    out = gradients(state.params, dropout_key, images, targets, batch['label'])
    updates, opt_state = tx.update(out['grads'], state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    # Young averages forget faster: otherwise a short run would end with a mean of its first weights.
    decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
    ema = optax.incremental_update(params, state.ema, 1 - decay)

    step = state.step + 1
    new = {'loss': out['loss'], 'accuracy': out['accuracy'], 'grad_norm': optax.tree.norm(out['grads'])}
    steps_before = state.step % log_every
    sums = {name: jnp.where(steps_before == 0, 0.0, state.sums[name]) + new[name] for name in new}
    finite = jnp.isfinite(new['loss']) & jnp.isfinite(new['grad_norm'])
    bad_step = jnp.where((state.bad_step == 0) & ~finite, step, state.bad_step)
    state = TrainState(step, params, ema, opt_state, sums, bad_step)
    metrics = {name: total / (steps_before + 1) for name, total in sums.items()}
    return state, {**metrics, 'bad_step': bad_step}
  return train_step
