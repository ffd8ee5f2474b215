"""The published ViT files, and those of big_vision, under the names of our models.

The published names are ours already. big_vision numbers a block's parts anew, keeps the positions at the root, may
keep all blocks in one stack, and puts `params/` in front, or `img/` where a text model is beside it.
"""
import re

from vit_jax.errors import BadInput
from vit_jax.weights import beside
from vit_jax.weights import sizes

# What big_vision calls the parts of a block; only what is named here is another name than ours.
PARTS = {'MultiHeadDotProductAttention_0': 'MultiHeadDotProductAttention_1', 'LayerNorm_1': 'LayerNorm_2',
         'MlpBlock_0': 'MlpBlock_3'}


def matches(names):
  """Whether these are names of Flax, with an embedding in front."""
  return any(name.split('/')[-2:] == ['embedding', 'kernel'] for name in names)


def read(flat):
  """{published or big_vision name: f32 array} -> Found; raises BadInput for an attention head (MAPHead)."""
  for prefix in ('params/', 'img/'):
    if any(name.startswith(prefix) for name in flat):
      # Beside them are an optimizer's numbers, or a text model's.
      flat = {name.removeprefix(prefix): leaf for name, leaf in flat.items() if name.startswith(prefix)}
  if any(name.startswith('MAPHead') for name in flat):
    raise BadInput('it pools by attention (MAPHead), which the models here do not; ViTs with a class token or the mean '
                   'over all tokens are read')
  flat = unstack(flat)
  renamed = {rename(name): squeeze(name, leaf) for name, leaf in flat.items()}
  if len(renamed) < len(flat):
    raise BadInput('some of its parameters are there under two names, the published one and that of big_vision')
  return beside.Found('Flax', renamed)


def rename(name):
  """One name as in our models."""
  if name == 'pos_embedding':
    return sizes.POSITIONS
  return '/'.join(PARTS.get(part, part) for part in name.split('/'))


def unstack(flat):
  """Blocks that big_vision's `scan` keeps as one, [L, …] each -> a name for each block."""
  stack, out = 'Transformer/encoderblock/', {}
  for name, leaf in flat.items():
    if name.startswith(stack) and leaf.ndim:
      out |= {f'Transformer/encoderblock_{i}/{name.removeprefix(stack)}': part for i, part in enumerate(leaf)}
    else:
      out[name] = leaf
  return out


def squeeze(name, leaf):
  """The scale and bias of a hybrid's GroupNorm as f32[C]; older files have f32[1,1,1,C]."""
  return leaf.reshape(-1) if re.search(r'(^|/)gn\w*/(scale|bias)$', name) else leaf
