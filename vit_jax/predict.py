"""Says what is on pictures.

  python -m vit_jax.predict runs/cifar_catdog-seed0 cat.jpg holiday/ 'more/*.png'
      the classes of a trained run, most probable first, for files, folders and patterns

  python -m vit_jax.predict weights.safetensors - < cat.jpg
      weights that vit_jax.export wrote, and a picture from the standard input

  python -m vit_jax.predict --pretrained=tiny_imagenet cat.jpg
      weights that come with vit_jax; every argument is a picture then

Any format that Pillow opens; of each picture the middle square is looked at. What cannot be read is listed, the rest
is answered, and the exit status is then 1. A model knows its classes and nothing else: it names one of them for any
picture, and its probabilities only mean something for pictures like those it was trained on.
"""
import concurrent.futures
import csv
import glob
import json
import os
import pathlib
import sys

from absl import flags

from vit_jax import command
from vit_jax.errors import BadInput

_TOP = flags.DEFINE_integer('top', 3, 'How many classes are shown of each picture.', lower_bound=1)
_JSON = flags.DEFINE_boolean('json', False, 'One JSON object a line: {"file", "top": [{"class", "probability"}, …]}.')
_CSV = flags.DEFINE_boolean('csv', False, 'Comma-separated: file, class 1, probability 1, class 2, …')
_PRETRAINED = flags.DEFINE_string('pretrained', '', 'Weights, where they are not the first argument.')
flags.declare_key_flag('cache_dir')


def find(names):
  """The files that files, folders and patterns name: -> [(name, whether it was named itself)], '-' for stdin.

  Folders are walked, without what is hidden. Raises BadInput for what is not there.
  """
  found = []
  for name in names:
    path = pathlib.Path(name).expanduser()
    matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(name) and not path.exists() else [path]
    if name == '-':
      found.append(('-', True))
    elif not matches or not pathlib.Path(matches[0]).exists():
      raise BadInput(f'{name} does not exist; name pictures, folders of them, or - for the standard input')
    else:
      for match in map(pathlib.Path, matches):
        found += [(str(inner), False) for inner in walk(match)] if match.is_dir() else [(str(match), True)]
  return found


def walk(folder):
  """The files in a folder and its folders, in order, without hidden ones; links to folders are not followed."""
  for parent, folders, files in os.walk(folder):
    folders[:] = sorted(name for name in folders if not name.startswith('.'))
    yield from (pathlib.Path(parent, name) for name in sorted(files) if not name.startswith('.'))


def read(name, image_size):
  """One picture: -> (pixels u8[S,S,3], None), or (None, the reason why it cannot be read)."""
  from vit_jax.data import picture

  try:
    data = sys.stdin.buffer.read() if name == '-' else pathlib.Path(name).read_bytes()
    return picture.read(data, image_size)[0], None
  except OSError as error:
    return None, picture.reason(error)
  except picture.Unreadable as error:
    return None, str(error)


def answers(predictor, files):
  """Reads and answers files, a batch at a time and in order: yields (name, probabilities f32[K] or None, reason)."""
  import numpy as np

  from vit_jax import predictor as predictor_lib
  from vit_jax import progress
  from vit_jax.data import picture

  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for start in progress.track(range(0, len(files), predictor_lib.BATCH),
                                total=-(-len(files) // predictor_lib.BATCH), desc='looking', unit='batches'):
      batch = files[start:start + predictor_lib.BATCH]
      read_all = list(pool.map(lambda file: read(file[0], predictor.image_size), batch))
      images = [image for image, _ in read_all if image is not None]
      found = iter(predictor.probabilities(np.stack(images)) if images else ())
      for (name, named), (image, why) in zip(batch, read_all, strict=True):
        if image is not None:
          yield name, next(found), None
        elif named or pathlib.PurePath(name).suffix.lower() in picture.endings():
          yield name, None, why


class Writer:
  """Writes answers as a table for people, as CSV or as JSON lines, each as soon as it is there."""

  def __init__(self, class_names, top, width):
    self.class_names, self.width = class_names, width
    self.top = min(top, len(class_names))
    self.csv = csv.writer(sys.stdout, lineterminator='\n')
    if _CSV.value:
      self.csv.writerow(['file', *(f'{what}_{i}' for i in range(1, self.top + 1) for what in ('class', 'probability'))])

  def write(self, name, probabilities):
    """One picture's classes, the most probable first."""
    order = (-probabilities).argsort(kind='stable')[:self.top]
    best = [(self.class_names[i], float(probabilities[i])) for i in order]
    if _JSON.value:
      line = {'file': name, 'top': [{'class': label, 'probability': round(p, 6)} for label, p in best]}
      print(json.dumps(line, ensure_ascii=False), flush=True)
    elif _CSV.value:
      self.csv.writerow([name, *(value for label, p in best for value in (label, f'{p:.6f}'))])
    else:
      print(f'{name:<{self.width}}  ' + '   '.join(f'{label} {p:.1%}' for label, p in best), flush=True)


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

  predictor = predictor_lib.Predictor.load(weights)
  writer = Writer(predictor.class_names, _TOP.value, min(max((len(name) for name, _ in files), default=0), 60))
  unreadable = answered = 0
  for name, probabilities, why in answers(predictor, files):
    if why:
      unreadable += 1
      print(f'unreadable: {name} ({why})', file=sys.stderr, flush=True)
    else:
      answered += 1
      writer.write(name, probabilities)
  if not answered and not unreadable:
    raise BadInput(f'there is no picture in {", ".join(names)}')
  return 1 if unreadable else 0


if __name__ == '__main__':
  command.run(main, interrupted=lambda: 'the answers above are whole', arguments=True)
