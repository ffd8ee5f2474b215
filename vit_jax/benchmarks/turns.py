"""Settings that take turns, each in a process of its own, of which only one works at a time."""
from concurrent import futures
from concurrent.futures import process
import contextlib
import dataclasses
import multiprocessing
import statistics

from vit_jax import progress
from vit_jax.benchmarks import child
from vit_jax.errors import BadInput
from vit_jax.errors import one_line

# Seconds that a turn takes, at least.
SECONDS = 2.0


class Contender:
  """One setting in a process that waits for its turn. `facts` is what is known of it before the first one.

  Where another framework cannot do it, or its process is killed, `error` says why, and it has no turns.
  """

  def __init__(self, setting):
    self.setting, self.facts, self.error, self.turns = setting, {}, None, []
    self.pool = futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), initializer=child.follow)

  def start(self):
    """Makes it ready."""
    self._do(child.start, self.setting, into=self.facts.update)

  def take_turn(self, seconds):
    """Works for so many seconds, and notes what came of it; what is only compiled has nothing to do."""
    if not self.error and self.setting.work != 'compile':
      self._do(child.turn, seconds, into=self.turns.append)

  def _do(self, function, argument, into):
    try:
      into(self.pool.submit(function, argument).result())
    except BadInput:
      raise
    except process.BrokenProcessPool:  # Killed, mostly for want of memory.
      if self.setting.work == 'product':  # Which all others are measured by.
        raise
      self._fail('its process was killed; is there enough memory?')
    except Exception as error:
      if self.setting.framework == 'vit_jax':
        raise
      self._fail(one_line(error))

  def _fail(self, error):
    """Forgets the turns that it has had: others have had more."""
    self.error, self.turns = error, []

  def close(self):
    """Ends the process."""
    self.pool.shutdown(cancel_futures=True)

  def found(self, rounds=None):
    """All that was measured, or what was in the first so many rounds, as JSON-able data."""
    return {'name': self.setting.name, 'setting': dataclasses.asdict(self.setting), 'error': self.error,
            'facts': self.facts, 'turns': self.turns[:rounds]}


def take_turns(groups, rounds, seconds=SECONDS):
  """Measures groups of settings, those of a group in turns: [[Setting]] -> [[what Contender.found says]].

  Stopped by Ctrl-C, it keeps the groups before and the whole rounds of the last one, see `stopped`. Where there are
  none, KeyboardInterrupt goes on.
  """
  total = sum(len(group) * (rounds + 1) for group in groups)
  results = []
  with progress.bar(total=total, desc='measuring', unit='turns') as bar:
    for group in groups:
      contenders = []
      try:
        measure(group, contenders, rounds, seconds, bar)
      except KeyboardInterrupt:
        # Whose process did not start has had no turns.
        turns = [len(one.turns) for one in contenders if not one.error and one.setting.work != 'compile']
        if len(contenders) == len(group) and (whole := min(turns, default=0)):
          results.append([contender.found(whole) for contender in contenders])
        if not results:
          raise
        return results
      results.append([contender.found() for contender in contenders])
  return results


def measure(group, contenders, rounds, seconds, bar):
  """Starts the settings of a group, puts them into the list `contenders`, and lets them take turns."""
  with contextlib.ExitStack() as stack:
    for setting in group:
      contenders.append(stack.enter_context(contextlib.closing(Contender(setting))))
      contenders[-1].start()
      bar.update(1)
    for number in range(rounds):
      # Whoever comes second finds another cache, so that they take turns in that too.
      for contender in contenders[::-1 if number % 2 else 1]:
        contender.take_turn(seconds)
        bar.update(1)


def stopped(found, groups, rounds):
  """How far `take_turns` came where it was stopped, for a person; '' where it ended."""
  last = max(len(one['turns']) for one in found[-1])
  if len(found) == len(groups) and last in (0, rounds):  # What is only compiled has no turns.
    return ''
  return f'stopped: {len(found)} of {len(groups)} groups were measured, the last one in {last} of {rounds} rounds'


def spread(values, form):
  """Median and range as text: spread([1, 2, 4], '{:.1f}') -> '2.0 (1.0 to 4.0)'."""
  return '{} ({} to {})'.format(*(form.format(f(values)) for f in (statistics.median, min, max)))


def per_turn(found, value):
  """A number of each turn of a contender: value(turn) -> list."""
  return [value(turn) for turn in found['turns']]


def pictures_per_second(turn):
  """How fast a turn was."""
  return turn['pictures'] / turn['seconds']


def speed(found):
  """The median of a contender's pictures a second; 0 where it has none."""
  return statistics.median(per_turn(found, pictures_per_second)) if found['turns'] else 0.0


def product_speed(one):
  """FLOP/s of a matrix product, the median."""
  return statistics.median(per_turn(one, lambda turn: turn['flops_per_second']))
