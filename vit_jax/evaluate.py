"""Masked sums over a whole split: every picture counts once, at any batch size, on any number of devices."""
import jax
import jax.numpy as jnp

from vit_jax import augment
from vit_jax import losses
from vit_jax import sharding


def make_eval_step(model, *, flip):
  """Returns eval_step(params, batch) -> sums over the pictures under the mask, each f32[].

  'correct', 'top5' (where there are more than 5 classes), 'loss' (nats), 'count', and with `flip` also
  'correct_flip': the class whose probability is highest on average over a picture and its mirror image.
  """
  def eval_step(params, batch):
    images = augment.normalize(batch['image'])
    label, mask = batch['label'], batch['mask']
    logits = model.apply({'params': params}, images, train=False)
    num_classes = logits.shape[-1]
    hits = {'correct': logits.argmax(-1) == label}
    if num_classes > 5:
      _, best = jax.lax.top_k(logits, 5)
      hits['top5'] = (best == label[:, None]).any(-1)
    if flip:
      mirrored = model.apply({'params': params}, images[:, :, ::-1], train=False)
      both = jax.nn.softmax(logits) + jax.nn.softmax(mirrored)
      hits['correct_flip'] = both.argmax(-1) == label
    loss = losses.cross_entropy(logits, jax.nn.one_hot(label, num_classes))
    per_picture = {**hits, 'loss': loss, 'count': jnp.ones_like(label)}
    return {key: jnp.sum(jnp.where(mask, value, 0).astype(jnp.float32)) for key, value in per_picture.items()}
  return eval_step


def evaluate(eval_step, params, batches, mesh):
  """One pass over a split -> {'accuracy', 'accuracy_flip', 'top5': 0–1, 'loss': nats, 'count': int}.

  `batches` are host batches with a mask, as `pipeline.eval_batches` makes them.
  """
  totals = {}
  for batch in batches:
    sums = jax.device_get(eval_step(params, sharding.shard_batch(batch, mesh)))
    # On the host and in float64, so that no count is rounded however large the split is.
    totals = {key: totals.get(key, 0.0) + float(value) for key, value in sums.items()}
  count = int(totals.pop('count'))
  names = {'correct': 'accuracy', 'correct_flip': 'accuracy_flip'}
  return {**{names.get(key, key): value / count for key, value in totals.items()}, 'count': count}
