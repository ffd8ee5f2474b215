"""First weights that look like trained ones.

In pretrained ViTs, W_Q·W_K^T of each head has a clear positive diagonal, and W_V·W_proj a negative one: tokens attend
to tokens like themselves, and what they find is taken off them. A network that starts there learns faster from few
pictures. Source: Trockman & Kolter 2023, "Mimetic Initialization of Self-Attention Layers".
"""
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

# α and β of the paper, for query and key, and for value and projection (its section 4: 0.7 each, and 0.4 each).
QUERY_KEY = (0.7, 0.7)
VALUE_OUT = (0.4, 0.4)


def mimetic(key, params):
  """The parameters of a VisionTransformer with new first weights in its attention: key, params -> params.

  For each head, W_Q·W_K^T is the best product of rank D_h to α·Z + β·I, with Z of its own from N(0, 1/D); the heads
  together have W_V·W_proj = α·Z - β·I. Other parameters, biases too, stay as they are.
  """
  flat = traverse_util.flatten_dict(params)
  blocks = sorted({path[:-2] for path in flat if path[-2:] == ('query', 'kernel')})
  for i, block in enumerate(blocks):
    shape = flat[(*block, 'query', 'kernel')].shape  # [D,heads,D_h]
    width, num_heads, _ = shape
    key_qk, key_vo = jax.random.split(jax.random.fold_in(key, i))
    noise = jax.random.normal(key_qk, (num_heads, width, width)) / np.sqrt(width)
    left, right = factors(QUERY_KEY[0] * noise + QUERY_KEY[1] * jnp.eye(width), shape[2])
    flat[(*block, 'query', 'kernel')] = left.transpose(1, 0, 2)
    flat[(*block, 'key', 'kernel')] = right.transpose(1, 0, 2)
    noise = jax.random.normal(key_vo, (width, width)) / np.sqrt(width)
    left, right = factors(VALUE_OUT[0] * noise - VALUE_OUT[1] * jnp.eye(width), width)
    flat[(*block, 'value', 'kernel')] = left.reshape(shape)
    flat[(*block, 'out', 'kernel')] = right.T.reshape(num_heads, shape[2], width)
  return traverse_util.unflatten_dict(flat)


def factors(matrices, rank):
  """The two factors, alike in size, of the nearest matrix of this rank: f32[…,D,D] -> left, right f32[…,D,rank]."""
  u, s, vt = jnp.linalg.svd(matrices)
  root = jnp.sqrt(s[..., None, :rank])
  return u[..., :rank] * root, jnp.swapaxes(vt, -1, -2)[..., :rank] * root
