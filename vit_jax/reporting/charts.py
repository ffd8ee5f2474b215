"""Numbers -> the places of lines, points and ticks in a small chart, which charts.html draws as SVG.

The drawing takes its colours from the page, so that it can be read in the light and in the dark.
"""
import dataclasses
import math

import numpy as np

# The drawing's units; the page scales them.
WIDTH, HEIGHT = 380, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 24, 12, 42
# Radius of a point, and of the largest one where they differ.
POINT, LARGEST = 3.0, 9.0


@dataclasses.dataclass(frozen=True)
class Series:
  """Values y over x with a name; points are drawn too where asked, of an area in proportion to `sizes`."""
  name: str
  x: list
  y: list
  line: bool = True
  points: bool = False
  sizes: list | None = None


def ticks(low, high, most=6):
  """Round numbers from `low` to `high`, at most so many and one more: -> [float, …]."""
  rough = max((high - low) / most, 1e-12)
  power = 10.0 ** math.floor(math.log10(rough))
  step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
  return [float(i * step) for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def spread(values, given):
  """Where an axis begins and ends: as given, else from 0, or below, to a little above the highest value."""
  if given:
    return given
  low, high = min(0.0, min(values)), max(values)
  return low, high + (0.05 * (high - low) or 1.0)


def chart(title, series, *, x, y, percent=False, x_range=None, y_range=None, x_names=None, diagonal=False):
  """[Series, …] -> what charts.html draws, a dict; None where there is nothing to draw.

  `x` and `y` are the names of the axes. With `percent` y is a share, shown in per cent. `x_names` are the ticks of x,
  {value: text}; `diagonal` is a line from corner to corner.
  """
  series = [clean(one) for one in series]
  series = [one for one in series if one.x]
  if not series:
    return None
  left, right = spread([value for one in series for value in one.x], x_range)
  low, high = spread([value for one in series for value in one.y], y_range)
  across = lambda value: round(LEFT + (value - left) / (right - left) * (WIDTH - LEFT - RIGHT), 1)
  down = lambda value: round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)
  show = (lambda value: f'{100 * value:.4g} %') if percent else (lambda value: f'{value:.4g}')
  shown_x = x_names or {value: f'{value:.6g}' for value in ticks(left, right)}
  return dict(
      title=title, x=x, y=y, width=WIDTH, height=HEIGHT, left=LEFT, right=WIDTH - RIGHT, top=TOP,
      bottom=HEIGHT - BOTTOM, diagonal=diagonal,
      series=[dict(name=one.name, line=one.line, path=' '.join(f'{across(a)},{down(b)}' for a, b in zip(
          one.x, one.y, strict=True)), points=places(one, across, down)) for one in series],
      x_ticks=[(across(value), text) for value, text in shown_x.items()],
      y_ticks=[(down(value), show(value)) for value in ticks(low, high, 5)],
      summary='; '.join(f'{one.name}: {in_words(one, show)}' for one in series))


def clean(series):
  """The series without values that are missing or not finite."""
  kept = [i for i, value in enumerate(series.y) if value is not None and np.isfinite(value)]
  pick = lambda values: [values[i] for i in kept]
  return dataclasses.replace(series, x=pick(series.x), y=pick(series.y), sizes=series.sizes and pick(series.sizes))


def places(series, across, down):
  """The points of a series, [(x, y, radius), …]; a line of one value is a point."""
  if not series.points and len(series.x) > 1:
    return []
  most = max(series.sizes) if series.sizes else 1
  radius = lambda i: POINT if not series.sizes else round(max(LARGEST * math.sqrt(series.sizes[i] / most), 1.5), 1)
  return [(across(a), down(b), radius(i)) for i, (a, b) in enumerate(zip(series.x, series.y, strict=True))]


def in_words(series, show):
  """What a line says to somebody who cannot see it."""
  first, last = show(series.y[0]), show(series.y[-1])
  low, high = show(min(series.y)), show(max(series.y))
  if first == last == low == high:
    return first
  return f'from {first} to {last}, lowest {low}, highest {high}' if series.line else f'from {low} to {high}'
