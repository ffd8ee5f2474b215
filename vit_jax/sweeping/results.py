"""What came of a sweep: a row for each run, a mean and a spread for each set of values, a table, results.csv."""
import csv
import dataclasses
import io
import math
import statistics

from vit_jax import progress
from vit_jax.sweeping import space as space_lib
from vit_jax.sweeping.study import State

# Rows of the table that is printed.
MOST = 20


@dataclasses.dataclass(frozen=True)
class Group:
  """Trials with the same values but for the seed."""
  values: dict  # {key: value}
  runs: list  # of all their seeds, as the trials keep them
  scores: list  # validation accuracy of each finished run
  folder: str  # the best run's

  @property
  def mean(self):
    """Mean validation accuracy."""
    return statistics.mean(self.scores)

  @property
  def spread(self):
    """Its sample standard deviation over the seeds, None for one."""
    return statistics.stdev(self.scores) if len(self.scores) > 1 else None

  @property
  def seconds(self):
    """Mean time of a run."""
    return statistics.mean(run['seconds'] for run in self.runs)


def groups(trials):
  """{place: FrozenTrial} -> the Group of each set of values that has a finished run, the best mean first."""
  found = {}
  for trial in trials.values():
    if trial.state == State.COMPLETE:
      values = {key: value for key, value in trial.params.items() if key != space_lib.SEED}
      # A search may try a place twice; the same seed gives the same again, and is no other draw.
      of_seed = {run['seed']: run for run in trial.user_attrs['runs']}
      found.setdefault(tuple(values.items()), (values, {}))[1].update(of_seed)
  made = [Group(values, list(runs.values()), [run['val_accuracy'] for run in runs.values()],
                max(runs.values(), key=lambda run: run['val_accuracy'])['folder']) for values, runs in found.values()]
  return sorted(made, key=lambda group: -group.mean)


def count(trials, state):
  """How many trials are in a state."""
  return sum(trial.state == state for trial in trials.values())


def unfinished(trials, owner):
  """How many trials have not ended, of those that `owner` began and somebody stopped, and of all others."""
  owners = [trial.user_attrs.get('owner') for trial in trials.values() if not trial.state.is_finished()]
  return owners.count(owner), len(owners) - owners.count(owner)


def failed(trials):
  """[(place, {key: value}, error)] of the trials that failed."""
  return [(place, trial.params, trial.user_attrs['error']) for place, trial in trials.items()
          if trial.state == State.FAIL]


def number(value):
  """A value as a person reads it."""
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def percent(group):
  """A Group's accuracy as 'mean ± standard deviation' in per cent."""
  mean = f'{100 * group.mean:.2f}'
  return mean if group.spread is None else f'{mean} ± {100 * group.spread:.2f}'


def table(found):
  """Groups as aligned lines of text, at most `MOST` of them."""
  if not found:
    return 'no trial has finished'
  keys = list(dict.fromkeys(key for group in found for key in group.values))
  rows = [[*keys, 'seeds', 'validation, %', 'time a run']]
  rows += [[*(number(group.values.get(key, '–')) for key in keys), str(len(group.scores)), percent(group),
            progress.duration(group.seconds)] for group in found[:MOST]]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = ['  '.join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
  return '\n'.join(lines + ([f'… and {len(found) - MOST} more'] if len(found) > MOST else []))


def to_csv(trials, keys):
  """The text of results.csv: a row for each run, and for each trial without one.

  A pruned trial's accuracy is its last one before it was stopped.
  """
  file = io.StringIO()
  columns = ['trial', 'state', *keys, space_lib.SEED, 'val_accuracy', 'val_loss', 'seconds', 'folder', 'error']
  writer = csv.DictWriter(file, list(dict.fromkeys(columns)), lineterminator='\n')
  writer.writeheader()
  for place, trial in trials.items():
    row = {'trial': place, 'state': trial.state.name.lower(), **trial.params,
           'error': trial.user_attrs.get('error', '')}
    runs = trial.user_attrs.get('runs') or [{'val_accuracy': last(trial)}]
    for run in runs:
      writer.writerow(row | run)
  return file.getvalue()


def last(trial):
  """The newest validation accuracy that a trial reported, or None."""
  steps = trial.intermediate_values
  value = steps[max(steps)] if steps else None
  return value if value is not None and math.isfinite(value) else None
