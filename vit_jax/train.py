"""Training: read → step → metrics → checkpoint, and at the end the test. The step itself is in `step.py`."""
from concurrent import futures
import contextlib
import dataclasses
import math
import time

import jax
import jax.numpy as jnp
import numpy as np

from vit_jax import answerer
from vit_jax import checkpoint
from vit_jax import cpu
from vit_jax import digests
from vit_jax import energy
from vit_jax import interrupt
from vit_jax import job as job_lib
from vit_jax import machine
from vit_jax import overview
from vit_jax import processes
from vit_jax import progress
from vit_jax import quiet
from vit_jax import run
from vit_jax import sharding
from vit_jax import tensorboard
from vit_jax.data import pipeline
from vit_jax.errors import BadInput
from vit_jax.models import described
from vit_jax.models import vit


def check_steps(metrics, manager, max_loss_ratio):
  """Raises BadInput where a step went wrong, naming it and the checkpoint that is still good."""
  if not metrics['bad_step']:
    return
  step = int(metrics['bad_step'])
  manager.wait_until_finished()
  good = manager.latest_step()
  saved = f'the checkpoint of step {good} is good' if good else 'there is no checkpoint yet'
  raise BadInput(f'{what_was_bad(metrics, max_loss_ratio)} at step {step}; {saved}. See what was in its batch with '
                 f'--replay_step={step}; go on without such steps with --config.on_bad_step=skip, or in a new '
                 '--workdir try a lower --config.optim.lr (and muon_lr), or a --config.optim.grad_clip')


def what_was_bad(metrics, max_loss_ratio):
  """What was wrong with the step that is noted as bad."""
  loss, usual = float(metrics['bad_loss']), float(metrics['usual_loss'])
  if max_loss_ratio and math.isfinite(loss) and loss > max_loss_ratio * usual > 0:
    return f'the loss was {loss:.4g} where {usual:.4g} is usual'
  return 'the loss or its gradient was not finite'


def train(config, workdir, *, recipe, cache_dir, country='', max_minutes=None):
  """Trains a config in a run folder, from its newest checkpoint on if it has one: -> what `result.json` holds.

  The same config and machine give the same weights to the last bit, however often the run was stopped on the way.
  `country` says whose electricity it takes, see `energy.intensity`. Raises BadInput for what cannot work, and
  interrupt.Stopped where a signal, or the end of `max_minutes`, came before the last step; everything is saved then.
  """
  started = time.monotonic()
  energy.intensity(country)  # A code that is unknown is refused now, not after the training.
  folder = run.open_run(workdir, config)
  if folder.result_path.exists():
    print(f'this run is finished already: {folder.path}')
    return folder.read_json('result.json')
  exists = processes.of_the_first((folder.path / 'model.json').exists())
  job = job_lib.prepare(config, cache_dir, *((folder.read_json('model.json'), folder.chosen()) if exists else ()))
  if not exists:  # Before the folder is made, that there be none where other weights do not fit.
    job.read_other_weights()
  deadline = started + 60 * max_minutes if max_minutes is not None else None
  processes.meet('before the folder is made')
  with folder.locked():
    folder.create(config, described.describe(job.model, job.data.class_names, job.config.data.image_size),
                  job.describe_data() | job.describe_teacher())
    result = train_in(folder, job, started, recipe=recipe, country=country, deadline=deadline)
    folder.write_json('result.json', result)
  return result


def train_in(folder, job, started, *, recipe, country, deadline):
  """What `train` does once the folder is there: restores, trains, tests: -> what `result.json` will hold."""
  with (contextlib.closing(folder.checkpoints(job.config.keep)) as manager,
        contextlib.closing(energy.Meter()) as meter, processes.ending_together()):
    state, start_step = checkpoint.restore_latest(manager, job.abstract_state)
    if state and job.config.on_bad_step == 'stop':  # What was skipped in a start before this one is no reason to stop.
      state = state.replace(bad_step=jax.device_put(np.int32(0), state.bad_step.sharding))
    print(overview.describe(job, recipe, folder.path, start_step), flush=True)
    print('compiling the train step …', flush=True)
    with futures.ThreadPoolExecutor(1) as pool:
      traced = job.lowered_train_step(job.abstract_state, job.size_at(start_step))
      compiling = pool.submit(cpu.compile_lowered, traced)
      # Compiling needs no Python, so that this takes no time of its own.
      state = state or job.initial_state()
      quiet.import_tensorflow()  # For tf.data.
    last_line = folder.rewind_metrics(start_step)
    clock = Clock(folder.times_at(start_step) or last_line, started, meter)
    state, last_line = loop(job, folder, manager, compiling.result(), state, start_step, clock, last_line, deadline)
    answerer.calibrate(job, state.ema, folder)  # For vit_jax.predict.
    return finish(job, state, clock, last_line, country)


