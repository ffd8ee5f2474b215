"""A sweep -> one HTML page that needs nothing else: no network, no other file, light and dark."""
import pathlib

from vit_jax import progress
from vit_jax.sweeping import plots
from vit_jax.sweeping import results
from vit_jax.sweeping.study import State


def render(study, trials, keys, *, name, command):
  """The text of the page.

  `trials` is {place: FrozenTrial}, `keys` what was tried, and `command` the line that made it.
  """
  import jinja2  # Here, not above: `--help` need not pay for it.

  here = pathlib.Path(__file__).parent
  environment = jinja2.Environment(loader=jinja2.FileSystemLoader([here, here.parent / 'reporting']), autoescape=True,
                                   trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
  environment.filters |= {'duration': progress.duration, 'percent': results.percent, 'number': results.number}
  groups = results.groups(trials)
  return environment.get_template('sweep.html').render(
      name=name, groups=groups, group_keys=list(groups[0].values) if groups else [], command=command,
      total=len(trials), complete=results.count(trials, State.COMPLETE), pruned=results.count(trials, State.PRUNED),
      failed=results.failed(trials), coordinates=plots.coordinates(trials, keys),
      importance=plots.importance(study, keys))
