"""Trials -> the places of lines and ticks in a parallel-coordinates plot, and how much each key mattered."""
import math

import optuna

from vit_jax.reporting import charts
from vit_jax.sweeping import results
from vit_jax.sweeping.study import State

# The drawing's units; the page scales them.
AXIS_EVERY, TOP, BOTTOM, LEFT, RIGHT = 150, 34, 300, 30, 70
# An axis with at most so many values names them all.
FEW = 6
# Numbers that are positive, and so many times larger at one end than at the other, stand by their logarithm.
LOG_FROM = 20


def scale(values):
  """The values of an axis -> (function of a value to its height in units, [(height, text)] of its ticks)."""
  distinct = list(dict.fromkeys(values))
  if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in distinct):
    names = sorted(distinct, key=str)
    place = lambda value: names.index(value) / max(len(names) - 1, 1)
    shown = names
  else:
    low, high = min(distinct), max(distinct)
    log = low > 0 and high / low >= LOG_FROM
    number = math.log if log else float
    place = lambda value: (number(value) - number(low)) / (number(high) - number(low)) if high > low else 0.5
    powers = [10.0**power for power in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
              ] if log else []
    shown = distinct if len(distinct) <= FEW else powers or charts.ticks(low, high, FEW)
  height = lambda value: round(BOTTOM - place(value) * (BOTTOM - TOP), 1)
  return height, [(height(value), results.number(value)) for value in shown]


def coordinates(trials, keys):
  """{place: FrozenTrial} -> what page.html draws, a dict; None where fewer than two trials have a value.

  An axis for each key and one for validation accuracy; a line for each trial that finished or was stopped early.
  """
  drawn = [(place, trial, trial.value if trial.state == State.COMPLETE else results.last(trial))
           for place, trial in trials.items() if trial.state in (State.COMPLETE, State.PRUNED)]
  drawn = sorted((one for one in drawn if one[2] is not None), key=lambda one: one[2])
  if len(drawn) < 2:
    return None
  across = lambda i: LEFT + i * AXIS_EVERY
  heights, axes = [], []
  for i, key in enumerate(keys):
    height, ticks = scale([trial.params[key] for _, trial, _ in drawn])
    heights.append(height)
    axes.append(dict(x=across(i), name=key, ticks=ticks))
  low, high = drawn[0][2], drawn[-1][2]
  height, _ = scale([low, high])
  ticks = charts.ticks(low, high, FEW) if high > low else [low]
  axes.append(dict(x=across(len(keys)), name='validation accuracy',
                   ticks=[(height(value), f'{100 * value:.4g} %') for value in ticks]))
  lines = []
  for place, trial, value in drawn:
    there = [h(trial.params[key]) for h, key in zip(heights, keys, strict=True)] + [height(value)]
    said = ', '.join(f'{key}={results.number(trial.params[key])}' for key in keys)
    lines.append(dict(path=' '.join(f'{across(i)},{y}' for i, y in enumerate(there)),
                      share=(value - low) / (high - low) if high > low else 1.0, pruned=trial.state == State.PRUNED,
                      title=f'trial {place}: {said}: {value:.2%}' + ', stopped early' * (trial.state == State.PRUNED)))
  return dict(axes=axes, lines=lines, width=across(len(keys)) + RIGHT, height=BOTTOM + 20, top=TOP, bottom=BOTTOM)


def importance(study, keys):
  """The share of each key in the differences between finished trials, [(key, share)], the largest first.

  By fANOVA (Hutter et al. 2014) as Optuna has it; None where there are too few trials, or they do not differ.
  """
  done = study.get_trials(deepcopy=False, states=(State.COMPLETE,))
  if len(done) < 4 or len({trial.value for trial in done}) < 2:
    return None
  shares = optuna.importance.get_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
                                                   params=list(keys))
  return [(key, share) for key, share in shares.items() if math.isfinite(share)] or None
