"""From PyTorch's names and layouts to ours, by a table that can be read both ways.

A table holds a line for each module, {ours: theirs}, with {i} for the number of the block. PyTorch keeps a linear
layer as [outputs, inputs] and a convolution as [outputs, inputs, k, k]; here they are [inputs, outputs] and
[k, k, inputs, outputs], and attention has its heads in an axis of their own.
"""
import re

from vit_jax.errors import BadInput

BLOCK = 'Transformer/encoderblock_{i}'
ATTENTION = f'{BLOCK}/MultiHeadDotProductAttention_1'
QUERY_KEY_VALUE = ('query', 'key', 'value')


def to_ours(flat, table, num_heads):
  """Renames {their name: array} by a table of modules and single parameters, and lays the arrays out as ours.

  A name that is not in the table stays, and an array of another rank too: whoever compares them with a model's
  parameters names them. Raises BadInput where two names become one.
  """
  ours_of = {theirs: ours for ours, theirs in table.items()}
  out = {}
  for theirs, leaf in flat.items():
    ours = name_of(theirs, ours_of)
    if ours in out:
      raise BadInput(f'{ours} is there under two names, one of them {theirs}')
    out[ours] = layout(ours, leaf, num_heads)
  return out


def name_of(theirs, ours_of):
  """One name: 'blocks.3.norm1.weight' -> 'Transformer/encoderblock_3/LayerNorm_0/scale'."""
  number = re.search(r'(?<=\.)\d+(?=\.)', theirs)
  pattern = theirs[:number.start()] + '{i}' + theirs[number.end():] if number else theirs
  module, _, kind = pattern.rpartition('.')
  if pattern in ours_of:
    ours = ours_of[pattern]
  elif module in ours_of and kind in ('weight', 'bias'):
    weight = 'scale' if re.search(r'(LayerNorm_\d|encoder_norm)$', ours_of[module]) else 'kernel'
    ours = f'{ours_of[module]}/{weight if kind == "weight" else "bias"}'
  else:
    return theirs
  return ours.replace('{i}', number[0]) if number else ours


def layout(name, leaf, num_heads):
  """One parameter as ours: f32[O,I], f32[O,I,k,k], or f32[O] of a bias."""
  *_, module, kind = f'/{name}'.split('/')
  heads = lambda size: (num_heads, size // num_heads)
  if kind == 'kernel' and leaf.ndim == 4:
    return leaf.transpose(2, 3, 1, 0)
  if kind == 'kernel' and leaf.ndim == 2:
    inputs, outputs = leaf.T.shape
    if module in QUERY_KEY_VALUE and outputs % num_heads == 0:
      return leaf.T.reshape(inputs, *heads(outputs))
    if module == 'out' and inputs % num_heads == 0:
      return leaf.T.reshape(*heads(inputs), outputs)
    return leaf.T
  if kind == 'bias' and module in QUERY_KEY_VALUE and leaf.ndim == 1 and leaf.size % num_heads == 0:
    return leaf.reshape(heads(leaf.size))
  return leaf
