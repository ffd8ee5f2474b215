"""A model as one program: StableHLO with the weights and the preprocessing inside, for any number of pictures."""
import jax
from jax import export
import jax.numpy as jnp

from vit_jax import augment

# Where such a program may run.
PLATFORMS = ('cpu', 'cuda', 'tpu')


def serialise(model, params, image_size):
  """-> bytes of a program u8[N,S,S,3] -> probabilities f32[N,K], for every N, as `jax.export` writes it.

  It needs jax and nothing of this package: `jax.export.deserialize(data).call(images)`.
  """
  def answer(images):
    logits = model.apply({'params': params}, augment.normalize(images), train=False)
    return jax.nn.softmax(logits.astype(jnp.float32))
  count, = export.symbolic_shape('n')
  images = jax.ShapeDtypeStruct((count, image_size, image_size, 3), jnp.uint8)
  return bytes(export.export(jax.jit(answer), platforms=PLATFORMS)(images).serialize())
