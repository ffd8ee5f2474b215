"""Where a run's model looks: maps over a few test pictures, how far to believe them, and the paper's figures."""
import dataclasses

import numpy as np

from vit_jax import predictor
from vit_jax import progress
from vit_jax.errors import BadInput
from vit_jax.explain import explainer
from vit_jax.explain import faithfulness
from vit_jax.explain import figures

# Pictures shown, right ones and as many wrong ones; pictures that maps are measured on, evenly spaced, and the fewest
# that say anything.
SHOWN, MEASURED, ENOUGH = 3, 40, 8
STEPS, RANDOM = 8, 2  # of each curve, and random maps for each picture
# Floating-point operations that occlusion and the measuring may take: a minute on two cores.
BUDGET = 2e12
# Cells a side of the occlusion of a model that has no grid of tokens.
CELLS = 8


@dataclasses.dataclass
class Looks:
  """Maps of some test pictures and the paper's figures; `notes` say what could not be had and why."""
  indices: list = dataclasses.field(default_factory=list)  # in the test part
  images: np.ndarray | None = None  # u8[N,S,S,3]
  labels: list = dataclasses.field(default_factory=list)
  answers: list = dataclasses.field(default_factory=list)
  maps: dict = dataclasses.field(default_factory=dict)  # {name: f32[N,h,w]}, for the class that was answered
  measured: int = 0  # pictures
  faith: dict = dataclasses.field(default_factory=dict)  # {(map, measure): faithfulness.Comparison}
  filters: tuple | None = None  # what figures.filters gives
  similarity: np.ndarray | None = None  # f32[h,w,h,w]
  distances: np.ndarray | None = None  # pixels, f32[L,H]
  even_distance: float | None = None  # pixels
  notes: list = dataclasses.field(default_factory=list)


def look(path, test, answers, labels, flops):
  """The newest weights of the run at `path`, on its test part: -> Looks; `flops` is what a picture costs."""
  found = Looks()
  seer, answers_of = open_model(path, found)
  cells = seer.cells if seer else (CELLS, CELLS) if test.images.shape[1] % CELLS == 0 else None
  right, wrong = np.flatnonzero(answers == labels), np.flatnonzero(answers != labels)
  shown = np.concatenate([spaced(right, SHOWN), spaced(wrong, SHOWN)])
  found.indices, found.images = shown.tolist(), test.read(shown)['image']
  found.labels, found.answers = labels[shown].tolist(), answers[shown].tolist()
  some = spaced(np.arange(len(test)), how_many(flops, cells))
  with progress.bar(total=questions(cells, len(shown), len(some)), desc='maps', unit='pictures') as bar:
    def answer(images):
      bar.update(len(images))
      return answers_of(images)
    found.maps = maps(seer, answer, found.images, answers[shown], cells, flops)
    if len(some) >= ENOUGH and found.maps:
      pictures = test.read(some)['image']
      of_some = maps(seer, answer, pictures, answers[some], cells, flops)
      found.faith, _ = faithfulness.measure(answer, pictures, of_some, answers[some], steps=STEPS, num_random=RANDOM)
      found.measured = len(some)
  if 'occlusion' not in found.maps:
    why = 'would take too long with this model' if cells else f'needs pictures whose sides {CELLS} divides'
    found.notes.append(f'Trying each patch (occlusion) {why}, so it was left out.')
  if found.maps and not found.measured:
    found.notes.append('How far these maps can be believed was not measured: it would take too long with this model, '
                       'or there are too few test pictures. Take them for pictures of the model, not for reasons.')
  if seer:
    add_figures(found, seer, test)
  return found


def open_model(path, found):
  """The run's Explainer, or None for a model without attention, and what answers: u8[N,S,S,3] -> f32[N,K]."""
  try:
    seer = explainer.Explainer.load(path)
  except BadInput as error:
    found.notes.append(f'No attention maps, filters, positions or distances: {error}.')
    model = predictor.Predictor.load(path)
    return None, lambda images: model.answer(images).probabilities
  return seer, seer.probabilities


def spaced(values, count):
  """At most so many of i[N], evenly spaced."""
  count = min(count, len(values))
  return values[np.linspace(0, len(values) - 1, count).astype(int)]


def per_picture(cells):
  """Answers that occlusion takes for one picture."""
  return cells[0] * cells[1] + 1 if cells else 0


def measuring(num_maps):
  """Answers that the measuring of so many maps takes for one picture."""
  return len(faithfulness.MEASURES) * (STEPS + 1) * (num_maps + RANDOM)


def how_many(flops, cells):
  """Pictures that can be measured within the budget."""
  return min(int(BUDGET / (flops * (per_picture(cells) + measuring(3)))), MEASURED)


def affordable(flops, cells):
  """Whether the pictures that are shown can be occluded within the budget."""
  return cells is not None and 2 * SHOWN * per_picture(cells) * flops <= BUDGET


def questions(cells, shown, measured):
  """About how many pictures the model will be asked, for a progress bar."""
  measured = measured if measured >= ENOUGH else 0
  return (shown + measured) * per_picture(cells) + measured * measuring(3)


def maps(seer, answer, images, classes, cells, flops):
  """Maps of what speaks for classes i[N], each f32[N,h,w]: {'occlusion', 'relevance', 'rollout'}, those to be had."""
  found = {}
  if affordable(flops, cells):
    found['occlusion'] = faithfulness.occlusion_maps(answer, images, classes, cells)
  if seer:
    seen = seer.look(images, classes[:, None])
    found |= {'relevance': seen.relevance[:, 0], 'rollout': seen.rollout}
  return found


def add_figures(found, seer, test):
  """The paper's figure 7 as numbers, into Looks."""
  model, cells = seer.model, seer.cells
  found.filters = figures.filters(model, seer.params)
  found.similarity = figures.similarity(figures.positions(model, seer.params, cells), cells)
  images = test.read(spaced(np.arange(len(test)), MEASURED))['image']
  found.distances = seer.distances(seer.mean_attention(images))
  found.even_distance = figures.even_distance(model, cells)
