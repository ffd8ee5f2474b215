"""Charts: where points land, by hand, and what the drawing says to those who cannot see it."""
import numpy as np
import pytest

from vit_jax.reporting import charts
from vit_jax.reporting import plots

ACROSS, DOWN = charts.WIDTH - charts.LEFT - charts.RIGHT, charts.HEIGHT - charts.TOP - charts.BOTTOM


@pytest.mark.parametrize(('low', 'high', 'most', 'expected'), [
    (0, 1, 5, [0, .2, .4, .6, .8, 1]), (0, 25, 6, [0, 5, 10, 15, 20, 25]), (0, .87, 5, [0, .2, .4, .6, .8]),
    (-3, 11, 6, [-2.5, 0, 2.5, 5, 7.5, 10]), (0, 12345, 6, [0, 2500, 5000, 7500, 10000]), (0, 3e-4, 5, None)])
def test_ticks_are_round_numbers(low, high, most, expected):
  found = charts.ticks(low, high, most)
  if expected is not None:
    assert found == pytest.approx(expected)
  assert 3 <= len(found) <= most + 1 and low <= found[0] and found[-1] <= high * (1 + 1e-9)


def test_points_land_where_they_belong():
  drawn = charts.chart('t', [charts.Series('a', [0, 5, 10], [0, 1, .5], points=True)], x='x', y='y', x_range=(0, 10),
                       y_range=(0, 1))
  left, top, bottom = charts.LEFT, charts.TOP, charts.HEIGHT - charts.BOTTOM
  expected = [(left, bottom), (left + ACROSS / 2, top), (left + ACROSS, top + DOWN / 2)]
  assert [(x, y) for x, y, _ in drawn['series'][0]['points']] == [pytest.approx(place, abs=.06) for place in expected]
  assert drawn['series'][0]['path'].split() == [f'{x},{y}' for x, y, _ in drawn['series'][0]['points']]


def test_missing_values_are_left_out_and_nothing_is_no_chart():
  drawn = charts.chart('t', [charts.Series('a', [0, 1, 2], [1, None, np.nan]), charts.Series('b', [], [])], x='', y='')
  assert len(drawn['series']) == 1 and len(drawn['series'][0]['points']) == 1  # One value is no line.
  assert charts.chart('t', [charts.Series('b', [], [])], x='', y='') is None


def test_areas_are_in_proportion():
  drawn = charts.chart('t', [charts.Series('a', [0, 1], [0, 1], points=True, sizes=[100, 25])], x='', y='')
  (_, _, large), (_, _, small) = drawn['series'][0]['points']
  assert large == charts.LARGEST and small == pytest.approx(large / 2)


def test_a_chart_says_in_words_what_it_shows():
  drawn = charts.chart('t', [charts.Series('cat', [0, 1, 2], [.5, .9, .75])], x='', y='', percent=True)
  assert drawn['summary'] == 'cat: from 50 % to 75 %, lowest 50 %, highest 90 %'


def test_learning_curves_take_the_lines_that_have_a_value():
  lines = [{'step': 1, 'epoch': .5, 'accuracy': .1, 'loss': 2.}, {'step': 2, 'epoch': 1., 'accuracy': .2, 'loss': 1.,
                                                                 'val_accuracy': .3, 'val_loss': .5}]
  accuracy, loss = plots.learning_curves(lines)
  assert [one['name'] for one in accuracy['series']] == ['validation', 'training pictures, as augmented']
  assert len(accuracy['series'][0]['points']) == 1 and len(loss['series'][1]['path'].split()) == 2
  assert len(plots.learning_curves(lines[:1])[0]['series']) == 1 and plots.learning_curves([]) == []
