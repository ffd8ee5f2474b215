"""Findings -> one HTML page that needs nothing else: no network, no other file, light and dark."""
import base64
import io
import pathlib
import shlex

import numpy as np
from PIL import Image

from configs import common
from vit_jax import config as config_lib
from vit_jax import energy
from vit_jax import metrics
from vit_jax import progress
from vit_jax.explain import figures
from vit_jax.explain import overlay
from vit_jax.reporting import chance
from vit_jax.reporting import plots

# With more classes than these: no confusion matrix but the pairs that are confused most; no table of all that is open.
MATRIX, OPEN_TABLE = 20, 30
PAIRS, EXTREMES = 20, 8
# Pixels a side of pictures in the page, at most, and of maps over them.
PIXELS, MAP_PIXELS = 96, 128


def render(found, others=()):
  """Findings of a run, and of those that it is compared with -> the text of a page."""
  import jinja2  # Here, not above: `--help` need not pay for it.

  here = pathlib.Path(__file__).parent
  environment = jinja2.Environment(loader=jinja2.FileSystemLoader(here), autoescape=True, trim_blocks=True,
                                   lstrip_blocks=True, undefined=jinja2.StrictUndefined)
  environment.filters |= {'percent': percent, 'number': progress.number, 'duration': progress.duration, 'p': p_value,
                          'figures': energy.figures, 'quote': shlex.quote}
  test, beside = found.evaluation and found.evaluation['test'], compared(found, others)
  return environment.get_template('page.html').render(
      found=found, names=found.class_names, sentence=sentence(found), curves=plots.learning_curves(found.lines),
      test=test, rows=test and class_rows(test, found.class_names), gap=test and gap(test),
      pairs=test and confused(test['confusion']), matrix=test and shares(test['confusion']), matrix_limit=MATRIX,
      open_table=OPEN_TABLE, extremes=EXTREMES, reliability=test and plots.reliability(found.evaluation),
      corruption=test and plots.corruptions(found.evaluation), times=found.times(), data_uri=data_uri,
      looked=found.looks and explained(found.looks), seen=found.looks and paper_figures(found.looks),
      config=config_rows(found.config), compared=beside, notes=(found.data or {}).get('notes', []),
      side=found.model['preprocessing']['image_size'],
      race=plots.race(beside) if beside else None)


def percent(value, digits=1):
  """A share as a person reads it; – for None."""
  return '–' if value is None else f'{100 * value:.{digits}f} %'


def p_value(value):
  """A p value as a person reads it: 'p = 0.03'."""
  return f'p = {value:.2g}' if value >= 1e-4 else 'p < 0.0001'


def sentence(found):
  """What this is, in one sentence."""
  names, test = found.class_names, found.evaluation and found.evaluation['test']
  kind = 'small ResNet' if 'stage_features' in found.model['sizes'] else 'Vision Transformer'
  data = found.data or {}
  chosen = data.get('chosen', {}).get('model.variant')
  variant = found.config.model.variant or chosen or f'the model of {found.config.init}'
  listed = ', '.join(names) if len(names) <= 10 else ', '.join(names[:5]) + ', …'
  classes = f'{len(names)} classes of {data.get("name", found.config.data.name)} ({listed})'
  parts = [f'A {kind} ({variant}) of {found.num_params:,} parameters tells {classes} apart']
  if test:
    low, high = test['accuracy_interval']
    parts.append(f'it names the right one for {percent(test["accuracy"], 2)} of {test["count"]:,} test pictures '
                 f'(between {percent(low)} and {percent(high)} with 95 % confidence)')
  if 'seconds' in found.times():
    parts.append(f'training took {progress.duration(found.times()["seconds"])}'
                 + ('' if found.finished else ' so far'))
  return '; '.join(parts) + '.'


def right_of(row):
  """How many pictures of a class were right, of a row of metrics.summary."""
  return round((row['recall'] or 0) * row['count'])


def gap(test):
  """The worst and the best class of metrics.summary, held against chance: chance.Gap, or None where none is worse."""
  found = chance.gap([right_of(row) for row in test['per_class']], [row['count'] for row in test['per_class']])
  return found if found and found.size else None


def class_rows(test, names):
  """Every class with its numbers and the interval of its recall, the worst first; those without pictures last."""
  rows = [dict(row, name=name, interval=metrics.interval(right_of(row), row['count']) if row['count'] else None)
          for row, name in zip(test['per_class'], names, strict=True)]
  return sorted(rows, key=lambda row: (row['recall'] is None, row['recall']))


