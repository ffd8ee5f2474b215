"""Says what is on pictures.

  python -m vit_jax.predict runs/cifar_catdog-seed0 cat.jpg holiday/ 'more/*.png'
      the classes of a trained run, most probable first, for files, folders and patterns

  python -m vit_jax.predict weights.safetensors - < cat.jpg
      weights that vit_jax.export wrote, and a picture from the standard input

  python -m vit_jax.predict --pretrained=tiny_imagenet cat.jpg
      weights that come with vit_jax; every argument is a picture then

  python -m vit_jax.predict runs/cifar_catdog-seed0 holiday/ --explain
      and why: explained/NAME.png shows where the picture was looked at, and the training pictures most like it

Any format that Pillow opens; of each picture the middle square is looked at. What cannot be read is listed, the rest
is answered, and the exit status is then 1.

A model knows its classes and nothing else: it names one of them for any picture. "none of these?" stands before an
answer ("known": false in JSON) where the picture is less like the training pictures than 95 of 100 new pictures of the
classes are. So one in twenty pictures that are of the classes is doubted, too, and most of those that are of none are
not: of a cats-and-dogs model nearly all noise and blank pictures are seen, one in four photos of other things, and
hardly a written digit (experiments/out_of_distribution/). With fewer than 50 validation pictures nothing is doubted.
"""
import concurrent.futures
import csv
import dataclasses
import glob
import json
import os
import pathlib
import shlex
import sys
from typing import Any

from absl import flags

from vit_jax import command
from vit_jax import paths
from vit_jax.data import scan
from vit_jax.errors import BadInput

_TOP = flags.DEFINE_integer('top', 3, 'How many classes are shown of each picture.', lower_bound=1)
_JSON = flags.DEFINE_boolean('json', False, 'One JSON object a line, in the order of the pictures: {"file", "top": '
                             '[{"class", "probability"}, …], "known"}.')
_CSV = flags.DEFINE_boolean('csv', False, 'Comma-separated: file, known, class 1, probability 1, class 2, …')
_PRETRAINED = flags.DEFINE_string('pretrained', '', 'Weights, where they are not the first argument.')
_EXPLAIN = flags.DEFINE_boolean('explain', False, 'Write a PNG for each picture: a map of what the answer rests on, '
                                'and the nearest training pictures, where their run and its data are there.')
_EXPLAIN_DIR = flags.DEFINE_string('explain_dir', 'explained', 'The folder for these; what else is in it stays.')
_MAP = flags.DEFINE_enum('map', 'occlusion', ['occlusion', 'relevance', 'rollout'],
                         'How the map is made: by covering one patch after the other (slow for large models, and the '
                         'one to believe), or read off the attention of a ViT.')
flags.declare_key_flag('cache_dir')


def find(names):
  """The files that files, folders and patterns name: -> [(name, whether it was named itself)], '-' for stdin.

  Folders are walked, without what is hidden. Raises BadInput for what is not there.
  """
  found = []
  for name in names:
    path = paths.typed(name)
    pattern = glob.has_magic(name) and not os.path.exists(path)  # Path.exists raises where it may not look.
    matches = sorted(glob.glob(str(path), recursive=True)) if pattern else [path]
    if name == '-':
      found.append(('-', True))
    elif not matches or not (pattern or os.path.exists(path)):
      raise BadInput(f'{name} does not exist; name pictures, folders of them, or - for the standard input')
    else:
      once = {}  # Through a link to a folder above it, ** finds a file again and again.
      for match in map(pathlib.Path, matches):
        once.setdefault((os.path.realpath(match.parent), match.name), match)
      for match in once.values():
        found += [(str(inner), False) for inner in walk(match)] if match.is_dir() else [(str(match), True)]
  return found


def walk(folder):
  """The files in a folder and its folders, in order, without hidden ones; a folder that cannot be read, itself."""
  skipped = []
  found = scan.walk(folder, '', skipped)
  closed = [name for name, why in skipped if why != scan.HIDDEN and not os.access(folder / name, os.R_OK)]
  return [folder / name for name in [*found, *closed]]


def read(name, image_size):
  """One picture: -> (pixels u8[S,S,3], None), or (None, the reason why it cannot be read)."""
  from vit_jax.data import picture

  try:
    if name == '-':
      return picture.read(sys.stdin.buffer.read(), image_size)[0], None
    with open(name, 'rb') as file:
      return picture.read(file, image_size)[0], None
  except OSError as error:
    return None, picture.reason(error)
  except picture.Unreadable as error:
    return None, str(error)


@dataclasses.dataclass(frozen=True)
class Answer:
  """What became of one file: an answer, or the reason why it cannot be read, or neither where it is no picture."""
  name: str
  why: str | None = None
  image: Any = None  # u8[S,S,3]
  probabilities: Any = None  # f32[K]
  known: bool = True
  features: Any = None  # f32[D]


