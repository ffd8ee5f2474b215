"""Does a map point at the evidence? Deletion and insertion curves (Petsiuk, Das & Saenko 2018, RISE), against chance.

Deletion takes patches out of a picture, those first that the map puts highest, and watches the probability of a class:
under a map that points at the evidence it falls early, and the area under it is small. Insertion puts patches of the
picture onto a blurred copy in the same order: the area is large. A random map says what any order gives, and the
comparison is in pairs, on the same pictures.

What this measures is the model, not the animal: a map may rightly point at a background that the model goes by. And
pictures with patches missing are unlike those it was trained on; that burdens all maps alike.
"""
import dataclasses

import numpy as np
from scipy import ndimage
from scipy import stats

from vit_jax.errors import BadInput

GREY = 128
# The blurred copy's standard deviation in sides of the picture: shapes are gone, the colours' rough places stay.
BLUR = 1 / 8
STEPS = 16


def random_maps(rng, shape):
  """Maps f32[…,h,w] that know nothing: each order of the patches is equally likely."""
  return rng.random(shape, np.float32)


def centre_maps(shape):
  """Maps f32[…,h,w] that say no more than that things are in the middle of pictures; a harder opponent than chance."""
  h, w = shape[-2:]
  y, x = np.mgrid[:h, :w]
  middle = -np.hypot((y - (h - 1) / 2) / h, (x - (w - 1) / 2) / w)
  return np.broadcast_to(middle.astype(np.float32), shape)


def occlusion_maps(answer, images, classes, cells):
  """The drop of the class's probability when one patch alone is grey, f32[N,h,w] (Zeiler & Fergus 2014).

  A map by trying, h·w + 1 answers a picture: what maps that are read off the model can be held against.
  """
  h, w = cells
  first = class_scores(answer, images, classes)
  drops = []
  for cell in range(h * w):
    only = np.broadcast_to((np.arange(h * w) == cell).reshape(h, w), (len(images), h, w))
    drops.append(first - class_scores(answer, paste(images, grey(images), only), classes))
  return beyond_rounding(np.stack(drops, axis=1).reshape(-1, h, w))


def occlusion_map(answer, image, label, probability, cells):
  """What `occlusion_maps` says of one picture u8[S,S,3], all its patches asked about in one piece: -> f32[h,w].

  `answer` gives pictures' probabilities, u8[N,S,S,3] -> f32[N,K]; `probability` is that of the whole picture.
  """
  h, w = cells
  many = np.broadcast_to(image, (h * w, *image.shape))
  one_each = np.eye(h * w, dtype=bool).reshape(-1, h, w)
  covered = paste(many, grey(many), one_each)
  return beyond_rounding((probability - class_scores(answer, covered, np.full(h * w, label))).reshape(h, w))


def beyond_rounding(drops):
  """Drops of a probability, with zero for those that rounding can make: a map stretches the rest over its colours."""
  return np.where(np.abs(drops) < 1e-6, 0, drops)


def grey(images):
  """The pictures with everything taken out: u8[N,H,W,3] -> the same."""
  return np.full_like(images, GREY)


def blurred(images):
  """The pictures without their shapes: u8[N,H,W,3] -> the same."""
  sigma = BLUR * np.array(images.shape[1:3])
  soft = ndimage.gaussian_filter(images.astype(np.float32), (0, *sigma, 0), mode='nearest')
  return np.round(soft).astype(np.uint8)


