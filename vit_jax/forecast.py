"""What a training would take, before its first step: will it fit, how long, how much electricity."""
import contextlib
import time

import jax
import jax.numpy as jnp

from vit_jax import cpu
from vit_jax import energy
from vit_jax import machine
from vit_jax import progress
from vit_jax.models import flops as flops_lib

# The share of the speed of a large matrix product at which the steps of these models run, about. It was 0.3 to 0.7
# where it was measured, so that a forecast of the time is right within a factor of two.
SHARE = 0.5
# Features of the square matrices whose product is timed, and for how many seconds.
SIDE, SECONDS = 1024, 2.0


def forecast(job):
  """-> {'memory' and 'state': bytes on each device, for all and for parameters and optimizer; 'available': bytes, or
  None; 'flops': of the training; 'speed': FLOP/s of a matrix product; 'seconds'; 'kwh', or None}.

  The memory is what the compiled step says of itself; nothing is trained.
  """
  sizes = [job.size_at(step) for step in range(job.total_steps)]
  memory, flops, state_bytes = 0, 0, 0
  for size in sorted(set(sizes)):
    compiled = job.compiled_train_step(job.abstract_state, size)
    state_bytes = compiled.memory_analysis().alias_size_in_bytes  # What is given away and comes back.
    memory = max(memory, machine.memory_of(compiled))
    flops += sizes.count(size) * step_flops(job, size)
  speed, watts = measured(job.model.dtype)
  # Devices of one processor share its cores.
  devices = 1 if jax.default_backend() == 'cpu' else job.mesh.size
  seconds = flops / (speed * SHARE * devices)
  return {'memory': memory, 'state': state_bytes, 'available': available(), 'flops': flops, 'speed': speed,
          'seconds': seconds, 'kwh': watts and watts * devices * seconds / 3.6e6}


def step_flops(job, size):
  """FLOP of the products in a train step on pictures of `size` pixels a side."""
  traced = jax.make_jaxpr(job.step(size).train)(job.abstract_state, job.abstract_batch(job.config.batch_size),
                                                jax.random.key(0))
  return flops_lib.count(traced.jaxpr)


def measured(dtype):
  """-> (FLOP/s of one device in products of two large matrices, watts meanwhile, or None without codecarbon)."""
  x = jnp.ones((SIDE, SIDE), dtype)
  product = cpu.compile_fast(jax.jit(jnp.matmul), x, x)
  jax.block_until_ready(product(x, x))
  with contextlib.closing(energy.Meter()) as meter:
    before, started, count = meter.read(), time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
      jax.block_until_ready(product(x, x))
      count += 1
    seconds = time.perf_counter() - started
    watts = None if before is None else (meter.read() - before) * 3.6e6 / seconds
  return 2 * SIDE**3 * count / seconds, watts


def available():
  """The bytes that each device has; for a processor the machine's, shared by all devices that it stands for."""
  if jax.default_backend() != 'cpu':
    return (jax.local_devices()[0].memory_stats() or {}).get('bytes_limit')
  return machine.memory()


def describe(found, job, country):
  """What `forecast` found, for a person."""
  size = lambda count: f'{count / 2**30:.1f} GiB' if count >= 2**30 else f'{count / 2**20:.1f} MiB'
  on_cpu = jax.default_backend() == 'cpu'
  shared = job.mesh.size if on_cpu else 1
  fits = ''
  if found['available']:
    needed = found['memory'] * shared * (2 if on_cpu else 1)
    fits = f'; it {"fits into" if needed < .9 * found["available"] else "does NOT fit into"} {size(found["available"])}'
    fits += f', which {shared} devices share' if shared > 1 else ''
  rows = [
      ('memory', f'{size(found["memory"])} on each device, of which parameters and optimizer {size(found["state"])}; '
                 f'besides, libraries and pictures{", and as much again, as freed memory is kept" * on_cpu}{fits}'),
      ('work', f'{progress.number(found["flops"])}FLOP in {job.total_steps:,} steps, without validations'),
      ('time', f'about {progress.duration(found["seconds"])}, within a factor of two: {SHARE:.0%} of the '
               f'{progress.number(found["speed"])}FLOP/s that a matrix product reaches here'),
  ]
  if found['kwh'] is not None:
    grams = found['kwh'] * energy.intensity(country)
    rows.append(('energy', energy.describe(found['kwh'], grams, country or 'the world', 'from the time')))
  else:
    rows.append(('energy', "with pip install 'vit_jax[energy]'"))
  return progress.table(rows)
