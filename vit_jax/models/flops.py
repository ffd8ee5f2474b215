"""What one picture costs, counted from the model itself rather than from a formula that can go stale."""
import math
from typing import Any

import jax
import jax.numpy as jnp

from vit_jax.models import variants


def flops_per_image(model: variants.Model, image_size: int) -> int:
  """Floating-point operations of one forward pass over one picture of `image_size` pixels a side.

  Counts the matrix products and convolutions of the traced program, a multiply and an add as two; nothing is
  computed. Norms, GELU, softmax and depthwise convolutions are left out: they are a few per cent.
  Training costs about three times as much: a forward pass, and a backward pass of twice the work.
  """
  images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
  params = variants.abstract_params(model, image_size)
  traced = jax.make_jaxpr(lambda params, x: model.apply({'params': params}, x, train=False))(params, images)
  return count(traced.jaxpr)


def count(jaxpr: Any) -> int:
  """Sums the FLOPs of all products in a traced program, those inside nested calls included."""
  total = 0
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == 'dot_general':
      (contracting, _), _ = eqn.params['dimension_numbers']
      lhs = eqn.invars[0].aval.shape
      total += 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(lhs[axis] for axis in contracting)
    elif eqn.primitive.name == 'conv_general_dilated':
      kernel = eqn.invars[1].aval.shape
      features = kernel[eqn.params['dimension_numbers'].rhs_spec[0]]
      total += 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) // features
    times = eqn.params['length'] if eqn.primitive.name == 'scan' else 1
    for value in eqn.params.values():
      inner = getattr(value, 'jaxpr', value)
      if hasattr(inner, 'eqns'):
        total += times * count(inner)
  return total
