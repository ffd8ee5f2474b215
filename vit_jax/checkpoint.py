"""Orbax checkpoints with content digests: saved in the background, and only trusted when their digest holds."""
import hashlib
import pathlib

from absl import logging
from flax import serialization
import jax
import numpy as np
import orbax.checkpoint as ocp

from vit_jax.errors import BadInput
from vit_jax.errors import one_line

_policies = ocp.checkpoint_managers


def digest(tree):
  """The SHA-256 of a tree of arrays, as hex: names, dtypes, shapes and bytes, in the order of the names."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(tree))
  sha = hashlib.sha256()
  for path, leaf in sorted(leaves, key=lambda item: jax.tree_util.keystr(item[0])):
    leaf = np.ascontiguousarray(leaf)
    sha.update(f'{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}\n'.encode())
    sha.update(leaf.tobytes())
  return sha.hexdigest()


def open_manager(folder, *, keep):
  """The Orbax manager of a folder; it keeps the newest `keep` checkpoints and the best one on validation.

  With None it only reads, and leaves alone what a training may be writing at that moment.
  """
  folder = pathlib.Path(folder).absolute()
  if keep is None:
    options = ocp.CheckpointManagerOptions(create=False, cleanup_tmp_directories=False)
    return ocp.CheckpointManager(folder, options=options, item_names=('state', 'digest'))
  best = _policies.BestN(get_metric_fn=lambda metrics: metrics['accuracy'], n=1,
                         keep_checkpoints_without_metrics=False)
  options = ocp.CheckpointManagerOptions(
      preservation_policy=_policies.AnyPreservationPolicy([_policies.LatestN(keep), best]),
      cleanup_tmp_directories=True)
  return ocp.CheckpointManager(folder, options=options, item_names=('state', 'digest'))


def save(manager, step, state, metrics=None):
  """Saves a state in the background, with its digest; `metrics` are the validation's, by which the best is kept."""
  # As nested dicts, so that it can be read without knowing the optimizer that made it.
  state = serialization.to_state_dict(state)
  items = ocp.args.Composite(state=ocp.args.StandardSave(state),
                             digest=ocp.args.JsonSave({'sha256': digest(state)}))
  manager.save(step, args=items, metrics=metrics, force=True)


def read(manager, step, shapes):
  """Reads one checkpoint as nested dicts of arrays; raises BadInput where its digest does not hold."""
  items = manager.restore(step, args=ocp.args.Composite(
      state=ocp.args.StandardRestore(shapes), digest=ocp.args.JsonRestore()))
  if digest(items['state']) != items['digest']['sha256']:
    raise BadInput('its digest does not hold')
  return items['state']


def newest(manager):
  """The newest checkpoint that is whole, as nested dicts, without knowing what made it: -> (step, state).

  Raises BadInput where there is none.
  """
  step, state = newest_whole(manager, lambda step: read(manager, step, None))
  if step is None:
    raise BadInput(f'{manager.directory} holds no checkpoint that is whole; train the run first')
  return step, state


def newest_whole(manager, read_step):
  """What `read_step` gives for the newest step that it can read: -> (step, that), (None, None) for none.

  Damaged ones are left out with a warning.
  """
  for step in sorted(manager.all_steps(), reverse=True):
    try:
      return step, read_step(step)
    except Exception as error:  # Whatever a half-written file makes Orbax and TensorStore raise.
      logging.warning('checkpoint %d is damaged and left out (%s)', step, one_line(error))
  return None, None


def restore(manager, step, like):
  """The state of one step, shaped and sharded like `like`; raises BadInput where its digest does not hold."""
  shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, serialization.to_state_dict(like))
  return serialization.from_state_dict(like, read(manager, step, shapes))


def newest_state(manager, like):
  """The newest checkpoint that is whole, shaped like `like`: -> (step, state), (None, None) for none."""
  return newest_whole(manager, lambda step: restore(manager, step, like))


def restore_latest(manager, like):
  """What a training goes on from, the newest checkpoint that is whole: -> (state, step), (None, 0) where there is none.

  Damaged ones are left out with a warning and moved to `damaged/` beside the others, so that nothing is lost
  and their steps can be saved anew. Raises BadInput where there are checkpoints and all of them are damaged.
  """
  steps = manager.all_steps()
  step, state = newest_state(manager, like)
  if step is not None:
    set_aside(manager, [other for other in steps if other > step])
    return state, step
  if steps:
    raise BadInput(f'none of the checkpoints in {manager.directory} is whole (steps {sorted(steps)}); start '
                   'anew with another --workdir, or remove that folder')
  return None, 0


def set_aside(manager, steps):
  """Moves the checkpoints of these steps to `damaged/` in the same folder."""
  for step in steps:
    source = pathlib.Path(manager.directory) / str(step)
    target = source.parent.parent / 'damaged' / source.name
    target.parent.mkdir(exist_ok=True)
    number = len(list(target.parent.glob(f'{source.name}*')))
    source.rename(target.with_name(f'{source.name}.{number}'))
  if steps:
    manager.reload()
