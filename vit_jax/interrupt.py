"""Ctrl-C, SIGTERM and the end of the time as a wish rather than an exception: a step is never cut in two."""
import contextlib
import signal
import time

# Seconds before the end of the time at which to stop, besides three steps: to save, and to leave.
TO_SAVE = 5.0
# Wishes beside the numbers of signals.
TIME_IS_OVER, NOBODY_READS = 1000, 1001
# The signals that are a wish to stop; a terminal that is closed sends the last one.
SIGNALS = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name))


class Stopped(Exception):
  """Raised where a training ended before its last step, everything being saved; `status` is the exit status."""

  def __init__(self, reason, status):
    super().__init__(reason)
    self.reason, self.status = reason, status


class Stop:
  """Whether to stop: after a signal, or shortly before `deadline`, a time.monotonic().

  `agree` makes one integer of those of all processes, so that they stop after the same step.
  """

  def __init__(self, deadline=None, agree=lambda wish: wish):
    self.signal = None
    self.agree = agree
    self.deadline = deadline
    self._before, self._longest = None, 0.0

  def step_done(self):
    """To be called after each step: the longest one so far says how long the next one may take."""
    now = time.monotonic()
    self._longest = max(self._longest, now - (self._before or now))
    self._before = now

  def wanted(self):
    """None, or the Stopped to raise: a machine that is taken away is no failure, what Ctrl-C stopped is not done."""
    late = self.deadline and time.monotonic() + 3 * self._longest + TO_SAVE > self.deadline
    wish = self.agree(self.signal or (TIME_IS_OVER if late else 0))
    if wish == signal.SIGINT:
      return Stopped('stopped', 128 + signal.SIGINT)
    if wish == NOBODY_READS:
      return Stopped('nobody reads this any more', 141)  # 128 + SIGPIPE
    if wish == TIME_IS_OVER:
      return Stopped('the time is over', 0)
    return Stopped(f'stopped by {signal.Signals(wish).name}', 0) if wish else None


@contextlib.contextmanager
def stop_on_signal(deadline=None, agree=lambda wish: wish):
  """Turns the first of SIGNALS into the `signal` of a Stop, so that no step is cut in two; a second one ends.

  A SIGHUP that is ignored, as after `nohup`, stays so.
  """
  stop = Stop(deadline, agree)

  def note(number, _):
    stop.signal = number
    for name in before:
      signal.signal(name, before[name])

  before = {name: handler for name in SIGNALS
            if (handler := signal.getsignal(name)) != signal.SIG_IGN or name in (signal.SIGINT, signal.SIGTERM)}
  for name in before:
    signal.signal(name, note)
  try:
    yield stop
  finally:
    for name in before:
      signal.signal(name, before[name])
