"""Orbax checkpoints, saved in the background, and only trusted where the digest of each file holds."""
import math
import pathlib
import threading

from absl import logging
from flax import serialization
import jax
import orbax.checkpoint as ocp

from vit_jax import digests
from vit_jax import processes
from vit_jax.errors import BadInput
from vit_jax.errors import one_line
from vit_jax.errors import reason

_policies = ocp.checkpoint_managers


class OtherParts(BadInput):
  """A checkpoint that is whole, of a training whose optimizer keeps other numbers."""


class Manager(ocp.CheckpointManager):
  """Orbax's manager, which saves in the background; a checkpoint counts once the digests of its files are in it.

  `wait_until_finished` and `close` wait for them, too.
  """
  _sealing = None  # the thread that writes them
  _error = None  # the exception that says what it failed with

  def save(self, step, *args, **options):
    """Starts to save; the save before is finished first. Raises BadInput where one of them could not be written."""
    try:
      saved = super().save(step, *args, **options)
    except OSError as error:
      raise self._unsaved(step, error) from error
    self._sealing = threading.Thread(target=self._seal, args=(step,))
    self._sealing.start()
    return saved

  def _seal(self, step):
    try:
      super().wait_until_finished()
      if processes.first():
        digests.write(self.path(step))
    except Exception as error:  # To be raised in the thread that waits, see below.
      self._error = self._unsaved(step, error)

  def _unsaved(self, step, error):
    """What to raise where a save failed; who waits for processes that are gone must learn of that instead."""
    if processes.tells_of_another(error):
      return error
    return BadInput(f'checkpoint {step} could not be saved in {self.directory} ({reason(error)}); what was saved '
                    'before is good: mend that, and the same command goes on')

  def wait_until_finished(self):
    """Until what was saved is whole on disk; raises BadInput where it could not be written."""
    if self._sealing is None:
      return
    self._sealing.join()
    self._sealing = None
    error, self._error = self._error, None
    if error:
      raise error

  def check(self):
    """Raises what `wait_until_finished` would, without waiting."""
    if self._error:
      self.wait_until_finished()

  def path(self, step):
    """The folder of one checkpoint."""
    return pathlib.Path(self.directory) / str(step)


def open_manager(folder, *, keep):
  """The Manager of a folder; it keeps the newest `keep` checkpoints, two at least, and the best one on validation.

  With None it only reads, and leaves alone what a training may be writing at that moment.
  """
  folder = pathlib.Path(folder).absolute()
  if keep is None:
    options = ocp.CheckpointManagerOptions(create=False, cleanup_tmp_directories=False)
    return Manager(folder, options=options, item_names=('state',))
  accuracy = lambda metrics: metrics['accuracy']
  best = _policies.BestN(get_metric_fn=accuracy, n=1, keep_checkpoints_without_metrics=False)
  options = ocp.CheckpointManagerOptions(
      best_fn=accuracy,  # Without it Orbax writes no metrics down, and the next start would know of none.
      # While the newest one has no digests yet, the one before is what a killed run goes on from.
      preservation_policy=_policies.AnyPreservationPolicy([_policies.LatestN(max(keep, 2)), best]),
      cleanup_tmp_directories=True,
      # Made beside the training, folders that cannot be made are waited for, for twenty minutes.
      async_options=ocp.AsyncOptions(create_directories_asynchronously=False))
  return Manager(folder, options=options, item_names=('state',))


def save(manager, step, state, metrics=None):
  """Saves a state in the background, with digests; `metrics` are the validation's, by which the best is kept.

  Raises BadInput where this save or the one before could not be written.
  """
  # As nested dicts, so that it can be read without knowing the optimizer that made it.
  state = serialization.to_state_dict(state)
  manager.save(step, args=ocp.args.Composite(state=ocp.args.StandardSave(state)), metrics=metrics, force=True)


def read(manager, step, shapes):
  """Reads one checkpoint as nested dicts of arrays; raises BadInput where a file is not what was saved.

  Without `shapes` all arrays come to one device: those that it was saved from need not be here.
  """
  check_files(manager.path(step))
  here = None if shapes else jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  args = ocp.args.StandardRestore(shapes, fallback_sharding=here)
  return manager.restore(step, args=ocp.args.Composite(state=args))['state']


