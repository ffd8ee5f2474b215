"""An Inspection -> one HTML page that needs nothing else: no network, no other file."""
import base64
import io
import itertools
import pathlib

import numpy as np

from vit_jax import progress

# Bounds that keep the page below 10 MB: pictures of all contact sheets together, of one class, classes shown.
SHEET_PICTURES, PER_CLASS, MIN_PER_CLASS, MAX_CLASSES = 2400, 24, 6, 300
# Classes whose sheets are open from the start.
OPEN_CLASSES = 10
# Groups of a finding that are shown, and pictures of a group.
MAX_GROUPS, PER_GROUP = 60, 6
# Pixels a side that a picture takes at most in the file; it is 64 wide on the screen.
PIXELS = 64
MAX_FILES = 200

SIDE_EDGES = (0, 32, 64, 128, 256, 512, 1024, 2048, 4096, np.inf)
# Width by height; the names of the bins between them.
ASPECT_EDGES = (0, 1 / 3, 1 / 2, 2 / 3, 0.9, 1.1, 1.5, 2, 3, np.inf)
ASPECT_NAMES = ('under 1:3', '1:3 to 1:2', '1:2 to 2:3', '2:3 to 9:10', 'square', '11:10 to 3:2', '3:2 to 2:1',
                '2:1 to 3:1', 'over 3:1')
TITLES = {'files': 'Files', 'classes': 'Classes', 'leaks': 'The same picture in two parts',
          'labels': 'The same picture under two labels', 'repeats': 'Repeated pictures', 'sizes': 'Sizes',
          'notes': 'Notes'}


def render(found):
  """inspect.Inspection -> the text of a page."""
  import jinja2  # Here, not above: `--help` need not pay for it.

  here = pathlib.Path(__file__).parent
  environment = jinja2.Environment(loader=jinja2.FileSystemLoader(here), autoescape=True, trim_blocks=True,
                                   lstrip_blocks=True, undefined=jinja2.StrictUndefined)
  shown = [finding for finding in found.findings if finding.groups]
  counts = found.counts
  return environment.get_template('inspect_page.html').render(
      found=found, titles=TITLES, side=found.pictures.shape[1], number=progress.number,
      totals=counts.sum(axis=1).tolist(), rows=class_rows(found, counts), most=int(counts[0].max(initial=1)),
      sections=[dict(finding=finding, groups=[group(found, members) for members in finding.groups[:MAX_GROUPS]],
                     hidden=max(len(finding.groups) - MAX_GROUPS, 0)) for finding in shown],
      histograms=histograms(found), unreadable=found.unreadable[:MAX_FILES], skipped=found.skipped[:MAX_FILES],
      max_files=MAX_FILES, sheets=sheets(found), hidden_classes=max(len(found.class_names) - MAX_CLASSES, 0),
      open_classes=OPEN_CLASSES)


def class_rows(found, counts):
  """For each class its name and its pictures in each part."""
  return [dict(name=name, counts=counts[:, label].tolist()) for label, name in enumerate(found.class_names)]


def group(found, members):
  """Pictures that are the same, for the template."""
  members = list(members)
  return dict(equal=len(set(found.twin[members].tolist())) == 1, hidden=max(len(members) - PER_GROUP, 0),
              pictures=[figure(found, i) for i in members[:PER_GROUP]])


def figure(found, i):
  """One picture, for the template."""
  return dict(uri=data_uri(found.pictures[i]), part=found.parts[found.part[i]], name=found.names[i],
              label=found.class_names[found.labels[i]])


def data_uri(image):
  """u8[S,S,3] -> 'data:image/webp;base64,…', no larger than it is shown."""
  from PIL import Image

  image = Image.fromarray(image)
  if image.width > PIXELS:
    image = image.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)
  file = io.BytesIO()
  image.save(file, 'WEBP', quality=80, lossless=image.width <= 16)
  return 'data:image/webp;base64,' + base64.b64encode(file.getvalue()).decode()


def histograms(found):
  """Of files: how large and of what shape they are: -> [(title, [(bin, count), …]), …]."""
  if found.sizes is None:
    return []
  sides = [f'under {high}' if low == 0 else f'{low} and more' if high == np.inf else f'{low} to {high - 1}'
           for low, high in itertools.pairwise(SIDE_EDGES)]
  width, height = found.sizes.T
  return [('Shorter side, pixels', bins(found.sizes.min(axis=1), SIDE_EDGES, sides)),
          ('Width to height', bins(width / height, ASPECT_EDGES, ASPECT_NAMES))]


def bins(values, edges, names):
  """[N], [B+1], [B] -> [(name, count), …] without the empty bins at the ends."""
  counts = np.bincount(np.digitize(values, edges) - 1, minlength=len(names))
  used = np.flatnonzero(counts)
  return [(names[i], int(counts[i])) for i in range(used[0], used[-1] + 1)] if len(used) else []


def sheets(found):
  """A contact sheet for each class: some of its pictures, drawn by a fixed rule from all parts."""
  shown = min(len(found.class_names), MAX_CLASSES)
  size = min(max(SHEET_PICTURES // max(shown, 1), MIN_PER_CLASS), PER_CLASS)
  rng = np.random.default_rng(0)
  for label in progress.track(range(shown), total=shown, desc='drawing', unit='classes'):
    of_class = np.flatnonzero(found.labels == label)
    drawn = np.sort(rng.permutation(of_class)[:size])
    yield dict(name=found.class_names[label], count=len(of_class), pictures=[figure(found, i) for i in drawn])
