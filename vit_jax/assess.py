"""Everything about a run's answers on its test part: evaluation.json and predictions.npz in its folder."""
import contextlib

import numpy as np

from vit_jax import answerer as answerer_lib
from vit_jax import atomic
from vit_jax import calibration
from vit_jax import checkpoint
from vit_jax import corruptions
from vit_jax import digests
from vit_jax import job as job_lib
from vit_jax import metrics
from vit_jax import progress
from vit_jax import run
from vit_jax.errors import BadInput

# So many pictures of the test part, evenly spaced, are looked at under each corruption.
CORRUPTED = 2_000


def assess(workdir, *, cache_dir):
  """Judges the newest weights of a run on its test part, and writes what it finds into the run's folder.

  So it does with the calibration, where there is none of these weights yet.
  -> {'step', 'temperature', 'test': metrics.summary, 'calibrated': metrics.sureness at the temperature that was fitted
  on validation, 'mirrored' and 'both_views': accuracy, 'corruptions': {kind: [accuracy at each strength]}}.
  Raises BadInput where `workdir` holds no run or no whole checkpoint, or its data are not what they were.
  """
  folder = run.RunFolder(workdir)
  folder.check_writable()
  job = job_lib.of_run(folder, cache_dir)
  with contextlib.closing(folder.checkpoints()) as manager:
    step, ema = checkpoint.newest_ema(manager, job.abstract_state)
  if step is None:
    raise BadInput(f'{folder.path} has no checkpoint yet; train it first')
  found = {'step': step, 'total_steps': job.total_steps, 'class_names': list(job.data.class_names)}
  sure = calibration.read(folder.path / calibration.NAME, digests.of_tree(ema))
  sure = sure or answerer_lib.calibrate(job, ema, folder)
  found |= judge(answerer_lib.Answerer(job, ema), job.data, folder, step, sure.divisor)
  folder.write_json('evaluation.json', found)
  return found


def judge(answerer, data, folder, step, temperature):
  """The numbers of `assess`; the step and the test part's labels and logits, f32[N,K], go to predictions.npz."""
  test = data.test
  labels, logits = test.labels, answerer.logits(test)
  mirrored = answerer.logits(test, change=lambda images: images[:, :, ::-1])
  accuracy = lambda scores, labels: float((scores.argmax(-1) == labels).mean())
  worse = {}
  spaced = np.unique(np.linspace(0, len(test) - 1, CORRUPTED).astype(int))
  few = test.take(spaced)
  kinds = [(kind, strength) for kind, strengths in corruptions.STRENGTHS.items() for strength in strengths]
  for kind, strength in progress.track(kinds, total=len(kinds), desc='corruptions', unit='kinds'):
    scores = answerer.logits(few, change=lambda images: corruptions.corrupt(images, kind, strength))  # noqa: B023
    worse.setdefault(kind, []).append(accuracy(scores, few.labels))
  if folder.writes:
    with folder.writing(), atomic.replacing(folder.path / 'predictions.npz') as partial, partial.open('wb') as file:
      np.savez_compressed(file, step=step, labels=labels, logits=logits)
  return {
      'test': metrics.summary(logits, labels), 'temperature': temperature,
      'calibrated': metrics.sureness(logits, labels, temperature), 'mirrored': accuracy(mirrored, labels),
      'both_views': accuracy(metrics.softmax(logits) + metrics.softmax(mirrored), labels),
      'corrupted_count': len(few), 'uncorrupted': accuracy(logits[spaced], few.labels), 'corruptions': worse,
  }


def describe(found):
  """What `assess` found, for a person."""
  test, percent = found['test'], '{:.2%}'.format
  low, high = test['accuracy_interval']
  names = found['class_names']
  by_recall = sorted((row['recall'], name) for row, name in zip(test['per_class'], names, strict=True)
                     if row['recall'] is not None)
  shown = by_recall if len(by_recall) <= 6 else [*by_recall[:3], *by_recall[-3:]]
  mean = lambda values: sum(values) / len(values)
  return progress.table([
      *([] if found['step'] == found['total_steps'] else [
          ('unfinished', f'step {found["step"]} of {found["total_steps"]}; the test part must not choose anything')]),
      ('test', f'accuracy {percent(test["accuracy"])}, between {percent(low)} and {percent(high)} with 95 % '
               f'confidence, loss {test["loss"]:.4f}, {test["count"]:,} pictures'
               + (f', top-5 {percent(test["top5"])}' if 'top5' in test else '')),
      ('mirrored', f'{percent(found["mirrored"])}; averaged over both views {percent(found["both_views"])}'),
      ('by class', ('' if shown == by_recall else 'worst and best: ')
       + ', '.join(f'{name} {recall:.1%}' for recall, name in shown)),
      ('how sure', f'calibration error {test["calibration_error"]:.3f}, Brier {test["brier"]:.3f}; with temperature '
                      f'{found["temperature"]:.2f}, from validation: {found["calibrated"]["calibration_error"]:.3f}, '
                      f'{found["calibrated"]["brier"]:.3f}'),
      ('corrupted', ', '.join(f'{kind} {mean(values):.1%}' for kind, values in found['corruptions'].items())
       + f' (mean of three strengths, {found["corrupted_count"]:,} pictures; clean {found["uncorrupted"]:.1%})'),
  ])
