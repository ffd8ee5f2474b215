"""The page of a sweep: where lines land, what mattered, that it stands alone and escapes what it is given."""
import html.parser
import re

import pytest

pytest.importorskip('optuna', reason='sweeps need optuna')

import optuna

from vit_jax.sweeping import page
from vit_jax.sweeping import plots
from vit_jax.sweeping import study as study_lib

EVIL = '<script>alert(1)</script>'
MIDDLE = (plots.TOP + plots.BOTTOM) / 2


def finished(number, params, value, state='COMPLETE'):
  """A trial as a study hands it out."""
  names = optuna.distributions.CategoricalDistribution(['a', 'b', f'{EVIL}0', f'{EVIL}1'])
  choices = {key: names if isinstance(one, str) else optuna.distributions.FloatDistribution(0, 10)
             for key, one in params.items()}
  runs = [{'seed': 0, 'val_accuracy': value, 'val_loss': .5, 'seconds': 60., 'folder': f'f/{number}'}]
  return optuna.trial.create_trial(
      state=study_lib.State[state], params=params, distributions=choices, user_attrs={
          'place': number, **({'error': EVIL} if state == 'FAIL' else {'runs': runs})},
      **({'value': value} if state == 'COMPLETE' else {'intermediate_values': {1: value / 2, 2: value}}))


@pytest.mark.parametrize(('values', 'expected'), [
    ([0, 10, 5], {0: plots.BOTTOM, 10: plots.TOP, 5: MIDDLE}),
    ([1e-4, 1e-2, 1e-3], {1e-4: plots.BOTTOM, 1e-2: plots.TOP, 1e-3: MIDDLE}),  # By the logarithm.
    (['b', 'a', 'c'], {'a': plots.BOTTOM, 'b': MIDDLE, 'c': plots.TOP}),
    ([False, True], {False: plots.BOTTOM, True: plots.TOP}),
    ([7, 7], {7: MIDDLE}), (['x'], {'x': plots.BOTTOM})])
def test_values_stand_where_they_belong(values, expected):
  height, ticks = plots.scale(values)
  assert {value: height(value) for value in values} == {value: pytest.approx(y, abs=.06) for value, y in
                                                        expected.items()}
  assert {text for _, text in ticks} == {plots.results.number(value) for value in values}


def test_many_numbers_have_round_ticks():
  assert [text for _, text in plots.scale([i / 7 for i in range(71)])[1]] == ['0', '2', '4', '6', '8', '10']
  assert [text for _, text in plots.scale([10**(-i / 7) for i in range(21)])[1]] == ['0.01', '0.1', '1']


def test_a_line_goes_through_its_values():
  trials = {0: finished(0, {'lr': 1, 'name': 'a'}, .5), 1: finished(1, {'lr': 3, 'name': 'b'}, .9),
            2: finished(2, {'lr': 2, 'name': 'a'}, .6, 'PRUNED'), 3: finished(3, {'lr': 2, 'name': 'a'}, 0., 'FAIL')}
  drawn = plots.coordinates(trials, ['lr', 'name'])
  paths = [[tuple(map(float, point.split(','))) for point in line['path'].split()] for line in drawn['lines']]
  x = [plots.LEFT + i * plots.AXIS_EVERY for i in range(3)]
  at = lambda share: plots.BOTTOM - share * (plots.BOTTOM - plots.TOP)
  assert paths == [[(x[0], at(0)), (x[1], at(0)), (x[2], at(0))],
                   [(x[0], at(.5)), (x[1], at(0)), (x[2], pytest.approx(at(.25), abs=.06))],
                   [(x[0], at(1)), (x[1], at(1)), (x[2], at(1))]]  # The best last, above the others.
  assert [line['pruned'] for line in drawn['lines']] == [False, True, False]
  assert [axis['name'] for axis in drawn['axes']] == ['lr', 'name', 'validation accuracy']
  assert plots.coordinates({0: trials[0]}, ['lr', 'name']) is None


def make_study(value, count=40):
  """A study whose trials have two keys; `value` says how they did."""
  study = optuna.create_study(direction='maximize', sampler=optuna.samplers.RandomSampler(seed=0))
  optuna.logging.set_verbosity(optuna.logging.ERROR)
  for _ in range(count):
    trial = study.ask()
    study.tell(trial, value(trial.suggest_float('a', 0, 1), trial.suggest_float('b', 0, 1)))
  return study


def test_the_key_that_matters_comes_first():
  (first, share), (_, rest) = plots.importance(make_study(lambda a, b: b + a / 100), ['a', 'b'])
  assert first == 'b' and share > .9 and share + rest == pytest.approx(1)
  assert plots.importance(make_study(lambda a, b: a, 3), ['a', 'b']) is None
  assert plots.importance(make_study(lambda a, b: .5), ['a', 'b']) is None


class Tags(html.parser.HTMLParser):
  """Tags that are open, those with an address, and the text outside of styles."""

  def __init__(self, text):
    super().__init__()
    self.open, self.text, self.addresses = [], '', []
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.addresses += [value for name, value in attrs if name in ('src', 'href')]
    if tag not in ('meta', 'rect', 'line'):
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    pass

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if 'style' not in self.open:
      self.text += data


def test_the_page_stands_alone_and_escapes():
  trials = {i: finished(i, {'optim.lr': .1 * (i + 1), 'data.name': f'{EVIL}{i % 2}'}, .5 + i / 10) for i in range(5)}
  trials |= {5: finished(5, {'optim.lr': .7, 'data.name': f'{EVIL}0'}, .6, 'PRUNED'),
             6: finished(6, {'optim.lr': .8, 'data.name': f'{EVIL}0'}, 0., 'FAIL')}
  study = optuna.create_study(direction='maximize')
  study.add_trials(list(trials.values()))
  text = page.render(study, trials, ['optim.lr', 'data.name'], name=EVIL, command=f'python {EVIL}')
  assert EVIL not in text and '<script' not in text
  shown = Tags(text)
  assert not shown.open and not shown.addresses and not re.search(r'url\(|@import|https?://', text)
  words = ' '.join(shown.text.split())
  assert '7 trials: 5 finished, 1 stopped early, 1 failed. Best on validation: ' in words and 'with 90.00 %' in words
  assert 'The test part chose nothing' in words and 'What mattered' in words and 'Failed' in words
  assert text.count('<polyline') == text.partition('The lines in words')[2].partition('</ol>')[0].count('<li>') == 6


def test_a_page_without_results_says_so():
  trials = {0: finished(0, {'optim.lr': .1}, 0., 'FAIL')}
  study = optuna.create_study(direction='maximize')
  words = ' '.join(Tags(page.render(study, trials, ['optim.lr'], name='s', command='c')).text.split())
  assert '1 trial: 0 finished, 1 failed.' in words
  assert 'No trial has finished.' in words and 'fewer than two trials' in words and 'Not measured.' in words
