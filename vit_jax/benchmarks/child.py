"""The process of one setting: makes it ready, works when it is its turn, and gives memory back while it waits."""
import ctypes
import gc
import math
import multiprocessing
import os
import pathlib
import platform
import signal
import threading
import time

from vit_jax import cpu
from vit_jax import energy
from vit_jax import machine
from vit_jax import quiet

# Steps at the begin of a turn that are not timed: memory that was given back comes again, that of each step in flight.
UNTIMED = 4
# What this process works on, once it has started.
_READY: dict = {}


def follow():
  """Ends this process when the one that started it has ended; a killed one cannot say so."""
  def wait():
    multiprocessing.parent_process().join()
    os._exit(1)
  threading.Thread(target=wait, daemon=True).start()


def start(setting):
  """Makes a setting ready to run: -> what the work says of itself, 'seconds_until_ready', 'base_memory' in bytes (what
  its libraries take), 'energy_method'.
  """
  quiet.silence()
  signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once, and without a word.
  if setting.keep_pages:
    cpu.keep_pages()  # Before anything large is allocated.
  if setting.devices:
    flag = f'--xla_force_host_platform_device_count={setting.devices}'
    os.environ.update(XLA_FLAGS=f'{os.environ.get("XLA_FLAGS", "")} {flag}', JAX_PLATFORMS='cpu')
  # On a GPU several processes share the memory.
  os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  if setting.framework == 'vit_jax':
    from vit_jax.benchmarks import ours as works
  else:
    from vit_jax.benchmarks import twin as works
  base, started = machine.resident_memory(), time.perf_counter()
  work = works.make(setting)
  if hasattr(work, 'run'):
    work.run(1)
  seconds = time.perf_counter() - started
  _READY.update(work=work, meter=energy.Meter())
  _READY['meter'].read()
  give_back()
  return {**work.facts(), 'seconds_until_ready': seconds, 'base_memory': base,
          'energy_method': _READY['meter'].method()}


def turn(seconds):
  """Works for so many seconds: -> {'seconds', 'pictures', 'watts', 'peak_memory', 'device_memory'}.

  'seconds' are of the pictures alone. Work that has a `turn` of its own says other things.
  """
  work, meter = _READY['work'], _READY['meter']
  if not hasattr(work, 'run'):
    return work.turn(seconds)
  forget_peak()
  work.run(UNTIMED)
  count = max(math.ceil(seconds / timed(work, 1)), 3)
  before, read_at = meter.read(), time.perf_counter()
  took = timed(work, count)
  kwh = meter.read()
  watts = None if kwh is None else (kwh - before) * 3.6e6 / (time.perf_counter() - read_at)
  found = {'seconds': took, 'pictures': count * work.pictures, 'watts': watts, 'peak_memory': machine.peak_memory(),
           'device_memory': work.device_memory()}
  give_back()
  return found


def timed(work, count):
  """Seconds that so many steps take, the last one to its end."""
  started = time.perf_counter()
  work.run(count)
  return time.perf_counter() - started


def give_back():
  """Hands freed memory back to the system, even where it is kept otherwise: others need it while this one waits."""
  gc.collect()
  if platform.libc_ver()[0] == 'glibc':
    ctypes.CDLL(None).malloc_trim(0)


def forget_peak():
  """Starts the count of `machine.peak_memory` anew, where Linux lets us."""
  try:
    pathlib.Path('/proc/self/clear_refs').write_text('5', encoding='ascii')
  except OSError:
    pass  # Then it is the peak since the start.
