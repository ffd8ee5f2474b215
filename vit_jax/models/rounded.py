"""Parameters for answers alone: rounded once, in place of at each call."""
import re
from typing import Any

import jax
from jax.typing import DTypeLike

from vit_jax.types import Params

# What dense.Dense turns into its type as it is. The query's kernel is scaled before that.
_KERNELS = re.compile(r'Transformer/encoderblock_\d+/\w+/(key|value|out|Dense_0|Dense_1)/kernel')


def rounded(params: Params, dtype: DTypeLike) -> Params:
  """The same parameters, with those kernels rounded to `dtype` that a ViT of this type rounds at each call.

  Its answers come sooner, and are the same to the last bit where oneDNN computes the products; elsewhere XLA may do
  without the rounding where it is left to it. Nothing can be trained with them.
  """
  def of(path: Any, leaf: jax.Array) -> jax.Array:
    return leaf.astype(dtype) if _KERNELS.fullmatch(jax.tree_util.keystr(path, simple=True, separator='/')) else leaf
  return jax.tree_util.tree_map_with_path(of, params)
