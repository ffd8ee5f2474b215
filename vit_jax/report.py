"""Shows what a run became: a page with curves, test numbers, mistakes and maps, and a model card.

  python -m vit_jax.report runs/cifar_catdog-seed0
      writes report.html and MODEL_CARD.md into the run's folder; the page needs no network and no other file

  python -m vit_jax.report runs/a-seed0 --compare runs/b-seed0 runs/c-seed0
      puts runs beside the first one, with a test whether the difference on the same pictures is more than chance

  python -m vit_jax.report runs/cifar_catdog-seed0 --out=/tmp/catdog.html
      writes them elsewhere, the card beside the page

Where the newest weights were not evaluated yet, they are, and evaluation.json is written. What cannot be measured (a
run that has no checkpoint yet, a model without attention, pictures that are gone) the page names with the reason.
The card needs huggingface_hub: pip install 'vit_jax[hub]'. One that you have changed stays; the new one is then
MODEL_CARD.new.md beside it.
"""
import hashlib
import itertools
import sys

from absl import flags

from vit_jax import command
from vit_jax import paths
from vit_jax.errors import BadInput

_OUT = flags.DEFINE_string('out', None, 'The page to write; by default report.html in the run\'s folder.')
_COMPARE = flags.DEFINE_boolean('compare', False, 'Put the runs that follow beside the first.')
flags.declare_key_flag('cache_dir')


def say(line):
  """A line on what is being done, out of the way of the result."""
  print(line, file=sys.stderr, flush=True)


def check(run):
  """A run's folder; raises BadInput where it is none, before anything big is imported."""
  folder = paths.typed(run)
  for name in ('config.json', 'model.json'):
    if not (folder / name).exists():
      raise BadInput(f'{run} is not a run of vit_jax: {name} is missing; name the folder that a training wrote')
  return folder


def signed(card):
  """A card with a last line, unseen where it is shown, by which a change of it by hand can be told."""
  digest = hashlib.sha256(card.encode(errors='backslashreplace')).hexdigest()
  return f'{card}\n<!-- vit_jax.report wrote this; the SHA-256 of all above is {digest} -->\n'


def answered(path):
  """Whether there is a card that somebody has changed since it was written."""
  try:
    text = path.read_text(encoding='utf-8', errors='replace')
  except FileNotFoundError:
    return False
  return signed(text.rpartition('\n<!-- vit_jax.report')[0]) != text


def write_card(found, path):
  """Writes the model card beside the page, and leaves one that its owner has answered; -> what to say of it."""
  from vit_jax import atomic
  from vit_jax.reporting import model_card

  if not found.evaluation:
    return 'not written: ' + found.missing['test']
  try:
    card = model_card.render(found)
  except BadInput as error:
    return f'not written: {error}'
  names = itertools.chain([path.name], (f'{path.stem}.new{number or ""}{path.suffix}' for number in itertools.count()))
  new = next(path.with_name(name) for name in names if not answered(path.with_name(name)))
  atomic.write(new, signed(card))
  if new != path:
    return f'{new}; {path.name} is not as vit_jax.report wrote it, and stays'
  return f'{path}; what is marked Owner in it is yours to answer, and is not overwritten then'


def main(runs):
  """The command: the runs in, exit status out."""
  if not runs:
    raise BadInput('nothing to report on; name a run folder, or see --help')
  if len(runs) > 1 and not _COMPARE.value:
    raise BadInput(f'{len(runs)} runs, of which one is reported on; --compare puts the others beside {runs[0]}')
  if _COMPARE.value and len(runs) == 1:
    raise BadInput(f'nothing to compare {runs[0]} with; name other runs behind --compare')
  first, *_ = [check(run) for run in runs]
  out = command.writable('out', _OUT.value or str(first / 'report.html'))
  command.start_jax()
  from vit_jax import atomic
  from vit_jax import progress
  from vit_jax.reporting import findings
  from vit_jax.reporting import page

  cache_dir = command.cache_dir()
  others = [findings.gather(run, cache_dir=cache_dir, say=say, whole=False) for run in runs[1:]]
  found = findings.gather(runs[0], cache_dir=cache_dir, say=say, against=others)
  atomic.write(out, page.render(found, others))
  print(progress.table([
      ('run', page.sentence(found)),
      *(('missing', reason) for reason in dict.fromkeys(found.missing.values())),
      ('page', f'{out} ({out.stat().st_size / 1e6:.1f} MB)'),
      ('card', write_card(found, out.with_name('MODEL_CARD.md')))]))
  return 0


if __name__ == '__main__':
  command.run(main, arguments=True, interrupted=lambda: 'no page was written')
