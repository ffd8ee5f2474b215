"""One step of a training again, alone: what was in its batch, and what each picture did."""
import contextlib
import math

from flax import traverse_util
import jax
import numpy as np

from vit_jax import atomic
from vit_jax import checkpoint
from vit_jax import job as job_lib
from vit_jax import progress
from vit_jax import run
from vit_jax import sharding
from vit_jax.data import pipeline
from vit_jax.errors import BadInput
from vit_jax.explain import overlay

# So many pictures are shown, those of the highest loss first, so many in a row.
SHOWN, PER_ROW = 32, 8


def replay(workdir, step, *, cache_dir):
  """Takes a run's step anew from the newest whole checkpoint before it, and looks at each picture of its batch.

  Writes replay-STEP.json and replay-STEP.png into the run's folder: -> {'step', 'checkpoint', 'loss' and 'usual_loss'
  (nats), 'pictures': [{'index' (of the training part), 'class', 'loss', 'probability'}, …], the worst first,
  'grad_norms': {parameter: norm}}. Numbers that are not finite are None. Raises BadInput where the run has no such
  step, or its data are not what they were.
  """
  folder = run.RunFolder(workdir)
  folder.check_writable()
  job = job_lib.of_run(folder, cache_dir, training=True)
  if not 1 <= step <= job.total_steps:
    raise BadInput(f'--replay_step={step} is no step of {folder.path}; it has 1 to {job.total_steps}')
  start, state, found = look(job, folder, step)
  order = np.argsort(-np.nan_to_num(found['loss'], nan=np.inf, posinf=np.inf), kind='stable')
  indices = pipeline.indices_of(len(job.data.train), batch_size=job.config.batch_size, seed=job.config.seed,
                                step=step - 1)
  names = np.array(job.data.class_names)[job.data.train.labels[indices]]
  norms = traverse_util.flatten_dict(found['grad_norms'], sep='/')
  result = {
      'step': step, 'checkpoint': start, 'loss': number(found['loss'].mean()),
      'usual_loss': number(state.usual_loss),
      'pictures': [{'index': int(indices[i]), 'class': str(names[i]), 'loss': number(found['loss'][i]),
                    'probability': number(found['probability'][i])} for i in order],
      'grad_norms': {name: number(norm) for name, norm in norms.items()},
  }
  folder.write_json(f'replay-{step}.json', result)
  with folder.writing(), atomic.replacing(folder.path / f'replay-{step}.png') as partial:
    sheet(found['images'][order], result['pictures']).save(partial, 'PNG')
  return result


def look(job, folder, step):
  """-> (the checkpoint's step, the state before `step`, what step_lib.Step.look says of it, as numpy arrays)."""
  with contextlib.closing(folder.checkpoints()) as manager:
    start, state = checkpoint.newest_state(manager, job.abstract_state, before=step)
  start, state = (start, state) if state else (0, job.initial_state())
  batches = pipeline.train_batches(job.data.train, batch_size=job.config.batch_size, seed=job.config.seed,
                                   start_step=start)
  key, size, compiled = jax.random.key(job.config.seed), None, None
  for done in progress.track(range(start, step - 1), total=step - 1 - start, desc='up to it', unit='steps'):
    if size != job.size_at(done):
      size = job.size_at(done)
      compiled = job.compiled_train_step(state, size)
    state, _ = jax.block_until_ready(compiled(state, sharding.shard_batch(next(batches), job.mesh), key))
  found = jax.jit(job.step(job.size_at(step - 1)).look)(state, sharding.shard_batch(next(batches), job.mesh), key)
  batches.close()
  return start, state, jax.device_get(found)


def number(value):
  """A float for JSON, which knows neither infinity nor NaN."""
  return float(value) if np.isfinite(value) else None


def text(value, form='{:.3g}'):
  """A number for a person."""
  return 'not finite' if value is None else form.format(value)


def sheet(images, pictures):
  """The first pictures, f32[B,S,S,3] in [-1,1], as the model saw them, with class and loss: -> PIL.Image."""
  whole = np.nan_to_num((images[:SHOWN] + 1) * 127.5).clip(0, 255).astype(np.uint8)
  cells = [(overlay.enlarge_picture(image, 96), f'{row["class"]} {text(row["loss"])}')
           for image, row in zip(whole, pictures, strict=False)]
  return overlay.sheet([cells[i:i + PER_ROW] for i in range(0, len(cells), PER_ROW)], side=96)


def describe(found, workdir):
  """What `replay` found, for a person."""
  picture = lambda row: f'{row["index"]} ({row["class"]}, loss {text(row["loss"])})'
  norms = sorted(found['grad_norms'].items(), key=lambda item: -(math.inf if item[1] is None else item[1]))
  start = f'from the checkpoint of step {found["checkpoint"]}' if found['checkpoint'] else 'from the start'
  return progress.table([
      ('step', f'{found["step"]}, taken again {start}; loss {text(found["loss"])}, usual before it '
               f'{text(found["usual_loss"])}'),
      ('pictures', 'of the training part, the highest loss first: ' + ', '.join(map(picture, found['pictures'][:5]))),
      ('gradients', 'the largest: ' + ', '.join(f'{name} {text(norm)}' for name, norm in norms[:5])),
      ('files', f'{workdir}/replay-{found["step"]}.json, replay-{found["step"]}.png'),
  ])
