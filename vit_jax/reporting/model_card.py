"""Findings -> MODEL_CARD.md in Hugging Face's form: what the model is for, and what it is measured not to be for."""
import pathlib
import re
import shlex

from vit_jax import energy
from vit_jax import metrics
from vit_jax import progress
from vit_jax.errors import BadInput
from vit_jax.reporting import page

# From these on, the card warns: a calibration error, and a loss of accuracy on worse pictures or mirrored ones.
UNSURE, FRAGILE = 0.03, 0.05
# What Markdown could take for its own: anywhere, and where a line begins.
_ACTIVE = re.compile(r'[\\`*_{}\[\]#|~!]|^[-+](?=\s)|(?<=^\d)[.)](?=\s)')


class Verbatim(str):
  """Text that is not escaped, because it stands in a block of code."""


def escape(text):
  """Any text -> Markdown that shows it as it is, on one line; of Verbatim one line, with ? for backquotes."""
  line = ' '.join(str(text).split())
  if isinstance(text, Verbatim):
    return line.replace('`', '?')  # A quote in its place could end one in a command.
  line = _ACTIVE.sub(r'\\\g<0>', line)
  return line.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')


def render(found):
  """Findings with an evaluation -> the text of a card; raises BadInput where huggingface_hub is missing."""
  try:
    from huggingface_hub import ModelCard
  except ImportError:
    raise BadInput("a model card needs huggingface_hub, which is not installed: pip install 'vit_jax[hub]'") from None
  import jinja2

  # Every value is escaped on its way out, so that no name of a class can become markup.
  environment = jinja2.Environment(loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent), trim_blocks=True,
                                   lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=escape,
                                   keep_trailing_newline=True)
  environment.filters |= {'percent': page.percent, 'number': progress.number, 'duration': progress.duration,
                          'p': page.p_value, 'quoted': shlex.quote, 'verbatim': Verbatim, 'figures': energy.figures}
  test = found.evaluation['test']
  rows = page.class_rows(test, found.class_names)
  body = environment.get_template('model_card.md').render(
      found=found, names=found.class_names, test=test, rows=rows, gap=page.gap(test), sentence=page.sentence(found),
      warnings=warnings(found, rows), pairs=page.confused(test['confusion'], 5), times=found.times(),
      notes=(found.data or {}).get('notes', []))
  return str(ModelCard(f'---\n{metadata(found).to_yaml()}\n---\n\n{body}'))


def metadata(found):
  """What the Hub reads of a card, a ModelCardData; the license is left to whom the model belongs to."""
  from huggingface_hub import EvalResult
  from huggingface_hub import ModelCardData

  test, data, times = found.evaluation['test'], found.config.data, found.times()
  own = data.name == 'folder'
  scores = {'accuracy': test['accuracy'], 'top_5_accuracy': test.get('top5'), 'brier_score': test['brier']}
  results = [EvalResult(task_type='image-classification', dataset_type='imagefolder' if own else data.name,
                        dataset_name='own pictures' if own else data.name, dataset_split='test', metric_type=name,
                        metric_value=round(value, 4)) for name, value in scores.items() if value is not None]
  more = {}
  if 'co2_grams' in times:
    more['co2_eq_emissions'] = {
        'emissions': round(times['co2_grams'], 3), 'source': times['energy_method'],
        'training_type': 'fine-tuning' if found.config.init else 'pre-training',
        'geographical_location': times['country'],
        'hardware_used': found.starts[-1]['processor'] if found.starts else 'unknown'}
  init = found.config.init
  return ModelCardData(
      model_name=found.name, library_name='vit_jax', pipeline_tag='image-classification',
      tags=['image-classification', 'vision-transformer', 'jax', 'flax'], datasets=None if own else [data.name],
      base_model=init.removeprefix('hf://').partition('@')[0] if init.startswith('hf://') else None,
      metrics=[name for name, value in scores.items() if value is not None], eval_results=results, **more)


def warnings(found, rows):
  """What the numbers say the model must not be used for: [line, …], none of it escaped."""
  evaluation = found.evaluation
  test, percent = evaluation['test'], page.percent
  known = [row for row in rows if row['recall'] is not None and row['recall'] < 1]
  lines = [f'Pictures of anything but its {len(rows)} classes: it names one of them whatever it is shown, and where '
           'predict can mark a picture as unlike the training, it does not notice every one.']
  if known:
    worst = known[0]
    lines.append(f'Uses that rest on {worst["name"]}: it misses {percent(1 - worst["recall"])} of these pictures.')
  if test['calibration_error'] > UNSURE:
    bins = test['calibration_bins']
    over = sum(row['count'] * (row['confidence'] - row['accuracy']) for row in bins)
    lines.append(f'Uses that take its probabilities at their word: it is too {"sure" if over > 0 else "unsure"}, off '
                 f'by {percent(test["calibration_error"])} on average.' + temperature(evaluation))
  clean = evaluation.get('uncorrupted', test['accuracy'])
  worse = [f'{kind} ({percent(min(values))})' for kind, values in evaluation.get('corruptions', {}).items()
           if clean - min(values) > FRAGILE]
  if worse:
    lines.append(f'Pictures worse than those it learned from: its accuracy falls from {percent(clean)}, at the '
                 f'strongest of three strengths, under {", ".join(worse)}.')
  if not evaluation.get('corruptions'):
    lines.append('Pictures worse than those it learned from: what noise and blur do to it was not measured.')
  if abs(evaluation['mirrored'] - test['accuracy']) > FRAGILE:
    lines.append(f'Pictures that may be mirrored: there its accuracy is {percent(evaluation["mirrored"])}.')
  low, high = metrics.interval(round(test['accuracy'] * test['count']), test['count'])
  if high - low > 0.1:
    lines.append(f'Decisions that hang on its accuracy: {test["count"]:,} test pictures leave it open between '
                 f'{percent(low)} and {percent(high)}.')
  if not found.finished:
    lines.append(f'Anything yet: its training stands at step {evaluation["step"]:,} of {evaluation["total_steps"]:,}.')
  return lines


def temperature(evaluation):
  """What helps against wrong probabilities, where that was measured."""
  after = evaluation['calibrated']['calibration_error']
  if evaluation['temperature'] == 1 or after >= evaluation['test']['calibration_error']:
    return ''
  return f' Logits divided by {evaluation["temperature"]:.2f} bring that down to {page.percent(after)}.'