def answers(predictor, files):
  """Reads and answers files, a batch at a time and in order: yields an Answer for each."""
  import numpy as np

  from vit_jax import predictor as predictor_lib
  from vit_jax.data import picture

  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for start in range(0, len(files), predictor_lib.BATCH):
      batch = files[start:start + predictor_lib.BATCH]
      read_all = list(pool.map(lambda file: read(file[0], predictor.image_size), batch))
      images = [image for image, _ in read_all if image is not None]
      found = predictor.answer(np.stack(images)) if images else None
      rows = zip(found.probabilities, found.known, found.features, strict=True) if images else iter(())
      for (name, named), (image, why) in zip(batch, read_all, strict=True):
        if image is not None:
          yield Answer(name, None, image, *next(rows))
        else:
          yield Answer(name, why if named or is_picture(name, picture.endings()) else None)


def is_picture(name, endings):
  """Whether a file is called a picture, or a folder that was to be searched."""
  return pathlib.PurePath(name).suffix.lower() in endings or pathlib.Path(name).is_dir()


class Writer:
  """Writes answers as a table for people, as CSV or as JSON lines, each as soon as it is there."""

  def __init__(self, class_names, top, width):
    self.class_names, self.width = class_names, width
    self.top = min(top, len(class_names))
    self.csv = csv.writer(sys.stdout, lineterminator='\n')
    if _CSV.value:
      numbered = [f'{what}_{i}' for i in range(1, self.top + 1) for what in ('class', 'probability')]
      self.csv.writerow(['file', 'known', *numbered])

  def write(self, name, probabilities, known):
    """One picture's classes, the most probable first, and whether it is like the training at all."""
    order = (-probabilities).argsort(kind='stable')[:self.top]
    best = [(self.class_names[i], float(probabilities[i])) for i in order]
    if _JSON.value:
      line = {'file': name, 'top': [{'class': label, 'probability': round(p, 6)} for label, p in best],
              'known': bool(known)}
      print(json.dumps(line), flush=True)
    elif _CSV.value:
      numbered = [value for label, p in best for value in (label, f'{p:.6f}')]
      self.csv.writerow([name, str(bool(known)).lower(), *numbered])
      sys.stdout.flush()
    else:
      doubt = '' if known else 'none of these?  '
      print(f'{name:<{self.width}}  {doubt}' + '   '.join(f'{label} {p:.1%}' for label, p in best), flush=True)


def sheets_for(predictor):
  """What writes the explanations, or None where none are asked for."""
  if not _EXPLAIN.value:
    return None
  from vit_jax.explain import explained

  return explained.Sheets(predictor, _EXPLAIN_DIR.value, _MAP.value)


def note(text):
  """A line for a person, beside the answers."""
  print(text, file=sys.stderr, flush=True)


def write_all(predictor, files, sheets):
  """Answers the files: -> (how many were answered, how many could not be read)."""
  from vit_jax import progress

  writer = Writer(predictor.class_names, _TOP.value, min(max((len(name) for name, _ in files), default=0), 60))
  answered = unreadable = 0
  for one in progress.track(answers(predictor, files), total=len(files), desc='looking', unit='pictures'):
    if one.image is not None:
      answered += 1
      writer.write(one.name, one.probabilities, one.known)
      if sheets:
        sheets.write(one.name, one.image, one.probabilities, one.known, one.features)
    elif one.why:
      unreadable += 1
      note(f'unreadable: {one.name} ({one.why})')
  return answered, unreadable


def main(arguments):
  """The command: the weights, then pictures; -> 0, or 1 where a picture could not be read."""
  weights, *names = [_PRETRAINED.value, *arguments] if _PRETRAINED.value else arguments or ['']
  if not names:
    raise BadInput('name the weights (a run folder, a .safetensors file, or shipped ones) and then pictures, or see '
                   '--help')
  if _JSON.value and _CSV.value:
    raise BadInput('--json and --csv are two formats; give one of them')
  files = find(names)
  command.start_jax()
  from vit_jax import predictor as predictor_lib

  predictor = predictor_lib.Predictor.load(weights, command.cache_dir())
  if not (predictor.can_tell or _JSON.value or _CSV.value):
    teaches = f'; python -m vit_jax.main --evaluate --workdir={shlex.quote(weights)} teaches it'
    note(f'note: {weights} cannot tell when a picture is of none of its classes'
         + (teaches if predictor.can_learn else ''))
  sheets = sheets_for(predictor)
  if sheets:  # Explanations of before are no pictures to explain.
    own = sheets.folder.resolve()
    inside = lambda name: own in pathlib.Path(os.path.realpath(name)).parents  # Path.resolve refuses loops of links.
    files = [(name, named) for name, named in files if named or not inside(name)]
  answered, unreadable = write_all(predictor, files, sheets)
  if not answered and not unreadable:
    raise BadInput(f'there is no picture in {", ".join(names)}')
  if sheets:
    note(f'explained: {sheets.folder}/' + (f', without the nearest training pictures: {sheets.why_not}'
                                            if sheets.why_not else ''))
  return 1 if unreadable else 0


if __name__ == '__main__':
  command.run(main, interrupted=lambda: 'the answers above are whole', arguments=True)