def has_digests(manager, step):
  """Whether a checkpoint was saved to its end."""
  return (manager.path(step) / digests.NAME).exists()


def check_files(folder):
  """Raises BadInput where a file of a checkpoint is not what was saved; the first process looks, for all of them."""
  problem = None
  if processes.first():
    try:
      digests.check(folder)
    except (BadInput, OSError) as error:
      problem = error
  if processes.of_the_first(problem is not None):
    raise problem or BadInput('its digests do not hold')


def newest(manager):
  """The newest checkpoint that is whole, as nested dicts, without knowing what made it: -> (step, state).

  Raises BadInput where there is none.
  """
  step, state = newest_whole(manager, lambda step: read(manager, step, None))
  if step is None:
    raise BadInput(f'{manager.directory} holds no checkpoint that is whole; train the run first')
  return step, state


def newest_whole(manager, read_step, before=math.inf):
  """What `read_step` gives for the newest step that it can read: -> (step, that), (None, None) for none.

  Damaged ones are left out with a warning. Raises OtherParts where one is whole, and not of such a training.
  """
  for step in sorted((step for step in manager.all_steps() if step < before), reverse=True):
    try:
      return step, read_step(step)
    except OtherParts:
      raise
    except Exception as error:  # Whatever a half-written file makes Orbax and TensorStore raise.
      if processes.tells_of_another(error):
        raise
      logging.warning('checkpoint %d is damaged and left out: %s', step,
                      error if isinstance(error, BadInput) else one_line(error))
  return None, None


def restore(manager, step, like):
  """The state of one step, shaped and sharded like `like`.

  Raises BadInput where its digest does not hold, and OtherParts where it is no such state.
  """
  shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, serialization.to_state_dict(like))
  try:
    state = read(manager, step, shapes)
  except BadInput:
    raise
  except Exception as error:  # What Orbax raises where the checkpoint has other parts.
    if processes.tells_of_another(error):
      raise
    raise OtherParts(
        f'checkpoint {step} in {manager.directory} is whole, but the optimizer of this vit_jax keeps other numbers '
        'than the one that saved it; go on with that version (environment.json names its commit), or train anew with '
        'another --workdir. Its weights can be read: by predict, report, --evaluate, --config.init '
        f'({one_line(error)})') from error
  return serialization.from_state_dict(like, state)


def newest_state(manager, like, before=math.inf):
  """The newest checkpoint that is whole, shaped like `like`: -> (step, state), (None, None) for none."""
  return newest_whole(manager, lambda step: restore(manager, step, like), before)


def newest_ema(manager, like):
  """The running mean of the weights in the newest whole checkpoint: -> (step, tree), (None, None) for none.

  Shaped and sharded like that of the state `like`, whatever optimizer has trained it.
  """
  try:
    step, state = newest_state(manager, like)
    return step, state and state.ema
  except OtherParts:
    step, state = newest(manager)
    return step, jax.tree.map(lambda leaf, shape: jax.device_put(leaf, shape.sharding), state['ema'], like.ema)


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
  if len(steps) == 1 and not has_digests(manager, steps[0]):  # Killed while the very first one was saved.
    set_aside(manager, steps)
    return None, 0
  if steps:
    raise BadInput(f'none of the checkpoints in {manager.directory} is whole (steps {sorted(steps)}); start '
                   'anew with another --workdir, or remove that folder')
  return None, 0


def set_aside(manager, steps):
  """Moves the checkpoints of these steps to `damaged/` in the same folder."""
  for step in steps if processes.first() else ():
    source = manager.path(step)
    target = source.parent.parent / 'damaged' / source.name
    target.parent.mkdir(exist_ok=True)
    number = len(list(target.parent.glob(f'{source.name}*')))
    source.rename(target.with_name(f'{source.name}.{number}'))
  if steps:
    processes.meet('damaged checkpoints are set aside')
    manager.reload()
