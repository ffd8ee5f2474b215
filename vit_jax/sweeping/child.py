"""One run of a sweep in a process of its own: vit_jax.main on some cores, for as long as the sweep is there.

  python -m vit_jax.sweeping.child PARENT CORES --config=… --workdir=…
      PARENT is the process that starts it, CORES are numbers between commas, or none for all
"""
import os
import pathlib
import runpy
import signal
import sys
import threading
import time

import filelock


def stop_with(parent):
  """Asks this process to stop, which saves first, once its parent is gone: a killed sweep leaves no run behind."""
  while os.getppid() == parent:
    time.sleep(0.5)
  os.kill(os.getpid(), signal.SIGTERM)


def wait_for(lock):
  """Waits until nobody trains in the run folder any more: what a killed sweep left may still be saving there."""
  if lock.exists():
    with filelock.FileLock(lock):
      pass


def main(parent, cores, *arguments):
  """What the top of this file says."""
  threading.Thread(target=stop_with, args=(int(parent),), daemon=True).start()
  if cores and hasattr(os, 'sched_setaffinity'):  # Before any library counts cores.
    os.sched_setaffinity(0, [int(core) for core in cores.split(',')])
  workdir = next(text.partition('=')[2] for text in arguments if text.startswith('--workdir='))
  wait_for(pathlib.Path(workdir) / 'lock')  # run.LOCK; that module imports jax, which vit_jax.main prepares for.
  sys.argv[1:] = arguments
  runpy.run_module('vit_jax.main', run_name='__main__', alter_sys=True)


if __name__ == '__main__':
  main(*sys.argv[1:])
