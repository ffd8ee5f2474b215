"""The loop of a sweep: takes trials, trains their runs, watches their curves, and tells how they went."""
import dataclasses
import json
import pathlib
import signal
import time

import tqdm

from vit_jax import progress
from vit_jax.sweeping import space as space_lib
from vit_jax.sweeping import study as study_lib
from vit_jax.sweeping.study import State

# Seconds between two looks at what runs, and those in which a run has to stop before it is ended.
LOOK_EVERY, TO_STOP = 0.5, 60.0
# From this part of its epochs on a run is not stopped any more: little would be saved.
NEARLY_DONE = 0.9


@dataclasses.dataclass
class Plan:
  """What a sweep is: a config, what is tried in it, and where."""
  config: object  # with what was given on the command line
  flags: list  # of vit_jax.main, that make this config of a recipe
  space: dict  # {key: space.Values or space.Range}, without the seed where a trial is trained with each
  seeds: tuple  # of which each trial has a run; () where the seed is in `space`, or the config's
  points: list  # what Optuna keeps of the values of each place, {} where it chooses them
  folder: pathlib.Path

  def run_folder(self, place, seed):
    """Where a run is."""
    return self.folder / 'trials' / f'{place:04d}-seed{seed}'


def words(values):
  """{key: value} for a person: 'optim.lr=0.001 seed=0'."""
  return ' '.join(f'{key}={value:.4g}' if isinstance(value, float) else f'{key}={value}'
                  for key, value in values.items())


def describe(study, plan, launcher, pruned_by):
  """One screen on what will be trained."""
  trials = study_lib.trials(study)
  done = sum(trial.state.is_finished() for trial in trials.values())
  seeds = f', each with the seeds {", ".join(map(str, plan.seeds))}' if plan.seeds else ''
  return progress.table([
      ('sweep', '; '.join(f'{key}: {part.describe()}' for key, part in plan.space.items())),
      ('trials', f'{len(trials)}{seeds}' + (f'; {done} are done' if done else '')
       + ('' if pruned_by == 'none' else f'; some stopped early, by {pruned_by}')),
      ('workers', f'{launcher.workers}, {launcher.where}'),
      ('folder', str(plan.folder)),
  ])


def read_curve(folder):
  """The validations of a run so far, [{'epoch', 'val_accuracy', …}]; a line that is being written is left out."""
  try:
    text = (folder / 'metrics.jsonl').read_text(encoding='utf-8')
  except OSError:
    return []
  lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith('}\n')]
  return [line for line in lines if 'val_accuracy' in line]


def read_result(folder):
  """What result.json says, or None where there is none."""
  try:
    return json.loads((folder / 'result.json').read_text(encoding='utf-8'))
  except (OSError, ValueError):
    return None


def last_words(log):
  """The last line that a run said, in which it names its error."""
  try:
    lines = log.read_text(encoding='utf-8', errors='replace').split('\n')
  except OSError:
    return ''
  return next((line.strip()[:300] for line in reversed(lines) if line.strip()), '')


