"""What this machine is, how this process was started, and what it has used."""
import datetime
import importlib.metadata
import os
import pathlib
import platform
import re
import shlex
import socket
import subprocess
import sys

PACKAGES = ('vit_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'tensorflow',
            'tensorflow-cpu', 'tensorflow-datasets', 'ml-collections')

# What Linux grants a container, in bytes, or 'max'.
CONTAINER_MEMORY = pathlib.Path('/sys/fs/cgroup/memory.max')


def processor_name():
  """The processor as its maker calls it, where the system says so."""
  try:
    match = re.search(r'model name\s*:\s*(.+)', pathlib.Path('/proc/cpuinfo').read_text())
  except OSError:
    match = None
  return match.group(1) if match else platform.processor() or platform.machine()


def num_cores():
  """How many processor cores this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def command_line():
  """The command of this process, as it can be typed again: 'python -m vit_jax.main --config=…'."""
  spec = sys.modules['__main__'].__spec__  # None where a file was started, and not a module.
  return shlex.join(['python', *(['-m', spec.name] if spec else sys.argv[:1]), *sys.argv[1:]])


def memory():
  """The memory of the machine, or of the container that this runs in, in bytes; None where the system does not say."""
  try:
    whole = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  except (AttributeError, ValueError, OSError):  # Windows
    return None
  try:
    return min(whole, int(CONTAINER_MEMORY.read_text()))
  except (OSError, ValueError):  # There is no container, or it has 'max'.
    return whole


def memory_of(compiled):
  """Bytes on each device that a function compiled by jax needs, for arguments, results and everything between."""
  stats = compiled.memory_analysis()
  return (stats.argument_size_in_bytes + stats.output_size_in_bytes - stats.alias_size_in_bytes
          + stats.temp_size_in_bytes)


def peak_memory():
  """The most memory that this process has had, in bytes; None where the system does not say."""
  # Not getrusage's, where it can be helped: on Linux a process inherits that from the one that started it.
  peak = _status('VmHWM')
  if peak is None:
    try:
      import resource
    except ImportError:  # Windows
      return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == 'darwin' else 1024
  return peak


def resident_memory():
  """The memory that this process has now, with the pages of files that it has mapped, in bytes; None as above."""
  return _status('VmRSS')


def _status(name):
  try:
    match = re.search(rf'^{name}:\s*(\d+) kB', pathlib.Path('/proc/self/status').read_text(), re.MULTILINE)
  except OSError:
    return None
  return int(match.group(1)) * 1024 if match else None


def commit(root=pathlib.Path(__file__).parents[1]):
  """The git commit of this clone, with '-dirty' where files were changed; None where it is none, or there is no git."""
  if not (root / '.git').exists():  # Or git would speak of a repository that the installed package happens to lie in.
    return None
  try:
    git = subprocess.run(['git', 'describe', '--always', '--dirty', '--abbrev=40'], capture_output=True, text=True,
                         cwd=root, check=False)
  except OSError:
    return None
  return git.stdout.strip() or None


def environment():
  """What this start runs on: time, command, versions, processor, devices, and the git commit where there is one."""
  import jax  # Here, not above: the command line must be quick.
  versions = {}
  for package in PACKAGES:
    try:
      versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      pass
  return {
      'time': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
      'command': command_line(),
      'host': socket.gethostname(),
      'process': os.getpid(),
      'python': platform.python_version(),
      'platform': platform.platform(),
      'processor': processor_name(),
      'cores': num_cores(),
      'devices': [str(device.device_kind) for device in jax.devices()],
      'versions': versions,
      'commit': commit(),
  }
