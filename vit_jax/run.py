"""The run folder: config, labels, preprocessing and weights, saved as one and loaded as one.

    config.json       the recipe as it ran
    model.json        what predicting needs: sizes of the model, class names, preprocessing
    data.json         pictures of each part and class, what was left out, and a digest of it all
    environment.json  one entry a start: command, versions, processor, devices
    metrics.jsonl     one line a logged step
    clock.json        where a start was stopped, and what all of them had taken by then
    tensorboard/      the same numbers as TensorBoard events
    checkpoints/      Orbax: the newest ones and the best on validation
    calibration.safetensors  how sure to be of an answer, and what is unlike the training; written at the end
    result.json       written once, at the end
    lock              held by the process that trains
"""
import contextlib
import json
import os

import filelock

from vit_jax import atomic
from vit_jax import checkpoint
from vit_jax import config as config_lib
from vit_jax import machine
from vit_jax import paths
from vit_jax import processes
from vit_jax.errors import BadInput
from vit_jax.errors import one_line
from vit_jax.errors import reason

# Whose lock it is, the last entry of environment.json says. A file that is left of a killed process locks nothing.
LOCK = 'lock'


class RunFolder:
  """One run on disk: `open_run` checks that it may be used, `create` writes the first files."""

  def __init__(self, path):
    self.path = paths.typed(path)
    self.metrics_path = self.path / 'metrics.jsonl'
    self.result_path = self.path / 'result.json'

  @property
  def writes(self):
    """Whether this process writes here; the others that train with it read only."""
    return processes.first()

  @contextlib.contextmanager
  def locked(self):
    """Holds the folder, which is made if it is new, for this process alone; the system lets go of it when that ends.

    Raises BadInput where it cannot be written, or another process holds it. Leaves no folder behind in which nothing
    was written. Where several processes train together, the first one holds it.
    """
    if not self.writes:
      yield
      return
    self.make()
    lock = filelock.FileLock(self.path / LOCK, blocking=False)
    try:
      lock.acquire()
    except filelock.Timeout:
      last = (self.read_json('environment.json') if (self.path / 'environment.json').exists() else [{}])[-1]
      who = f'process {last["process"]} on {last["host"]}, since {last["time"]}' if 'process' in last else 'another one'
      raise BadInput(f'--workdir={self.path} is being trained in ({who}); wait for it, stop it, or name another folder'
                     ) from None
    except OSError:
      with self.writing():
        raise
    try:
      yield
    finally:
      lock.release()
      if self.path.is_dir() and all(file.name == LOCK for file in self.path.iterdir()):
        (self.path / LOCK).unlink(missing_ok=True)
        self.path.rmdir()

  def make(self):
    """Makes the folder, if it is new; raises BadInput where that is not possible."""
    with self.writing():
      self.path.mkdir(parents=True, exist_ok=True)

  @contextlib.contextmanager
  def writing(self):
    """Turns what the system says against writing into a BadInput."""
    try:
      yield
    except OSError as error:
      raise BadInput(f'--workdir={self.path} cannot be written ({reason(error)}); what was saved before is good: mend '
                     'that and give the same command, or name another folder') from None

  def create(self, config, model_description, data_description):
    """Makes the folder, if it is new, with everything in it that training does not change.

    Raises BadInput where it cannot be written, or the data is no longer what the run began with.
    """
    self.check_data(data_description)
    if not self.writes:
      return
    self.make()
    with self.writing():
      atomic.write(self.path / 'config.json', config_lib.to_json(config))
    self.write_json('model.json', model_description)
    self.write_json('data.json', data_description)
    self.note_environment()

  def read_json(self, name):
    """The contents of one of the folder's JSON files; raises BadInput where it is missing or broken."""
    try:
      return json.loads((self.path / name).read_text(encoding='utf-8'))
    except (FileNotFoundError, NotADirectoryError):
      raise BadInput(f'{self.path} is not a run of vit_jax: {name} is missing') from None
    except OSError as error:
      raise BadInput(f'{self.path / name} cannot be read ({reason(error)})') from None
    except ValueError as error:
      raise BadInput(f'{self.path / name} is damaged: {error}') from None

  def write_json(self, name, value):
    """Writes one of the folder's JSON files atomically; raises BadInput where that is not possible."""
    if self.writes:
      with self.writing():
        atomic.write(self.path / name, json.dumps(value, indent=2) + '\n')

  def check_writable(self):
    """Raises BadInput where what is found of the run could not be kept: before all the work, and not after it."""
    if self.writes and self.path.is_dir() and not os.access(self.path, os.W_OK):
      raise BadInput(f'{self.path} cannot be written, and what is found would be lost; copy the run to a place of your '
                     'own')

  def config(self):
    """The config as it ran; keys that are newer than the run have their defaults."""
    text = json.dumps(self.read_json('config.json'))
    try:
      return config_lib.with_new_keys(config_lib.from_json(text))
    except (TypeError, AttributeError) as error:  # JSON, and no config.
      raise BadInput(f'{self.path}/config.json is damaged ({one_line(error)})') from None

  def check_data(self, description):
    """Raises BadInput where the run has another data set than this one, by its fingerprint and sizes, or teacher."""
    if not (self.path / 'data.json').exists():
      return
    there = self.read_json('data.json')
    if any(there[key] != description[key] for key in ('fingerprint', 'counts', 'class_names')):
      sizes = [', '.join(f'{sum(counts):,} {part}' for part, counts in data['counts'].items())
               for data in (there, description)]
      raise BadInput(f'the pictures have changed since {self.path} began ({sizes[0]} then, {sizes[1]} now); put them '
                     'back, or start anew with another --workdir')
    # An evaluation does without the teacher, and runs of before did not know its digest.
    if len({of['teacher_sha256'] for of in (there, description) if 'teacher_sha256' in of}) > 1:
      raise BadInput(f"the teacher's weights have changed since {self.path} began; put them back, or start anew with "
                     'another --workdir')

  def chosen(self):
    """What the run chose of what its config leaves open, {key: value}; {} where it has none yet."""
    return self.read_json('data.json').get('chosen', {}) if (self.path / 'data.json').exists() else {}

  def note_environment(self):
    """Adds an entry for this start to environment.json."""
    exists = (self.path / 'environment.json').exists()
    starts = self.read_json('environment.json') if exists else []
    self.write_json('environment.json', [*starts, machine.environment()])

  def metrics(self):
    """All logged lines, oldest first; a line cut off by a kill is left out."""
    if not self.metrics_path.exists():
      return []
    lines = []
    for line in self.metrics_path.read_text(encoding='utf-8').splitlines():
      try:
        lines.append(json.loads(line))
      except ValueError:
        break
    return lines

  def rewind_metrics(self, step):
    """Forgets the lines after `step`, which will be run again; returns the last one that is left, {} for none."""
    kept = [line for line in self.metrics() if line['step'] <= step]
    if self.writes:
      with self.writing():
        atomic.write(self.metrics_path, ''.join(json.dumps(line) + '\n' for line in kept))
    return kept[-1] if kept else {}

  def times_at(self, step):
    """What all starts had taken where the last one was stopped, if that was after this step: {name: value} or {}."""
    if not (self.path / 'clock.json').exists():
      return {}
    times = self.read_json('clock.json')
    return times if times.pop('step') == step else {}

  def log(self, line):
    """Appends one line of metrics, a dict with at least 'step'; raises BadInput where that is not possible."""
    if self.writes:
      with self.writing():
        (self.path / 'config.json').stat()  # Of a folder that was deleted, Orbax makes parts anew.
        with self.metrics_path.open('a', encoding='utf-8') as f:
          f.write(json.dumps(line) + '\n')

  def checkpoints(self, keep=None):
    """The Orbax manager of the folder's checkpoints, to read them, or with `keep` to write, see checkpoint.py."""
    return checkpoint.open_manager(self.path / 'checkpoints', keep=keep)


