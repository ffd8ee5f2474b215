"""A model's features and logits, on pictures and on whole parts of a run's data; the calibration fitted from them."""
import math

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from vit_jax import calibration
from vit_jax import digests
from vit_jax import processes
from vit_jax import sharding
from vit_jax.data import pipeline
from vit_jax.models import features as features_lib
from vit_jax.models import rounded

# So many of the training pictures, evenly spaced, are enough for the Gaussians, and can be found as nearest ones.
REMEMBERED = 10_000


def in_batches(most, step, *arrays):
  """A function of rows of each array, over all rows, `most` at a time: -> its outputs, numpy, joined.

  The last ones are padded, so that one program does all; for a few pictures it is one of few.
  """
  size = min(most, 2 ** math.ceil(math.log2(max(len(arrays[0]), 1))))
  found = []
  for start in range(0, max(len(arrays[0]), 1), size):
    batch = [array[start:start + size] for array in arrays]
    count = len(batch[0])
    pad = lambda array: np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])
    found.append([np.asarray(out)[:count] for out in step(*map(pad, batch))])
  return [np.concatenate(parts) for parts in zip(*found, strict=True)]


class Answerer:
  """The features and logits of a model on whole sources, on all devices of a job's mesh."""

  def __init__(self, job, params, dtype=None):
    """The job's model with these parameters, in its own dtype or another."""
    model = job.model.clone(dtype=dtype or job.model.dtype)
    self.params = params = rounded.rounded(params, model.dtype)
    self.mesh, self.batch_size = job.mesh, job.eval_batch_size()
    image = self.batch_size, *job.data.train.images.shape[1:]
    self.step = job.compiled(lambda params, images: features_lib.features_and_logits(model, params, images), params,
                             jax.ShapeDtypeStruct(image, jnp.uint8))

  def __call__(self, source, *, change=lambda images: images):
    """One pass over a source, each batch u8[B,S,S,3] through `change` first -> (features f32[N,D], logits f32[N,K])."""
    found = []
    for batch in pipeline.eval_batches(source, batch_size=self.batch_size, share=processes.share()):
      answers = self.step(self.params, sharding.shard_batch(change(batch['image']), self.mesh))
      found.append(jax.device_get(answers))
    return tuple(np.concatenate(parts)[:len(source)] for parts in zip(*found, strict=True))

  def logits(self, source, **options):
    """The logits alone, f32[N,K]."""
    return self(source, **options)[1]


def calibrate(job, params, folder):
  """Fits a calibration.Calibration for these weights, and writes it into the run's folder: -> the same."""
  answer = Answerer(job, params, jnp.float32)  # As predictor.py answers.
  train, held_out = job.data.train, job.data.validation
  positions = np.unique(np.linspace(0, len(train) - 1, REMEMBERED).astype(np.int32))
  some = train.take(positions)
  features, logits = answer(some)
  of_held_out = answer(held_out) if len(held_out) else (features[:0], logits[:0])
  params = sharding.gathered(params, job.mesh)
  head, _ = features_lib.width(traverse_util.flatten_dict(params, sep='/'))
  found = calibration.fit(features, some.labels, positions, head, *of_held_out, held_out.labels)
  if folder.writes:
    with folder.writing():
      calibration.save(folder.path / calibration.NAME, found, digests.of_tree(params))
  return found
