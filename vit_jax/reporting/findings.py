"""A run folder -> all that a report says of it; what cannot be had is named with the reason."""
import contextlib
import dataclasses
import hashlib
import pathlib
from typing import Any
import zipfile

import numpy as np

from vit_jax import assess
from vit_jax import checkpoint
from vit_jax import job as job_lib
from vit_jax import metrics
from vit_jax import run
from vit_jax.errors import BadInput
from vit_jax.models import described
from vit_jax.models import flops
from vit_jax.models import variants
from vit_jax.models import vit
from vit_jax.reporting import looks

# Pictures of a gallery.
GALLERY = 24
# What a report needs of evaluation.json; one that lacks any of it is made anew.
NEEDED = {'step', 'total_steps', 'class_names', 'test', 'temperature', 'calibrated', 'mirrored', 'both_views'}


@dataclasses.dataclass(frozen=True)
class Answer:
  """A test picture u8[S,S,3] and what the model says of it."""
  index: int  # in the test part
  image: np.ndarray
  label: int
  answer: int
  probability: float  # of the answer
  of_label: float  # of the true class


@dataclasses.dataclass
class Findings:
  """All about a run. `missing` says of the parts that are None why they are."""
  path: pathlib.Path
  config: Any
  model: dict  # model.json
  num_params: int
  flops: int  # a picture
  data: dict | None  # data.json
  result: dict | None  # result.json, which a finished run has
  starts: list  # environment.json
  lines: list  # metrics.jsonl
  total_steps: int | None = None
  evaluation: dict | None = None
  labels: np.ndarray | None = None  # i[N], of the test part
  logits: np.ndarray | None = None  # f32[N,K]
  test_sha256: str | None = None  # of the test part's pixels and labels
  wrong: list | None = None  # the surest wrong answers first
  unsure: list | None = None  # the lowest highest probability first
  looks: Any = None  # looks.Looks
  missing: dict = dataclasses.field(default_factory=dict)

  @property
  def name(self):
    """The folder's own name, whatever path leads to it."""
    return self.path.resolve().name

  @property
  def class_names(self):
    """The names of the classes, in the order of the logits."""
    return self.model['class_names']

  @property
  def step(self):
    """The step of the weights that were judged, or else the last one that was logged."""
    return self.evaluation['step'] if self.evaluation else self.lines[-1]['step'] if self.lines else 0

  @property
  def finished(self):
    """Whether the training came to its end."""
    return self.result is not None

  def times(self):
    """The result, or what is known of time and energy of an unfinished run."""
    return self.result or (self.lines[-1] if self.lines else {})


def gather(path, *, cache_dir, say, whole=True, against=()):
  """Reads a run folder, and judges its newest weights where that is not done: -> Findings.

  `say` is called with a line before what takes long. Without `whole` the pictures are left out: galleries and maps.
  Raises BadInput where `path` holds no run, or where one of the Findings `against` is of other test pictures.
  """
  folder = run.RunFolder(path)
  found = read(folder)
  job = None
  try:
    job = job_lib.of_run(folder, cache_dir)
    found.total_steps = job.total_steps
  except BadInput as error:
    job, found.missing['pictures'] = None, str(error)
  try:
    found.evaluation, found.labels, found.logits = evaluated(folder, cache_dir, say, found.missing.get('pictures'))
    found.total_steps = found.evaluation['total_steps']
  except BadInput as error:
    found.missing['test'] = str(error)
  for other in against:
    check_comparable(found, other)
  if whole and job and found.evaluation:
    add_pictures(found, job.data.test, say)
  elif whole:
    found.missing.setdefault('pictures', found.missing.get('test'))
  return found


def read(folder):
  """What lies in the folder, as Findings; raises BadInput where it is none of a run, or damaged."""
  config, model = folder.config(), folder.read_json('model.json')
  optional = lambda name, other: folder.read_json(name) if (folder.path / name).exists() else other
  built, size = described.build(model), model['preprocessing']['image_size']
  return Findings(
      path=folder.path, config=config, model=model, num_params=vit.num_params(variants.abstract_params(built, size)),
      flops=flops.flops_per_image(built, size), data=optional('data.json', None), result=optional('result.json', None),
      starts=optional('environment.json', []), lines=folder.metrics())


