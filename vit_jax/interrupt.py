"""Ctrl-C and SIGTERM as a wish rather than an exception: a step is never cut in two."""
import contextlib
import signal


@contextlib.contextmanager
def stop_on_signal():
  """Turns the first Ctrl-C or SIGTERM into `stop['signal']`, so that a step is never cut in two; a second one ends."""
  stop = {'signal': None}

  def note(number, _):
    stop['signal'] = number
    for name in before:
      signal.signal(name, before[name])

  before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
  for name in before:
    signal.signal(name, note)
  try:
    yield stop
  finally:
    for name in before:
      signal.signal(name, before[name])