@dataclasses.dataclass
class Clock:
  """What a run has taken over all its starts, with loading and compiling."""
  before: dict  # what `read` said at the checkpoint that this start goes on from, {} for a new run
  started: float  # time.monotonic() at this start
  meter: energy.Meter

  def read(self):
    """{'seconds', 'cpu_seconds', 'energy_kwh'}: passed on the clock, spent by all cores together, and taken.

    Energy is there where it could be counted at every start.
    """
    now = {'seconds': time.monotonic() - self.started, 'cpu_seconds': time.process_time()}
    kwh = self.meter.read()
    if kwh is not None and (not self.before or 'energy_kwh' in self.before):
      now['energy_kwh'] = kwh
    return {name: self.before.get(name, 0.0) + value for name, value in now.items()}


def one_by_one(job, train_step):
  """Whether a step has to end before the next one is begun.

  On a processor two at a time fill each other's gaps, by up to 6 % of their time, and need the memory of both: some
  four times what the compiled step says of itself, as freed memory is kept (experiments/benchmark). Where there is
  less, they take turns; on several devices of one processor too, because collectives that overlap can deadlock there.
  """
  if jax.default_backend() != 'cpu':
    return False
  return job.mesh.size > 1 or 4 * machine.memory_of(train_step) > (machine.memory() or math.inf)


def loop(job, folder, manager, train_step, state, start_step, clock, line, deadline):
  """The steps from `start_step` to the end, the next one by `train_step`: -> the last state and line of metrics.

  `line` is the last line of metrics before them, {} for none. Raises interrupt.Stopped as `train` says.
  """
  config = job.config
  size = job.size_at(start_step)
  key = jax.random.key(config.seed)
  batches = pipeline.train_batches(job.data.train, batch_size=config.batch_size, seed=config.seed,
                                   start_step=start_step, share=processes.share())
  alone = one_by_one(job, train_step)
  bar = progress.Progress(start_step=start_step, total_steps=job.total_steps, batch_size=config.batch_size,
                          shown=folder.writes)
  writer = tensorboard.Writer(folder.path / 'tensorboard') if folder.writes else tensorboard.Nothing()
  with (contextlib.closing(bar), contextlib.closing(writer),
        interrupt.stop_on_signal(deadline, processes.largest) as stop):
    waiting = None
    for step in range(start_step + 1, job.total_steps + 1):
      if size != job.size_at(step - 1):
        size = job.size_at(step - 1)
        train_step = job.compiled_train_step(state, size)
        alone = one_by_one(job, train_step)
      state, metrics = train_step(state, sharding.shard_batch(next(batches), job.mesh), key)
      # One step is always waiting for the device, and never more: a wish to stop is heard at once.
      jax.block_until_ready(metrics if alone else waiting)
      waiting = metrics
      stop.step_done()
      if bar.unread:  # As after `| head`, or where Ctrl-C ended `| tee` first.
        stop.signal = stop.signal or interrupt.NOBODY_READS
      stopped = stop.wanted()
      validate = job.validates(step)
      due = validate or step % config.log_every == 0
      if not (due or stopped):
        continue
      metrics = jax.device_get(metrics)  # the only host sync
      manager.check()
      if config.on_bad_step == 'stop':
        check_steps(metrics, manager, config.max_loss_ratio)
      elif metrics['bad_step'] > line.get('bad_step', 0):
        bar.say(f'step {int(metrics["bad_step"])} was skipped: '
                f'{what_was_bad(metrics, config.max_loss_ratio)}')
      validation = {}
      if validate and len(job.data.validation):
        validation = job.evaluate(state.ema, job.data.validation)
      line = log_line(job, step, metrics, validation, clock.read())
      if due:
        folder.log(line)
        writer.write(step, line)
      if validate or stopped:
        checkpoint.save(manager, step, state, {'accuracy': validation['accuracy']} if validation else None)
      bar.update(step, line, always=validate)
      if stopped and step < job.total_steps:
        folder.write_json('clock.json', {'step': step, **clock.read()})
        raise stopped
  return state, line


def log_line(job, step, metrics, validation, times):
  """One line of metrics.jsonl: plain numbers, the validation's with 'val_' before their names."""
  line = {'step': step, 'epoch': step * job.config.batch_size / len(job.data.train),
          'lr': float(job.rate(step - 1)), **times}
  line |= {name: float(metrics[name]) for name in ('loss', 'accuracy', 'grad_norm')}
  if metrics['bad_step']:  # It was skipped.
    line['bad_step'] = int(metrics['bad_step'])
  return line | {f'val_{name}': value for name, value in validation.items()}


def finish(job, state, clock, last_line, country):
  """Reads the test part, once, with the final weights: -> what result.json holds."""
  test = job.evaluate(state.ema, job.data.test)
  result = {f'test_{name}': value for name, value in test.items()}
  result |= {name: value for name, value in last_line.items() if name.startswith('val_')}
  times = clock.read()
  result |= energy.costs(times.pop('energy_kwh', None), country, clock.meter.method())
  return result | {
      'num_params': vit.num_params(state.params),
      **times,
      'peak_memory': machine.peak_memory(),  # bytes, of the last start
      'steps': job.total_steps,
      'seed': job.config.seed,
      'train_count': len(job.data.train),
      'dtype': jnp.dtype(job.model.dtype).name,
      'weights_sha256': digests.of_tree(sharding.gathered(state.ema, job.mesh)),
  }
