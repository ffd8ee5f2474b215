"""Weights of one model for another: a head for other classes, positions for other pictures, a class token or none."""
import jax
import numpy as np

from vit_jax.models import vit
from vit_jax.weights import positions
from vit_jax.weights import sizes


def to_model(flat, wanted, method='bilinear'):
  """{name: array} of a file -> the same as far as a model's parameters `wanted` allow; `compare` says what is left.

  As the ViT authors' loader: `pre_logits` is dropped where the model has none, and the head with it, which read it; a
  head for another number of classes starts anew, at zero; positions are resized by `method`, see `positions.resize`.
  A class token that the model does not have goes with its position; one that only the model has starts at zero, its
  position at the mean of the others.
  """
  flat = dict(flat)
  has_pre_logits = lambda names: any(name.startswith('pre_logits/') for name in names)
  if has_pre_logits(flat) and not has_pre_logits(wanted):
    flat = {name: leaf for name, leaf in flat.items() if name.split('/')[0] not in ('pre_logits', *vit.HEADS)}
  change_class_token(flat, wanted)
  for head in vit.HEADS:
    change_head(flat, wanted, head)
  there, here = flat.get(sizes.POSITIONS), wanted.get(sizes.POSITIONS)
  if np.ndim(there) == 3 and here is not None and there.shape[0] == 1 and there.shape[2] == here.shape[2]:
    flat[sizes.POSITIONS] = positions.resize(there, sizes.num_front(flat), here.shape[1], method)
  return flat


def change_class_token(flat, wanted):
  """Drops the class token and its position from `flat`, or adds them, where the model is otherwise."""
  has, table = 'cls' in flat, flat.get(sizes.POSITIONS)
  if has == ('cls' in wanted) or 'dist' in flat or 'dist' in wanted:
    return
  if has:
    del flat['cls']
  else:
    flat['cls'] = own(wanted['cls'])
  if np.ndim(table) == 3:
    flat[sizes.POSITIONS] = table[:, 1:] if has else np.concatenate([table.mean(axis=1, keepdims=True), table], axis=1)


def change_head(flat, wanted, head):
  """Puts the model's own head in the place of none or of one for another number of classes."""
  kernel, bias = f'{head}/kernel', f'{head}/bias'
  there = [np.shape(flat.get(name)) for name in (kernel, bias)]
  classes = np.shape(wanted.get(bias))
  # Half a head, or one whose halves disagree, is no other head but damage, and stays to be named.
  whole = there == [(), ()] or (len(there[0]) == 2 and there[0][1:] == there[1])
  if whole and there[1] != classes:
    for name in (kernel, bias):
      flat.pop(name, None)
      if name in wanted:
        flat[name] = own(wanted[name])


def own(leaf):
  """The model's own parameter, zeros where only its shape is known."""
  return np.zeros(leaf.shape, np.float32) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf


def compare(flat, wanted):
  """What is missing, unexpected or misshapen in `flat`, a line each, by name."""
  problems = [f'{name} is missing' for name in sorted(wanted.keys() - flat.keys())]
  problems += [f'{name} is not part of the model' for name in sorted(flat.keys() - wanted.keys())]
  problems += [f'{name} is {np.shape(flat[name])} there and {np.shape(wanted[name])} in the model'
               for name in sorted(wanted.keys() & flat.keys()) if np.shape(flat[name]) != np.shape(wanted[name])]
  return problems


def summary(problems):
  """The first five of them, and how many more there are."""
  return '; '.join(problems[:5]) + (f'; and {len(problems) - 5} more' if len(problems) > 5 else '')
