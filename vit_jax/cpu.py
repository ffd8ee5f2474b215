"""What makes a CPU fast: an allocator that keeps its pages, oneDNN's kernels, the right float type.

`experiments/cpu_fast_path/` measures what each is worth. Each has a fallback and says so in the log; none asks
anything of the user.
"""
import ctypes
import platform
import re

from absl import logging

from vit_jax.errors import BadInput
from vit_jax.errors import one_line

# Parameters of glibc's mallopt(3) and what they are set to here. glibc would hand each freed buffer back to
# the kernel, and each step would fault its pages in anew.
_MALLOPT = {
    'M_MMAP_MAX': (-4, 0),  # never a private mapping for a large block: it is unmapped when freed
    'M_TRIM_THRESHOLD': (-1, -1),  # never give the top of the heap back; any number would be 2 GiB at most
    'M_TOP_PAD': (-2, 256 * 2**20),  # grow the heap by 256 MiB at a time
    'M_ARENA_MAX': (-8, 1),  # one heap for all threads, so that what one frees another reuses
}
_OPTIONS = {
    'xla_cpu_experimental_onednn_custom_call': True,
    # Of what YNNPACK would take first, it is left the sums: products are quicker in oneDNN, with what follows them.
    'xla_cpu_experimental_ynn_fusion_type': 'LIBRARY_FUSION_TYPE_REDUCE',
    # Operations in an order that needs little memory; the default one would have more of them run at the same time, but
    # each has all cores already. A step takes as long, and up to 45 % less memory.
    'xla_cpu_scheduler_type': 'CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED',
}


def keep_pages():
  """Tells the C library to keep freed memory; call it before the first large allocation.

  Returns True where it took effect: glibc only. Elsewhere nothing changes.
  """
  if platform.libc_ver()[0] != 'glibc':
    return False
  mallopt = ctypes.CDLL(None).mallopt
  return all(mallopt(parameter, value) for parameter, value in _MALLOPT.values())


def processor_flags():
  """The processor's instruction-set flags as Linux names them ('avx512_bf16', …); empty elsewhere."""
  try:
    with open('/proc/cpuinfo') as f:
      match = re.search(r'^(?:flags|Features)\s*:\s*(.*)$', f.read(), re.MULTILINE)
  except OSError:
    return frozenset()
  return frozenset(match.group(1).split() if match else ())


def has_onednn():
  """Whether this jax was built with oneDNN: from 0.11 on."""
  import jax  # Here, not above: `keep_pages` has to run before jax allocates.
  return tuple(int(part) for part in jax.__version__.split('.')[:2]) >= (0, 11)


def has_fast_bfloat16():
  """True where bfloat16 matrix products are fast on this CPU: the instructions, and a jax that uses them."""
  return has_onednn() and bool(processor_flags() & {'avx512_bf16', 'amx_bf16'})


def activation_dtype(name):
  """'float32', 'bfloat16' or 'auto' -> dtype; 'auto' is bfloat16 wherever the device is fast at it.

  Raises BadInput for any other name.
  """
  import jax
  import jax.numpy as jnp
  if name == 'auto':
    fast = has_fast_bfloat16() if jax.default_backend() == 'cpu' else True
    name = 'bfloat16' if fast else 'float32'
  if name not in ('float32', 'bfloat16'):
    raise BadInput(f"dtype={name!r} is unknown; there are 'auto', 'float32' and 'bfloat16'")
  return jnp.dtype(name)


def _options():
  """What XLA is told on this processor."""
  # LLVM keeps to vectors of 256 bits, since longer ones lower the clock of processors older than those with AMX.
  return _OPTIONS | ({'xla_cpu_prefer_vector_width': 512} if 'amx_bf16' in processor_flags() else {})


def barrier(arrays):
  """What XLA does not look through where it compiles for a CPU: neither fuses nor shares; elsewhere nothing."""
  import jax
  return jax.lax.optimization_barrier(arrays) if jax.default_backend() == 'cpu' else arrays


def compile_fast(jitted, *args):
  """Compiles a `jax.jit`-ed function for these arguments, through oneDNN where this CPU's jax can.

  Returns the compiled function, which takes arguments of the same shapes.
  """
  return compile_lowered(jitted.lower(*args))


def compile_lowered(lowered):
  """What `compile_fast` does with a function that is traced already; another thread can go on in Python meanwhile.

  A function that oneDNN's rewriter cannot digest is compiled without it, with a warning in the log.
  """
  import jax
  if jax.default_backend() != 'cpu' or not has_onednn():
    return lowered.compile()
  try:
    return lowered.compile(compiler_options=_options())
  except Exception as error:  # XLA raises RuntimeError subclasses that differ between versions.
    logging.warning('oneDNN is left out, compiling without it: %s', one_line(error))
    return lowered.compile()
