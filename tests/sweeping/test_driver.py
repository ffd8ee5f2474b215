"""The loop: what becomes of trials whose runs finish, fail, do badly, are stopped or killed. The runs are played."""
import json
import pathlib

import pytest

pytest.importorskip('optuna', reason='sweeps need optuna')

from vit_jax import interrupt
from vit_jax.sweeping import driver
from vit_jax.sweeping import space
from vit_jax.sweeping import study as study_lib

State = study_lib.State
RATES = (.1, .2, .3, .4)


class Run:
  """A run that writes one validation each time it is looked at, as a training does, and ends after the last."""
  error = None

  def __init__(self, folder, log, rate, curve, ending):
    self.folder, self.log, self.rate, self.ending = folder, log, rate, ending
    self.left, self.written, self.stopped = list(curve), [], False
    folder.mkdir(parents=True, exist_ok=True)

  def poll(self):
    if self.stopped:
      return 0
    if self.left:
      self.written.append(self.left.pop(0))
      lines = [{'step': i, 'epoch': float(i + 1), 'val_accuracy': value} for i, value in enumerate(self.written)]
      (self.folder / 'metrics.jsonl').write_text('{"step": 0, "loss": 1}\n' + ''.join(
          json.dumps(line) + '\n' for line in lines) + '{"step": 9, "val_accu')
      return None
    status, words = self.ending
    self.log.write_text(words)
    if not status:
      (self.folder / 'result.json').write_text(json.dumps({'val_accuracy': self.written[-1], 'val_loss': .5,
                                                           'seconds': 2., 'test_accuracy': .123}))
    return status

  def stop(self):
    self.stopped = True


class Launcher:
  """Plays runs: `curve` and `ending` say how the one with a rate and a seed goes."""
  where = 'played'

  def __init__(self, curve, ending=lambda rate, seed: (0, ''), workers=2):
    self.curve, self.ending, self.workers = curve, ending, workers
    self.runs, self.slots = [], []

  def start(self, arguments, log, slot):
    given = dict(text.removeprefix('--').split('=') for text in arguments)
    rate, seed = float(given['config.optim.lr']), int(given['config.seed'])
    self.runs.append(Run(pathlib.Path(given['workdir']), log, rate, self.curve(rate, seed), self.ending(rate, seed)))
    self.slots.append(slot)
    return self.runs[-1]


class Stop:
  """The wish to stop at the nth look; None for never."""

  def __init__(self, at=None):
    self.left = at

  def wanted(self):
    if self.left is None:
      return None
    self.left -= 1
    return interrupt.Stopped('stopped', 130) if self.left <= 0 else None


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
  monkeypatch.setattr(driver, 'LOOK_EVERY', 0)


@pytest.fixture
def config(config):
  """Four epochs, with a validation each."""
  config = config.copy_and_resolve_references()
  config.epochs, config.eval_epochs = 4.0, 1.0
  return config.lock()


@pytest.fixture
def sweep(open_study, config, tmp_path):
  """A function that sweeps over RATES, as a process that starts does: -> (study, {place: trial})."""
  def sweep(launcher, stop=None, seeds=(), pruner='none', rates=RATES, searched=False):
    study = open_study(pruner=pruner, config=config)
    part = space.Range(.1, .4, False) if searched else space.Values(rates)
    plan = driver.Plan(config, ['--config=x.py'], {'optim.lr': part}, seeds,
                       [{} if searched else {'optim.lr': rate} for rate in rates], tmp_path / 'sweep')
    study_lib.give_up_lost(study, 'me')
    study_lib.plan(study, plan.points)
    driver.drive(study, plan, launcher, 'me', stop or Stop())
    return study, study_lib.trials(study)
  return sweep


def test_each_trial_is_a_run_with_its_values(sweep, tmp_path, config, capsys):
  launcher = Launcher(lambda rate, seed: [rate / 2, rate])
  study, trials = sweep(launcher)
  assert [(trial.state, trial.value) for trial in trials.values()] == [(State.COMPLETE, rate) for rate in RATES]
  assert [run.folder for run in launcher.runs] == [tmp_path / 'sweep' / 'trials' / f'000{i}-seed{config.seed}'
                                                   for i in range(4)]
  assert set(launcher.slots) == {0, 1}
  assert study.best_params == {'optim.lr': .4}
  assert 'trial 3 · optim.lr=0.4 · validation 40.00%' in capsys.readouterr().out
  assert '.123' not in str([trial.user_attrs for trial in trials.values()])  # The test part is nobody's business.


def test_a_failed_trial_is_kept_with_its_error_and_not_tried_again(sweep):
  ending = lambda rate, seed: {.2: (1, 'Traceback …\nValueError: no such rate\n'), .3: (-9, '')}.get(rate, (0, ''))
  launcher = Launcher(lambda rate, seed: [rate], ending)
  _, trials = sweep(launcher)
  assert [trial.state for trial in trials.values()] == [State.COMPLETE, State.FAIL, State.FAIL, State.COMPLETE]
  assert trials[1].user_attrs['error'] == 'ValueError: no such rate'
  assert trials[2].user_attrs['error'] == 'ended by SIGKILL; out of memory?'
  sweep(launcher)
  assert len(launcher.runs) == 4