def shares(confusion):
  """Counts [K][K] -> [K][K] of (count, its share of the row)."""
  return [[(count, count / max(sum(row), 1)) for count in row] for row in confusion]


def confused(confusion, most=PAIRS):
  """The pairs of classes that are confused most, [(label, answer, count, share of the label's pictures)]."""
  counts = np.array(confusion)
  totals = counts.sum(axis=1)
  np.fill_diagonal(counts, 0)
  order = np.argsort(-counts, axis=None, kind='stable')[:most]
  found = [(int(i), int(j), int(counts[i, j])) for i, j in zip(*np.unravel_index(order, counts.shape), strict=True)]
  return [(i, j, count, count / totals[i]) for i, j, count in found if count]


def data_uri(picture, most=PIXELS, lossless=False):
  """u8[H,W,3] or PIL.Image -> 'data:image/webp;base64,…', at most so many pixels wide; small ones lose nothing."""
  if not isinstance(picture, Image.Image):
    picture = Image.fromarray(picture)
  if picture.width > most:
    picture = overlay.enlarge_picture(np.asarray(picture), most)
  file = io.BytesIO()
  picture.save(file, 'WEBP', quality=85, lossless=lossless or picture.width <= 32)
  return 'data:image/webp;base64,' + base64.b64encode(file.getvalue()).decode()


def explained(found):
  """looks.Looks for the template: occlusion, and that map off the model that points best; all where unknown.

  -> dict(rows, names, faith: [(map, {measure: Comparison})])
  """
  names = list(found.maps)
  if found.faith:
    gain = lambda name: sum(found.faith[name, kind].gain for kind in ('deletion', 'insertion'))
    others = [name for name in names if name != 'occlusion']
    best = max(others, key=gain, default=None)
    names = [name for name in names if name in ('occlusion', best)]
  layer = lambda name, i: data_uri(overlay.overlay(found.images[i], found.maps[name][i], MAP_PIXELS), MAP_PIXELS)
  rows = [dict(index=index, label=found.labels[i], answer=found.answers[i], picture=data_uri(found.images[i]),
               maps=[(name, layer(name, i)) for name in names]) for i, index in enumerate(found.indices)]
  faith = [(name, {kind: found.faith[name, kind] for kind in ('deletion', 'insertion')})
           for name in found.maps if found.faith]
  return dict(rows=rows, names=names, faith=faith)


def paper_figures(found):
  """Figure 7 of looks.Looks for the template: pictures and a chart; None where the model has none."""
  if found.filters is None:
    return None
  pictures, about = found.filters
  similar = found.similarity
  h, w = similar.shape[:2]
  low = float(similar.min())
  scaled = overlay.colours((similar.reshape(-1, h, w) - low) / max(1 - low, 1e-6)) / 255
  tiles = lambda values, columns: np.round(255 * figures.tile(values, columns, 0.5)).astype(np.uint8)
  sheet = lambda values, columns: data_uri(tiles(values, columns), 2000, lossless=True)
  return dict(filters=sheet(pictures, 7), about=about, positions=sheet(scaled, w), low=low,
              distances=plots.distances(found.distances, found.even_distance))


def config_rows(config):
  """The keys of a config that differ from the defaults, and the rest: [(key, value, default)] twice."""
  values, defaults = config_lib.flatten(config), config_lib.flatten(common.get_config())
  rows = [(key, repr(value), repr(defaults.get(key))) for key, value in sorted(values.items())]
  return [row for row in rows if row[1] != row[2]], [row for row in rows if row[1] == row[2]]


def compared(found, others):
  """The run and those beside it as rows, each with its McNemar test against the first."""
  right = lambda one: one.logits.argmax(axis=1) == one.labels
  runs = [found, *others] if others else []
  return [dict(run=one, name=name, test=one.evaluation['test'],
               pair=chance.mcnemar(right(found), right(one)) if i else None)
          for i, (one, name) in enumerate(zip(runs, names_apart(runs), strict=True))]


def names_apart(runs):
  """The names of several Findings; with the folders above where some are the same, as those of two sweeps are."""
  names = [one.name for one in runs]
  return [str(one.path) if names.count(one.name) > 1 else one.name for one in runs]