def evaluated(folder, cache_dir, say, reason=None):
  """evaluation.json of the newest checkpoint and its predictions, made where they are not there or of older weights.

  -> (evaluation, labels i[N], logits f32[N,K]); raises BadInput where there is no checkpoint, or where they cannot be
  made for the `reason` that the data cannot be had.
  """
  if not (folder.path / 'checkpoints').is_dir():
    raise BadInput(f'{folder.path} has no checkpoint yet; train it first')
  with contextlib.closing(folder.checkpoints()) as manager:
    newest = max((step for step in manager.all_steps() if checkpoint.has_digests(manager, step)), default=None)
  try:
    found = folder.read_json('evaluation.json')
    if found.get('step') == newest and found.keys() >= NEEDED:
      return found, *predictions(folder, newest)
  except (BadInput, OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
    pass  # Missing or damaged: it is made anew either way.
  if reason:
    raise BadInput(reason)
  say(f'evaluating {folder.path} on its test part, which happens once for these weights …')
  return assess.assess(folder.path, cache_dir=cache_dir), *predictions(folder)


def predictions(folder, step=None):
  """The labels i[N] and logits f32[N,K] of predictions.npz.

  Raises whatever numpy does where they are not there, or ValueError where they are of another step than this one.
  """
  with open(folder.path / 'predictions.npz', 'rb') as file, np.load(file) as arrays:
    if step is not None and arrays['step'] != step:  # Two evaluations at once, of a run that was training.
      raise ValueError(f'the predictions are of step {arrays["step"]}, not {step}')
    return arrays['labels'], arrays['logits']


def add_pictures(found, test, say):
  """Galleries, maps and figures, into Findings, from the test part, a source.Source."""
  found.test_sha256 = digest(test)
  probabilities = metrics.softmax(found.logits)
  answers, highest = probabilities.argmax(axis=1), probabilities.max(axis=1)
  wrong = np.flatnonzero(answers != found.labels)
  def gallery(indices):
    images = test.read(np.asarray(indices, np.int64))['image']
    return [Answer(int(i), image, int(found.labels[i]), int(answers[i]), float(highest[i]),
                   float(probabilities[i, found.labels[i]])) for i, image in zip(indices, images, strict=True)]
  found.wrong = gallery(wrong[np.argsort(-highest[wrong], kind='stable')][:GALLERY])
  found.unsure = gallery(np.argsort(highest, kind='stable')[:GALLERY])
  say('asking the model where it looks …')
  found.looks = looks.look(found.path, test, answers, found.labels, found.flops)


def digest(source):
  """The SHA-256 of a part's pixels and labels, in their order, as hex."""
  sha = hashlib.sha256(np.asarray(source.labels, np.int64).tobytes())
  for start in range(0, len(source), 1000):
    sha.update(source.read(np.arange(start, min(start + 1000, len(source))))['image'].tobytes())
  return sha.hexdigest()


def check_comparable(first, second):
  """Raises BadInput where two Findings do not answer for the same test pictures, in the same order.

  Pictures of another size may be the same; so data set, classes and labels are held against each other, and of folders
  the fingerprint.
  """
  for found in (first, second):
    if found.evaluation is None:
      raise BadInput(f'{found.path} cannot be compared: {found.missing["test"]}')
  datas = [found.data or {} for found in (first, second)]
  # Runs of before kept no other digest than that of all parts.
  key = 'test_fingerprint' if all('test_fingerprint' in data for data in datas) else 'fingerprint'
  here, there = (data.get(key) for data in datas)
  reason = None
  if first.config.data.name != second.config.data.name:
    reason = f'one is of {first.config.data.name}, the other of {second.config.data.name}'
  elif first.class_names != second.class_names:
    reason = f'their classes differ ({", ".join(first.class_names[:5])}; {", ".join(second.class_names[:5])})'
  elif len(first.labels) != len(second.labels):
    reason = f'one has {len(first.labels):,} pictures, the other {len(second.labels):,}'
  elif not np.array_equal(first.labels, second.labels):
    reason = 'their labels differ'
  elif here and there and here != there:
    reason = 'the files in their folders differ'
  if reason:
    raise BadInput(f'{first.path} and {second.path} were not tested on the same pictures: {reason}; compare runs '
                   'with the same data.name, data.path and data.classes')
