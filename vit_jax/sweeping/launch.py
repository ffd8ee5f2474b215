"""Where the runs of a sweep are trained: in processes of this machine, or as jobs of Slurm by submitit.

A launcher has `workers`, how many runs it trains at once, `where` in words, and `start(arguments, log, slot)`, which
gives a run: `poll()` is its exit status or None, `stop()` asks it to save and end, `kill()` does not ask, `error` is
what went wrong outside it.
"""
import itertools
import os
import signal
import subprocess
import sys

from vit_jax import machine
from vit_jax.errors import BadInput
from vit_jax.errors import one_line


def command(cores, arguments):
  """The command line that trains with these arguments of vit_jax.main, as a child of this process."""
  return [sys.executable, '-m', 'vit_jax.sweeping.child', str(os.getpid()), ','.join(map(str, cores)), *arguments]


def share_cores(workers, cores=None):
  """Cores, by default those that this process may use, in so many parts as even as can be: -> [[core, …], …].

  Raises BadInput where there are not enough of them.
  """
  if cores is None:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else list(range(machine.num_cores()))
  if workers > len(cores):
    raise BadInput(f'--workers={workers} is more than the {len(cores)} cores that may be used; each needs one')
  edges = [round(i * len(cores) / workers) for i in range(workers + 1)]
  return [cores[start:end] for start, end in itertools.pairwise(edges)]


class Local:
  """Processes of this machine, each on cores of its own."""

  def __init__(self, workers):
    self.workers = workers
    self._cores = share_cores(workers)
    self.where = f'each on {len(self._cores[0])} of {sum(map(len, self._cores))} cores'

  def start(self, arguments, log, slot):
    """Starts a run on the cores of a slot, from 0 to one less than `workers`; what it says goes to the file `log`."""
    with open(log, 'wb') as file:
      # A session of its own: Ctrl-C is for the sweep to hear, which then stops its runs.
      return Process(subprocess.Popen(command(self._cores[slot], arguments), stdin=subprocess.DEVNULL, stdout=file,
                                      stderr=subprocess.STDOUT, start_new_session=True))


class Process:
  """A run in a process of this machine."""

  def __init__(self, process):
    self.poll, self.stop, self.kill = process.poll, process.terminate, process.kill
    self.error = None


class Slurm:
  """Jobs that submitit hands to Slurm, which waits for a machine that has what `options` ask for.

  `options` are submitit's: timeout_min, cpus_per_task, gpus_per_node, slurm_partition, …; files of its own are in
  `folder`. `cluster` 'local' takes processes of this machine for jobs. It and `start` raise BadInput where that is not
  possible.
  """

  def __init__(self, folder, workers, options, cluster='slurm'):
    try:
      import submitit
    except ImportError:
      raise BadInput("--launcher=slurm needs submitit, which is not installed: pip install 'vit_jax[sweep]'") from None
    self.workers = workers
    self.where = f'as jobs of {cluster}'
    try:
      self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
      self._executor.update_parameters(name='vit_jax', **options)
    except (RuntimeError, NameError, TypeError, ValueError, AssertionError) as error:
      raise BadInput(f'--launcher=slurm cannot be used: {one_line(error)}') from None

  def start(self, arguments, log, slot):
    """Submits a run; what it says goes to the file `log`."""
    del slot  # Slurm knows which cores are free.
    try:
      return Job(self._executor.submit(Training(arguments, str(log))))
    except RuntimeError as error:  # What sbatch says against it.
      raise BadInput(f'--launcher=slurm cannot be used: {one_line(error)}') from None


class Training:
  """What a job does, and again where Slurm took its machine away: the run goes on from its checkpoint."""

  def __init__(self, arguments, log):
    self.arguments, self.log = arguments, log
    self.process = None

  def __call__(self):
    """Trains; -> the exit status."""
    with open(self.log, 'ab') as file:
      self.process = subprocess.Popen(command((), self.arguments), stdin=subprocess.DEVNULL, stdout=file,
                                      stderr=subprocess.STDOUT)
      return self.process.wait()

  def checkpoint(self):
    """Called by submitit when the machine is to be given back: saves, and says what to do in the next job."""
    import submitit
    if self.process:
      self.process.send_signal(signal.SIGTERM)
      self.process.wait()
    return submitit.helpers.DelayedSubmission(Training(self.arguments, self.log))


class Job:
  """A run as a job of submitit's."""

  def __init__(self, job):
    self._job = job
    self.error = None
    self._cancelled = False

  def poll(self):
    """The exit status, or None; what went wrong with the job itself is in `error` then."""
    if not self._job.done():
      return None
    if self._cancelled:  # Submitit would wait for a result.
      self.error = 'cancelled'
      return 1
    try:
      return self._job.result()
    except Exception as error:  # Whatever the job raised, or how it ended: submitit hands it on.
      self.error = one_line(error)
      return 1

  def stop(self):
    """Slurm tells the job to end, and ends it some time later."""
    self._cancelled = True
    self._job.cancel(check=False)

  kill = stop