def open_run(path, config):
  """The run folder for a config, new or to be gone on with: -> RunFolder. Nothing is written yet.

  Raises BadInput where the folder cannot be written, holds something else, or belongs to a run with another
  config; each key that differs is named.
  """
  path = paths.typed(path)
  config_path = path / 'config.json'
  try:
    str(path.absolute()).encode()
  except UnicodeEncodeError:
    raise BadInput(f'--workdir={path} has a name that is not UTF-8, which checkpoints cannot have; name another folder'
                   ) from None
  # Not Path.exists, which raises where a folder above may not be looked into.
  if os.path.exists(path) and not path.is_dir():
    raise BadInput(f'--workdir={path} is a file; name a folder')
  existing = next(folder for folder in (path, *path.absolute().parents) if os.path.exists(folder))
  if not os.access(existing, os.W_OK) or not existing.is_dir():
    raise BadInput(f'--workdir={path} cannot be written (no permission to write to {existing}); name another folder')
  if os.path.isdir(path) and any(file.name != LOCK for file in path.iterdir()) and not os.path.exists(config_path):
    raise BadInput(f'--workdir={path} holds files but no run of vit_jax; name a new or empty folder')
  if os.path.exists(config_path):
    # Through JSON both ways, so that only values that really differ are seen to.
    there, now = RunFolder(path).config(), config_lib.from_json(config_lib.to_json(config))
    if lines := config_lib.differences(there, now):
      raise BadInput(f'--workdir={path} belongs to a run with another config ({"; ".join(lines)}); name another '
                     'folder, or give the old values')
  return RunFolder(path)