class Attempt:
  """A trial that is trained here: a run for each of its seeds, one after the other."""

  def __init__(self, study, trial, plan, launcher, slot):
    self.study, self.trial, self.plan, self.launcher, self.slot = study, trial, plan, launcher, slot
    self.place = trial.user_attrs['place']
    self.values = {key: part.suggest(trial, key) for key, part in plan.space.items()}
    self.seeds = list(plan.seeds or [self.values.get(space_lib.SEED, plan.config.seed)])
    self.runs = []
    self.reported = 0
    self.pruned = False
    self.signed = time.monotonic()
    self.outcome = None
    self.start()

  def start(self):
    """Starts the run of the next seed."""
    seed = self.seeds[len(self.runs)]
    self.folder = self.plan.run_folder(self.place, seed)
    self.folder.parent.mkdir(parents=True, exist_ok=True)
    self.log = self.folder.with_suffix('.log')
    self.stopping = None
    values = {**self.values, space_lib.SEED: seed}
    flags = [f'--config.{key}={value}' for key, value in values.items()]
    self.run = self.launcher.start([*self.plan.flags, *flags, f'--workdir={self.folder}'], self.log, self.slot)

  def stop(self):
    """Asks the run to save and end, and ends it after a while; to be called again until it has ended."""
    if self.stopping is None:
      self.stopping = time.monotonic()
      self.run.stop()
    elif time.monotonic() - self.stopping > TO_STOP:
      self.run.kill()

  def look(self):
    """Sees how the run is getting on, and what follows; -> whether the trial is over, and told."""
    status = self.run.poll()
    try:
      self.watch()
    except study_lib.Taken:
      self.pruned = True
    if status is None:
      if self.pruned:
        self.stop()
      return False
    result = read_result(self.folder) if status == 0 else None
    if result is None or 'val_accuracy' not in result:
      self.end_early(status, result)
      return True
    self.runs.append({'seed': self.seeds[len(self.runs)], 'folder': str(self.folder),
                      **{key: result.get(key) for key in ('val_accuracy', 'val_loss', 'seconds')}})
    if len(self.runs) < len(self.seeds):
      if self.pruned:  # It ended before it could be stopped.
        self.end_early(status, result)
        return True
      self.start()
      return False
    self.value = sum(run['val_accuracy'] for run in self.runs) / len(self.runs)
    self.end(State.COMPLETE, f'validation {self.value:.2%}', value=self.value)
    return True

  def watch(self):
    """Reports validations that are new, and decides whether to go on; the first seed's curve speaks for all."""
    if time.monotonic() - self.signed > study_lib.SIGN_EVERY:
      self.signed = time.monotonic()
      study_lib.show_life(self.trial)
    for line in [] if self.runs else read_curve(self.folder)[self.reported:]:
      self.reported += 1
      self.trial.report(line['val_accuracy'], self.reported)
      late = line['epoch'] > NEARLY_DONE * (self.plan.config.epochs or float('inf'))
      self.pruned = self.pruned or (not late and self.trial.should_prune())

  def end_early(self, status, result):
    """Tells how a trial ended that has no value."""
    if self.pruned:
      self.end(State.PRUNED, 'stopped early')
    elif result is not None:
      self.end(State.FAIL, error='there is no validation part to compare by; see data.val_fraction')
    elif status == 0:
      # Somebody stopped the run, and not the sweep: its trial stays open, for the next start to go on with.
      self.outcome = 'stopped by somebody; the same line goes on with it'
    elif status < 0:
      hint = '; out of memory?' if status == -signal.SIGKILL else ''
      self.end(State.FAIL, error=f'ended by {signal.Signals(-status).name}{hint}')
    else:
      self.end(State.FAIL, error=self.run.error or last_words(self.log) or f'ended with status {status}')

  def end(self, state, outcome=None, value=None, error=None):
    """Tells Optuna, and keeps in a word what to say of it."""
    self.outcome = outcome or f'failed: {error}'
    study_lib.finish(self.study, self.trial, state, self.runs, value, error)


def drive(study, plan, launcher, owner, stop):
  """Trains trials until none waits any more: -> None. Raises interrupt.Stopped after a signal, every run having saved.

  `owner` is who trains here, and `stop` an interrupt.Stop.
  """
  running, slots = [], list(range(launcher.workers))
  left = sum(not trial.state.is_finished() for trial in study_lib.trials(study).values())
  looked = time.monotonic()
  with progress.bar(total=left, desc='trials', unit='trials') as bar:
    while True:
      while slots and (trial := study_lib.take(study, owner)):
        running.append(Attempt(study, trial, plan, launcher, slots.pop(0)))
      if not running:
        return
      if stopped := stop.wanted():
        end_all(running)
        raise stopped
      for attempt in [attempt for attempt in running if attempt.look()]:
        running.remove(attempt)
        slots.append(attempt.slot)
        say(attempt)
        bar.update()
      if time.monotonic() - looked > study_lib.SIGN_EVERY:
        looked = time.monotonic()
        if study_lib.give_up_lost(study):
          study_lib.plan(study, plan.points)
      time.sleep(LOOK_EVERY)


def say(attempt):
  """A line on a trial that is over, without cutting into the bar."""
  with tqdm.tqdm.external_write_mode():
    print(f'trial {attempt.place} · {words(attempt.values)} · {attempt.outcome}', flush=True)


def end_all(running):
  """Stops all runs, which save first; their trials stay open, for the next start to go on with."""
  while left := [attempt for attempt in running if attempt.run.poll() is None]:
    for attempt in left:
      attempt.stop()
    time.sleep(LOOK_EVERY)
