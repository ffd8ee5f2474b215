"""A model as one program, StableHLO or ONNX: weights and preprocessing inside, for any number of pictures."""
import logging

import jax
from jax import export
import jax.numpy as jnp

from vit_jax import augment
from vit_jax.errors import BadInput

# Where such a program may run.
PLATFORMS = ('cpu', 'cuda', 'tpu')


def answer(model, params, image_size, temperature=1.0):
  """-> (the function u8[N,S,S,3] -> probabilities f32[N,K], the pictures it takes, N being a symbol).

  Logits are divided by the temperature, which `vit_jax.calibration` fits.
  """
  def probabilities(images):
    logits = model.apply({'params': params}, augment.normalize(images), train=False)
    return jax.nn.softmax(logits.astype(jnp.float32) / temperature)
  count, = export.symbolic_shape('n')
  return probabilities, jax.ShapeDtypeStruct((count, image_size, image_size, 3), jnp.uint8)


def stablehlo(model, params, image_size, temperature=1.0):
  """-> bytes of a program u8[N,S,S,3] -> probabilities f32[N,K], for every N, as `jax.export` writes it.

  It needs jax and nothing of this package: `jax.export.deserialize(data).call(images)`.
  """
  function, images = answer(model, params, image_size, temperature)
  return bytes(export.export(jax.jit(function), platforms=PLATFORMS)(images).serialize())


def onnx(model, params, image_size, temperature=1.0):
  """-> bytes of the same program for ONNX, its input called 'pictures' and its output 'probabilities'.

  Raises BadInput where jax2onnx is not installed, or cannot convert the model.
  """
  try:
    import jax2onnx
  except ImportError:
    raise BadInput("ONNX needs jax2onnx: pip install 'vit_jax[onnx]'") from None
  function, images = answer(model, params, image_size, temperature)
  logging.getLogger('onnx_ir').setLevel(logging.ERROR)  # It warns of types that it then infers.
  try:
    found = jax2onnx.to_onnx(function, [images], input_names=['pictures'], output_names=['probabilities'])
  except Exception as error:  # Whatever it stumbles over: a layer that it does not know, or not in this jax.
    raise BadInput(f'jax2onnx cannot convert this model ({type(error).__name__}: {error}); '
                   'a .stablehlo program runs on any') from error
  return found.SerializeToString()
