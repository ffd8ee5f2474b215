"""Several processes that train one model, on one machine or many: how they find each other, and what they agree on.

Everything here does nothing special where there is one process. jax is imported when it is needed: processes have to
meet before it is used for the first time.
"""
import contextlib
import os
import sys

from vit_jax.errors import BadInput

# Seconds without a sign of life after which a process counts as gone, and the others end.
PATIENCE = 30
# What Slurm's srun and Open MPI's mpirun tell each process of how many there are.
_COUNTS = ('SLURM_STEP_NUM_TASKS', 'OMPI_COMM_WORLD_SIZE')
# How XLA's messages begin where a connection broke.
_CONNECTION = ('UNKNOWN: ', 'INTERNAL: ', 'UNAVAILABLE: ', 'ABORTED: ', 'CANCELLED: ', 'DEADLINE_EXCEEDED: ')


def start(coordinator='', num_processes=None, process_id=None):
  """Joins the other processes of this training; call it before jax is used.

  Under Slurm's srun, Open MPI's mpirun and on TPU pods nothing needs to be said: jax finds the others itself, with
  `coordinator` 'auto' elsewhere too. Otherwise all three are needed: host:port of the first process, how many there are
  and which this is, from 0. Raises BadInput where they do not fit together, or nobody answers. All but the first
  process are silent from now on, but for errors.
  """
  several = any(int(os.environ.get(name, 1)) > 1 for name in _COUNTS)
  several = several or ',' in os.environ.get('TPU_WORKER_HOSTNAMES', '')
  if not coordinator and not several:
    if num_processes is not None or process_id is not None:
      raise BadInput('--num_processes and --process_id need --coordinator=HOST:PORT, where the first process listens')
    return
  if coordinator in ('', 'auto'):
    options = {}
  else:
    options = _addressed(coordinator, num_processes, process_id)
  import jax
  try:
    jax.distributed.initialize(**options, heartbeat_timeout_seconds=PATIENCE, shutdown_timeout_seconds=PATIENCE,
                               initialization_timeout=10 * PATIENCE)
  except (RuntimeError, ValueError) as error:
    raise BadInput(f'the processes of this training did not meet at --coordinator={coordinator or "auto"}: '
                   f'{str(error).splitlines()[0]}') from None
  if not first():
    sys.stdout = open(os.devnull, 'w', encoding='utf-8', errors='backslashreplace')  # noqa: SIM115


def _addressed(coordinator, num_processes, process_id):
  """The arguments of jax.distributed.initialize."""
  host, _, port = coordinator.rpartition(':')
  if not host or not port.isdigit() or not 0 < int(port) < 2**16:
    raise BadInput(f'--coordinator={coordinator} must be the HOST:PORT where the first process listens, or auto')
  if num_processes is None or process_id is None or not 0 <= process_id < num_processes:
    raise BadInput(f'--coordinator needs --num_processes and --process_id, from 0 to one less than that; got '
                   f'{num_processes} and {process_id}')
  options = {'coordinator_address': coordinator, 'num_processes': num_processes, 'process_id': process_id}
  if host in ('localhost', '127.0.0.1', '[::1]'):  # Otherwise it would listen to other machines as well.
    options['coordinator_bind_address'] = coordinator
  return options


def tells_of_another(error):
  """Whether an exception means that another process of this training is gone."""
  import jax
  if jax.process_count() == 1 or 'RESOURCE_EXHAUSTED' in str(error):  # The memory of this one's own device.
    return False
  # The second is what Orbax says where the others do not come to save with this one; jax raises some of XLA's statuses
  # as a ValueError.
  return (isinstance(error, (jax.errors.JaxRuntimeError, TimeoutError))
          or (isinstance(error, ValueError) and str(error).startswith(_CONNECTION)))


@contextlib.contextmanager
def ending_together():
  """Ends this process with a line where another one is gone: to wait for it, as all clean-up would, takes for ever."""
  try:
    yield
  except Exception as error:
    if not tells_of_another(error):
      raise
    print(f'error: another process of this training is gone ({str(error).splitlines()[0][:200]}); start all of them '
          'anew with the same commands, and they go on from the newest checkpoint', file=sys.stderr, flush=True)
    os._exit(2)


def first():
  """Whether this is the process that writes the run folder and talks to the person."""
  import jax
  return jax.process_index() == 0


def share():
  """Which part of each batch this process reads, of how many: (0, 1) where it is alone."""
  import jax
  return jax.process_index(), jax.process_count()


def meet(name):
  """Waits until all processes are here."""
  import jax
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils
    multihost_utils.sync_global_devices(name)


def largest(value):
  """The largest of the integers that the processes come with, the same for all."""
  import jax
  if jax.process_count() == 1:
    return value
  from jax.experimental import multihost_utils
  import numpy as np
  return int(np.max(multihost_utils.process_allgather(np.int32(value))))


def of_the_first(value):
  """The integer that the first process comes with, the same for all."""
  import jax
  if jax.process_count() == 1:
    return value
  from jax.experimental import multihost_utils
  import numpy as np
  return int(multihost_utils.broadcast_one_to_all(np.int32(value)))
