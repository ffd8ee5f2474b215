"""A command, started as a person would start it, that says when it has come how far; startup.py runs this as a process.

    python -m vit_jax.benchmarks.started FILE LAUNCHED vit_jax.main --config=…

It goes on to the end of its first train step, or answer, and writes the seconds of each part into FILE as JSON. Of the
command itself nothing is left out or imitated: functions are wrapped once the command has imported what it imports.
"""
import functools
import json
import os
import pathlib
import runpy
import sys
import time

_PARTS: dict = {}  # {part: seconds}, in order
_LAST = [0.0]  # when the part before was over


def mark(part):
  """Notes that a part is over."""
  now = time.time()
  _PARTS[part], _LAST[0] = now - _LAST[0], now
  print(f'part: {part}', file=sys.stderr, flush=True)


def around(owner, name, *, before=None, after=None):
  """Has a function mark the end of a part when it is called, and of another when it returns."""
  inner = getattr(owner, name)

  @functools.wraps(inner)
  def outer(*args, **options):
    if before:
      mark(before)
    found = inner(*args, **options)
    if after:
      mark(after)
    return found
  setattr(owner, name, outer)


def watch_training():
  """Wraps what training goes through up to its first step."""
  import jax

  from vit_jax import job as job_lib
  from vit_jax import train

  mark('imports')
  around(job_lib, 'prepare', after='data, model')
  around(job_lib.Job, 'lowered_train_step', before='run folder', after='trace the step')
  around(job_lib.Job, 'initial_state', after='first weights')
  loop = train.loop

  def loop_once(job, folder, manager, train_step, *rest):
    mark('TensorFlow, compile')

    def first(*args):
      mark('first batch')
      jax.block_until_ready(train_step(*args))
      mark('first step')
      leave()
    first.memory_analysis = train_step.memory_analysis
    return loop(job, folder, manager, first, *rest)
  train.loop = loop_once


def watch_predicting():
  """Wraps what predicting goes through up to its first answer."""
  from vit_jax import predictor

  mark('imports')
  around(predictor.Predictor, 'load', after='weights')
  around(predictor.Predictor, 'answer', before='picture', after='compile, answer')


def leave():
  """Writes what was noted; a training ends here, as nobody needs it."""
  pathlib.Path(sys.argv[0]).write_text(json.dumps(_PARTS), encoding='utf-8')
  if 'first step' in _PARTS:
    os._exit(0)


def main():
  """The command in the arguments, with marks."""
  out, launched, module, *arguments = sys.argv[1:]
  _LAST[0] = float(launched)
  mark('Python')
  from vit_jax import command

  start_jax = command.start_jax

  def start():
    mark('flags')
    start_jax()
    (watch_training if module == 'vit_jax.main' else watch_predicting)()
  command.start_jax = start
  sys.argv = [out, *arguments]
  try:
    runpy.run_module(module, run_name='__main__')
  finally:
    leave()


if __name__ == '__main__':
  main()
