"""What came of a sweep in numbers: means and spreads over seeds, a table, results.csv."""
import csv
import statistics
import types

import pytest

pytest.importorskip('optuna', reason='sweeps need optuna')

from vit_jax.sweeping import results
from vit_jax.sweeping import study as study_lib

ACCURACIES = {.1: (.5, .7, .6), .2: (.8, .9, .85), .3: (.4,)}


@pytest.fixture(scope='module')
def trials(tmp_path_factory):
  """A grid of rates and seeds that is done, with a trial that failed, one that was stopped, and one that runs."""
  from configs import digits
  url = f'sqlite:///{tmp_path_factory.mktemp("study") / "sweep.db"}'
  study = study_lib.open_study(url, 's', {}, digits.get_config(), 'none')
  points = [{'optim.lr': rate, 'seed': seed} for rate, values in ACCURACIES.items() for seed in range(len(values))]
  study_lib.plan(study, [*points, *[{'optim.lr': .4, 'seed': seed} for seed in range(3)]])
  while trial := study_lib.take(study, 'me'):
    rate, seed = trial.suggest_categorical('optim.lr', [.1, .2, .3, .4]), trial.suggest_categorical('seed', [0, 1, 2])
    if rate == .4:
      if seed == 0:
        study_lib.finish(study, trial, study_lib.State.FAIL, [], error='ValueError: "no", they said')
      elif seed == 1:
        trial.report(.3, 1)
        trial.report(.2, 2)
        study_lib.finish(study, trial, study_lib.State.PRUNED, [])
      continue
    value = ACCURACIES[rate][seed]
    runs = [{'seed': seed, 'val_accuracy': value, 'val_loss': .5, 'seconds': 60. + seed, 'folder': f'{rate}-{seed}'}]
    study_lib.finish(study, trial, study_lib.State.COMPLETE, runs, value)
  return study_lib.trials(study)


def test_seeds_of_the_same_values_belong_together(trials):
  found = results.groups(trials)
  assert [group.values for group in found] == [{'optim.lr': rate} for rate in (.2, .1, .3)]  # The best first.
  for group in found:
    values = ACCURACIES[group.values['optim.lr']]
    assert group.mean == pytest.approx(statistics.mean(values))
    assert group.spread == (pytest.approx(statistics.stdev(values)) if len(values) > 1 else None)
  assert found[0].folder == '0.2-1' and found[0].seconds == 61


def test_the_table_says_mean_and_spread(trials):
  lines = results.table(results.groups(trials)).split('\n')
  assert lines[0].split() == ['optim.lr', 'seeds', 'validation,', '%', 'time', 'a', 'run']
  assert lines[1].split() == ['0.2', '3', '85.00', '±', '5.00', '1', 'min', '01', 's']
  assert lines[3].split() == ['0.3', '1', '40.00', '1', 'min', '00', 's']
  assert results.table([]) == 'no trial has finished'


def test_what_is_not_done_was_stopped_here_or_runs_elsewhere(trials):
  assert results.unfinished(trials, 'me') == (1, 0)
  assert results.unfinished(trials, 'somebody else') == (0, 1)


def test_the_csv_has_a_row_for_each_run(trials):
  rows = list(csv.DictReader(results.to_csv(trials, ['optim.lr', 'seed']).splitlines()))
  assert list(rows[0]) == ['trial', 'state', 'optim.lr', 'seed', 'val_accuracy', 'val_loss', 'seconds', 'folder',
                           'error']
  assert [row['state'] for row in rows] == [*['complete'] * 7, 'fail', 'pruned', 'running']
  expected = [(rate, seed, value) for rate, values in ACCURACIES.items() for seed, value in enumerate(values)]
  assert [(float(r['optim.lr']), int(r['seed']), float(r['val_accuracy'])) for r in rows[:7]] == expected
  assert rows[7]['error'] == 'ValueError: "no", they said' and rows[7]['val_accuracy'] == ''
  assert rows[8]['val_accuracy'] == '0.2'  # The last one before it was stopped.


def test_what_failed_is_named(trials):
  assert results.failed(trials) == [(7, {'optim.lr': .4, 'seed': 0}, 'ValueError: "no", they said')]


def test_a_run_that_was_repeated_counts_once():
  """As a search may try the same values again: with each of its seeds for itself, or all in one trial."""
  runs = [{'seed': seed, 'val_accuracy': .5 + .1 * seed, 'seconds': 60., 'folder': str(seed)} for seed in range(3)]
  trial = lambda *seeds: types.SimpleNamespace(state=study_lib.State.COMPLETE, params={'optim.lr': .1},
                                               user_attrs={'runs': [runs[seed] for seed in seeds]})
  [group] = results.groups({0: trial(0, 1, 2), 1: trial(0, 1, 2), 2: trial(1)})
  assert len(group.scores) == 3 and group.mean == pytest.approx(.6) and group.spread == pytest.approx(.1)
  [group] = results.groups({0: trial(1), 1: trial(1)})
  assert results.percent(group) == '60.00' and group.folder == '1'
