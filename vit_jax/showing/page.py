"""The pieces of the demo's page, as HTML: names are escaped, and pictures are inside it."""
import base64
import io
import pathlib

from markupsafe import Markup
import numpy as np

from vit_jax import paths
from vit_jax.explain import overlay
from vit_jax.showing import looking

# Pixels a side of a map and of a nearest picture on the page; class names in its head.
SIDE, SMALL, NAMES = 320, 128, 12
CSS = (pathlib.Path(__file__).parent / 'page.css').read_text(encoding='utf-8')
PLACES = ('top', 'middle', 'bottom'), ('left', 'middle', 'right')


def img(picture, alt):
  """A picture u8[H,W,3] or PIL.Image with its description -> <img>."""
  file = io.BytesIO()
  overlay.enlarge_picture(np.asarray(picture)).save(file, 'JPEG', quality=92, subsampling=0)
  data = base64.b64encode(file.getvalue()).decode()
  return Markup('<img src="data:image/jpeg;base64,{}" alt="{}">').format(data, alt)


def join(pieces):
  """Markup after Markup."""
  return Markup('').join(pieces)


def head(predictor):
  """What the page is about, and what the model is not for."""
  names = predictor.class_names
  listed = ', '.join(names[:NAMES])
  if len(names) > NAMES:
    rest = Markup(' <details><summary>and {} more</summary>{}</details>').format(
        len(names) - NAMES, ', '.join(names[NAMES:]))
  else:
    rest = ''
  sure = ('Its probabilities were fitted to pictures held out of training.' if predictor.calibrated else
          'Nothing was measured that says how far its probabilities can be believed.')
  foreign = ('A picture unlike its training is said to be none of its classes, though many slip through.'
             if predictor.can_tell else
             'It cannot tell whether a picture shows none of them, and names one for any picture.')
  return Markup(
      '<h1>What does {} see?</h1><p>It knows {} classes and nothing else: {}{}</p>'
      '<p class="quiet">{} {} Not for decisions about people, nor wherever a mistake would hurt somebody.</p>').format(
          paths.name_of(predictor.path), len(names), listed, rest or '.', foreign, sure)


def percent(probability):
  """A probability as a person reads it, never rounded to what it is not."""
  if .0005 <= probability <= .9995:
    return f'{probability:.1%}'
  if np.isnan(probability):
    return 'not a number'
  return '<0.1%' if probability < .5 else '>99.9%'


def verdict(looker, seen):
  """The answer, in a word and a sentence."""
  name, sure = looker.predictor.class_names[seen.best], percent(seen.probabilities[seen.best])
  if not seen.known:
    return Markup('<div class="verdict unknown" role="status"><strong>None of my classes</strong><p>This picture is '
                  'unlike those I was trained on. If I had to choose: {}, {}, which means little here.</p></div>'
                  ).format(name, sure)
  return Markup('<div class="verdict" role="status"><strong>{}</strong><p>{} sure{}</p></div>').format(
      name, sure, '' if looker.predictor.can_tell else ', if it is one of my classes at all')


def bars(looker, seen, top=5):
  """The most probable classes, as bars."""
  order = np.argsort(-seen.probabilities, kind='stable')[:top]
  rows = join(Markup('<li><span>{0}</span><span>{1}</span><i aria-hidden="true"><b style="width:{2:.2f}%"></b></i></li>'
                     ).format(looker.predictor.class_names[i], percent(seen.probabilities[i]),
                              100 * float(seen.probabilities[i])) for i in order)
  return Markup('<ol class="bars{}" aria-label="The most probable classes">{}</ol>').format(
      '' if seen.known else ' doubtful', rows)


def mistake(text):
  """What is wrong with a picture."""
  return Markup('<div class="verdict wrong" role="alert"><strong>I cannot read this</strong><p>{}</p></div>'
                ).format(text)


def hint(text):
  """A quiet line where there is nothing to see."""
  return Markup('<p class="quiet">{}</p>').format(text)


def where(values):
  """The place of a map's highest value, f32[h,w] -> 'top left'."""
  h, w = values.shape
  row, column = np.unravel_index(values.argmax(), values.shape)
  down, across = PLACES[0][int(3 * (row + .5) / h)], PLACES[1][int(3 * (column + .5) / w)]
  return 'middle' if down == across else f'{down} {across}'


def maps(looker, seen, kind, layer, head_):
  """The picture as the model gets it beside a map over it, and what the map says; layer and head from 0."""
  values = looker.map(seen, kind, layer, head_)
  name, size = looker.predictor.class_names[seen.best], looker.predictor.image_size
  if kind == looking.COVERING:
    most, first = float(values.max()), float(seen.probabilities[seen.best])
    title = f'What mattered for “{name}”'
    text = (f'Each square was covered in turn. Without the most important one, {percent(first)} became '
            f'{percent(first - most)}.' if most > .001 else
            'Each square was covered in turn. No single one matters: the answer hardly changes without it.')
  elif kind == looking.RELEVANCE:
    title = f'Relevance for “{name}”'
    text = 'Attention, weighted by what it changes in the answer. A hint: covering parts is the better measure.'
  else:
    title = f'Layer {layer + 1}, head {head_ + 1}'
    text = 'Where this head looked for the answer. Not the same as what the answer rests on.'
  place = 'nowhere in particular' if np.ptp(values) == 0 else f'most at the {where(values)}'
  shown = img(overlay.overlay(seen.image, values, SIDE), f'{title}: {place}')
  picture = img(overlay.enlarge_picture(seen.image, SIDE), f'The picture as the model gets it, {size} by {size} pixels')
  return Markup('<div class="pair"><figure>{}<figcaption>What the model gets: {}×{} pixels</figcaption></figure>'
                '<figure>{}<figcaption>{}</figcaption></figure></div><p class="scale"><span>least</span>'
                '<i aria-hidden="true"></i><span>most</span></p><p class="quiet">{}</p>').format(
                    picture, size, size, shown, title, text)


def nearest(looker, seen):
  """The training pictures nearest to it, with their classes."""
  if looker.no_memory:
    return hint(looker.no_memory + '.')
  found = join(
      Markup('<figure>{}<figcaption>{}<br><small>distance {:.2f}</small></figcaption></figure>').format(
          img(overlay.enlarge_picture(image, SMALL), f'A training picture of class {name}'), name, distance)
      for image, name, distance in looker.nearest(seen))
  return Markup('<div class="strip">{}</div><p class="quiet">Nearest in what the model makes of them, not in what they '
                'look like: 0 is the same, 2 the opposite.</p>').format(found)