def paste(images, others, where):
  """Pictures with patches from others, at the cells of bool[N,h,w]: u8[N,H,W,3] twice -> the same."""
  height, width = images.shape[1:3]
  _, h, w = where.shape
  if height % h or width % w:
    raise BadInput(f'a map of {h}×{w} patches does not fit pictures of {height}×{width} pixels')
  large = where.repeat(height // h, axis=1).repeat(width // w, axis=2)
  return np.where(large[..., None], others, images)


def ranks(maps):
  """The place of each patch in the order of a map, the highest 0: f32[N,h,w] -> i64[N,h,w]; equals in reading order."""
  n, h, w = maps.shape
  order = np.argsort(-maps.reshape(n, -1), axis=1, kind='stable')
  return np.argsort(order, axis=1).reshape(n, h, w)


def class_scores(answer, images, classes):
  """The probability of a class i[N] for each picture: u8[N,S,S,3] -> f32[N]; `answer` gives f32[N,K]."""
  return np.take_along_axis(answer(images), classes[:, None], axis=1)[:, 0]


def curves(answer, start, end, maps, classes, steps=STEPS):
  """The class's probability while patches of `end` replace `start`'s, the map's highest first: -> f32[N,steps+1].

  Pictures u8[N,S,S,3] twice, maps f32[N,h,w], classes i[N]; in equal parts of the patches, none of them at first and
  all of them at the end.
  """
  order, count = ranks(maps), maps[0].size
  found = [class_scores(answer, paste(start, end, order < round(i * count / steps)), classes) for i in range(steps + 1)]
  return np.stack(found, axis=1)


def areas(curve):
  """The area under curves over the share of patches from 0 to 1: f32[N,S+1] -> f64[N] in [0,1]."""
  curve = np.asarray(curve, np.float64)
  return (curve[:, :-1] + curve[:, 1:]).mean(axis=1) / 2


def deletion(answer, images, maps, classes, steps=STEPS):
  """The curves while patches go, f32[N,steps+1]: a small area is good."""
  return curves(answer, images, grey(images), maps, classes, steps)


def insertion(answer, images, maps, classes, steps=STEPS):
  """The curves while patches come, f32[N,steps+1]: a large area is good."""
  return curves(answer, blurred(images), images, maps, classes, steps)


MEASURES = {'deletion': (deletion, -1), 'insertion': (insertion, +1)}


@dataclasses.dataclass(frozen=True)
class Comparison:
  """A map's areas against another's on the same pictures."""
  area: float  # the map's mean
  reference: float  # the other's
  gain: float  # mean difference, positive where the map is better
  standard_error: float  # … of that mean
  better: float  # the share of pictures where it is better, ties by half
  p_value: float  # of Wilcoxon's signed-rank test, two-sided: the chance of this without a difference


def compare(areas_of_map, areas_of_other, sign):
  """Areas f64[N] of two maps, in pairs -> Comparison; `sign` is +1 where high is good, -1 where low is."""
  gains = sign * (areas_of_map - areas_of_other)
  wins = (gains > 0).mean() + (gains == 0).mean() / 2
  p_value = stats.wilcoxon(gains).pvalue if gains.any() else 1.0
  error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.nan
  return Comparison(float(areas_of_map.mean()), float(areas_of_other.mean()), float(gains.mean()), float(error),
                    float(wins), float(p_value))


def measure(answer, images, maps, classes, *, steps=STEPS, num_random=5, seed=0):
  """Holds maps {name: f32[N,h,w]} against chance: -> ({(name, kind): Comparison}, {(name, kind): curves f32[N,S+1]}).

  A kind is 'deletion' or 'insertion'; among the curves are those of 'chance'. `answer` gives pictures' probabilities,
  u8[N,S,S,3] -> f32[N,K]; classes i[N] are those that the maps are for. Gain and its error are against the mean over
  `num_random` random maps for each picture, `better` and `p_value` against the first of them.
  """
  rng = np.random.default_rng(seed)
  random = [random_maps(rng, next(iter(maps.values())).shape) for _ in range(num_random)]
  found, traced = {}, {}
  for kind, (trace, sign) in MEASURES.items():
    chance = np.stack([trace(answer, images, one, classes, steps) for one in random])
    traced['chance', kind] = chance.mean(axis=0)
    for name, one in maps.items():
      traced[name, kind] = trace(answer, images, one, classes, steps)
      own = areas(traced[name, kind])
      # A rank test asks for differences that without an effect are as often positive as negative. Against one random
      # map they are; against a mean of several, which is less skewed than one, they need not be.
      single = compare(own, areas(chance[0]), sign)
      found[name, kind] = dataclasses.replace(compare(own, areas(traced['chance', kind]), sign), better=single.better,
                                              p_value=single.p_value)
  return found, traced