def test_without_a_validation_part_there_is_nothing_to_compare_by(sweep, monkeypatch):
  monkeypatch.setattr(driver, 'read_result', lambda folder: {'test_accuracy': .9})
  _, trials = sweep(Launcher(lambda rate, seed: [rate]), rates=(.1,))
  assert trials[0].state == State.FAIL and 'there is no validation part' in trials[0].user_attrs['error']


def test_a_trial_worse_than_the_median_is_stopped(sweep):
  # The first five finish in any case; of the rest .06 is below their median .3 from the first validation on.
  rates = (.1, .2, .3, .4, .5, .06, .7)
  launcher = Launcher(lambda rate, seed: [rate] * 3, workers=1)
  _, trials = sweep(launcher, pruner='median', rates=rates)
  assert [trial.state for trial in trials.values()] == [*[State.COMPLETE] * 5, State.PRUNED, State.COMPLETE]
  assert trials[5].intermediate_values == {1: .06}
  assert [run.stopped for run in launcher.runs] == [rate == .06 for rate in rates]


def test_no_other_seed_is_trained_of_a_trial_that_ended_before_it_was_stopped(sweep, monkeypatch):
  monkeypatch.setattr(Run, 'stop', lambda run: None)  # Too late.
  rates = (.1, .2, .3, .4, .5, .06)
  launcher = Launcher(lambda rate, seed: [rate] * 3, workers=1)
  _, trials = sweep(launcher, pruner='median', rates=rates, seeds=(0, 1))
  assert trials[5].state == State.PRUNED and len(launcher.runs) == 11


def test_a_run_that_is_nearly_done_is_not_stopped(sweep):
  # In the last epoch the others rise above it.
  rates = (.1, .2, .3, .4, .5, .6)
  launcher = Launcher(lambda rate, seed: [.05] * 4 if rate == .6 else [.01] * 3 + [rate], workers=1)
  _, trials = sweep(launcher, pruner='median', rates=rates)
  assert {trial.state for trial in trials.values()} == {State.COMPLETE} and trials[5].value == .05


def test_the_value_of_a_trial_with_seeds_is_their_mean(sweep, tmp_path):
  launcher = Launcher(lambda rate, seed: [rate + seed / 100] * seed)
  _, trials = sweep(launcher, seeds=(1, 3), searched=True)
  for place, trial in trials.items():
    assert trial.value == pytest.approx(trial.params['optim.lr'] + .02)
    assert [run['folder'] for run in trial.user_attrs['runs']] == [
        str(tmp_path / 'sweep' / 'trials' / f'000{place}-seed{seed}') for seed in (1, 3)]
    assert set(trial.intermediate_values) == {1}  # The first seed's curve alone.


@pytest.mark.parametrize('searched', [False, True])
def test_after_a_kill_only_what_was_not_finished_is_trained(sweep, searched):
  class Killed(Exception):
    pass

  class Killer(Launcher):
    def start(self, *arguments):
      if len(self.runs) == 2:
        raise Killed
      return super().start(*arguments)

  first = Killer(lambda rate, seed: [rate], workers=1)
  with pytest.raises(Killed):
    sweep(first, searched=searched)
  second = Launcher(lambda rate, seed: [rate], workers=1)
  _, trials = sweep(second, searched=searched)
  assert {trial.state for trial in trials.values()} == {State.COMPLETE}
  finished = {run.folder for run in first.runs}
  assert len(finished) == 2 and not finished & {run.folder for run in second.runs}
  assert len(second.runs) == 2
  # The killed one waits again behind the others, with the values that it had.
  assert [trials[place].value for place in (0, 1, 3, 2)] == [run.rate for run in [*first.runs, *second.runs]]


def test_a_wish_to_stop_lets_runs_save_and_their_trials_go_on_later(sweep):
  first = Launcher(lambda rate, seed: [rate] * 5)
  with pytest.raises(interrupt.Stopped):
    sweep(first, stop=Stop(at=2))
  assert [run.stopped for run in first.runs] == [True, True]
  second = Launcher(lambda rate, seed: [rate])
  _, trials = sweep(second)
  assert {trial.state for trial in trials.values()} == {State.COMPLETE}
  assert sorted(run.rate for run in second.runs) == list(RATES)
  assert {run.folder for run in first.runs} < {run.folder for run in second.runs}  # They go on in the same folders.


def test_a_run_that_somebody_else_stopped_has_not_failed(sweep):
  first = Launcher(lambda rate, seed: [rate] * 5, workers=1)
  poll = Run.poll
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Run, 'poll', lambda run: 0 if run.rate == .2 else poll(run))
    _, trials = sweep(first)
  assert trials[1].state == State.RUNNING
  _, trials = sweep(Launcher(lambda rate, seed: [rate]))
  assert trials[1].state == State.COMPLETE


def test_what_does_not_stop_is_ended(monkeypatch):
  done = []
  attempt = driver.Attempt.__new__(driver.Attempt)
  attempt.stopping = None
  attempt.run = type('Deaf', (), {'stop': lambda self: done.append('stop'), 'kill': lambda self: done.append('kill')})()
  attempt.stop()
  attempt.stop()
  assert done == ['stop']
  monkeypatch.setattr(driver, 'TO_STOP', -1)
  attempt.stop()
  assert done == ['stop', 'kill']
