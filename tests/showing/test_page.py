"""The demo's HTML: names that would be markup, numbers, places, and pictures that can be read back out of it."""
import base64
import html.parser
import io
import types

import numpy as np
from PIL import Image
import pytest

from vit_jax.showing import looking
from vit_jax.showing import page

NASTY = '<script>alert("1")</script>'
NAMES = (NASTY, *(f'class {i}' for i in range(19)))


class Reader(html.parser.HTMLParser):
  """The tags, texts and images of a page."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.texts, self.images = [], [], []
    self.feed(str(text))
    self.text = ' '.join(''.join(self.texts).split())

  def handle_starttag(self, tag, attributes):
    self.tags.append(tag)
    if tag == 'img':
      self.images.append(dict(attributes))

  def handle_data(self, data):
    self.texts.append(data)


@pytest.fixture
def looker():
  """A looker whose answers are given."""
  predictor = types.SimpleNamespace(class_names=NAMES, image_size=16, path='somewhere/run<1>', calibrated=True,
                                    can_tell=True)
  maps = {looking.COVERING: np.eye(8, dtype=np.float32)[::-1] * .1, looking.RELEVANCE: np.ones((4, 4), np.float32)}
  nearest = [(np.full((16, 16, 3), 200, np.uint8), NASTY, .5)]
  return types.SimpleNamespace(predictor=predictor, no_memory='', nearest=lambda seen: nearest,
                               map=lambda seen, kind, layer, head: maps.get(kind, np.arange(16.).reshape(4, 4)))


@pytest.fixture
def seen():
  probabilities = np.full(20, .01, np.float32)
  probabilities[0] = .81
  image = np.zeros((16, 16, 3), np.uint8)
  image[:8] = (250, 120, 10)
  return looking.Seen(image, probabilities, True, np.zeros((1, 4), np.float32))


def test_names_are_text_and_never_markup(looker, seen):
  pieces = [page.head(looker.predictor), page.verdict(looker, seen), page.bars(looker, seen),
            page.nearest(looker, seen), page.mistake(NASTY), page.hint(NASTY),
            page.maps(looker, seen, looking.COVERING, 0, 0)]
  for piece in pieces:
    read = Reader(piece)
    assert 'script' not in read.tags and NASTY in read.text
  for image in Reader(pieces[3]).images + Reader(pieces[6]).images:
    assert image['alt']
  assert 'run<1>' in Reader(pieces[0]).text and 'somewhere' not in pieces[0]


def test_the_head_lists_classes_and_says_what_it_cannot(looker):
  text = Reader(page.head(looker.predictor)).text
  assert 'It knows 20 classes and nothing else' in text and 'and 8 more' in text and 'class 18' in text
  assert 'many slip through' in text
  looker.predictor.can_tell = looker.predictor.calibrated = False
  text = Reader(page.head(looker.predictor)).text
  assert 'names one for any picture' in text and 'Nothing was measured' in text


def test_the_verdict(looker, seen):
  assert Reader(page.verdict(looker, seen)).text.endswith('81.0% sure')
  looker.predictor.can_tell = False
  assert 'if it is one of my classes at all' in page.verdict(looker, seen)
  seen.known = False
  assert Reader(page.verdict(looker, seen)).text.startswith('None of my classes')
  assert 'doubtful' in page.bars(looker, seen)


def test_bars_are_the_most_probable_in_order(looker, seen):
  seen.probabilities[5] = .05
  read = Reader(page.bars(looker, seen))
  assert read.tags.count('li') == 5
  assert read.text.startswith(f'{NASTY}81.0%class 45.0%class 01.0%') and 'width:81.00%' in page.bars(looker, seen)


@pytest.mark.parametrize(('probability', 'text'), [(0, '<0.1%'), (.0004, '<0.1%'), (.0006, '0.1%'), (.5, '50.0%'),
                                                   (.9994, '99.9%'), (.9996, '>99.9%'), (1, '>99.9%'),
                                                   (np.nan, 'not a number')])
def test_no_probability_is_rounded_to_none_or_all(probability, text):
  assert page.percent(probability) == text


@pytest.mark.parametrize(('row', 'column', 'text'), [(0, 0, 'top left'), (2, 2, 'middle'), (4, 2, 'bottom middle'),
                                                     (2, 4, 'middle right'), (1, 4, 'top right')])
def test_where_a_map_is_highest(row, column, text):
  values = np.zeros((5, 5))
  values[row, column] = 1
  assert page.where(values) == text


def test_maps_show_the_picture_beside_the_map_and_say_what_it_means(looker, seen):
  whole = page.maps(looker, seen, looking.COVERING, 0, 0)
  picture, overlay = Reader(whole).images
  pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture['src'].partition(',')[2]))))
  assert pixels.shape == (320, 320, 3)
  np.testing.assert_allclose(pixels[80, 160], (250, 120, 10), atol=4)
  np.testing.assert_allclose(pixels[240, 160], 0, atol=4)
  assert overlay['alt'].endswith('most at the top right') and '81.0% became 71.0%' in whole
  assert '16 by 16' in picture['alt']
  assert 'covering parts is the better measure' in page.maps(looker, seen, looking.RELEVANCE, 0, 0)
  head = page.maps(looker, seen, looking.HEAD, 1, 2)
  assert 'Layer 2, head 3' in head and Reader(head).images[1]['alt'].endswith('bottom right')


def test_a_map_of_nothing_says_so(looker, seen):
  looker.map = lambda *_: np.full((8, 8), -1e-4)
  assert 'No single one matters' in page.maps(looker, seen, looking.COVERING, 0, 0)


def test_no_memory_is_a_line(looker, seen):
  looker.no_memory = 'the pictures are gone'
  read = Reader(page.nearest(looker, seen))
  assert read.text == 'the pictures are gone.' and not read.images
