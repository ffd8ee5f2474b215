"""The page: it stands alone, says its numbers, escapes every name, and names the reason for what is missing."""
import dataclasses
import html.parser
import pathlib
import re

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from vit_jax.reporting import page

EVIL = '<script>alert(1)</script>"\'&amp;</td>'
VOID = {'meta', 'img', 'br', 'link', 'input', 'hr'}


class Page(html.parser.HTMLParser):
  """All tags with their attributes, the text of the body, and whether every tag is closed in its turn."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.text, self.open = [], '', []
    self.feed(text)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))

  def handle_endtag(self, tag):
    assert self.open.pop() == tag, tag

  def handle_data(self, data):
    if 'style' not in self.open:
      self.text += data

  def all(self, tag):
    return [attributes for name, attributes in self.tags if name == tag]


def text_of(shown):
  return ' '.join(shown.text.split())


@pytest.fixture(scope='module')
def shown(found):
  text = page.render(found)
  return text, Page(text)


def test_it_needs_nothing_else(shown):
  text, tree = shown
  assert len(text) < 5e6
  assert len(tree.all('img')) > 50
  for image in tree.all('img'):
    assert image['src'].startswith('data:image/webp;base64,') and len(image['alt']) > 10
  for picture in tree.all('svg'):
    assert picture.get('aria-hidden') or (picture['role'] == 'img' and picture['aria-label'])
  links = [value for _, attributes in tree.tags for name, value in attributes.items() if name in ('href', 'srcset')]
  ids = {attributes['id'] for _, attributes in tree.tags if 'id' in attributes}
  assert links and {link.removeprefix('#') for link in links} <= ids and all(link.startswith('#') for link in links)
  assert not tree.all('script') and not tree.all('link') and 'url(' not in text and '@import' not in text
  assert 'http://' not in text and 'https://' not in text


def test_it_can_be_read_in_the_dark_and_on_a_phone(shown):
  text, tree = shown
  assert 'prefers-color-scheme: dark' in text and 'color-scheme: light dark' in text
  assert {'name': 'viewport', 'content': 'width=device-width, initial-scale=1'} in tree.all('meta')
  # What is drawn takes its colours from the page.
  assert all('fill' not in shape and 'stroke' not in shape for tag in ('rect', 'circle', 'polyline', 'line')
             for shape in tree.all(tag))


def test_it_says_the_numbers(found, shown):
  answers = found.logits.argmax(axis=1)
  said = text_of(shown[1])
  assert f'{100 * sklearn_metrics.accuracy_score(found.labels, answers):.2f} % of 359 test pictures' in said
  assert f'{found.num_params:,} parameters' in said
  recall = sklearn_metrics.recall_score(found.labels, answers, average=None)
  assert all(f'{100 * value:.1f} %' in said for value in recall)
  matrix = sklearn_metrics.confusion_matrix(found.labels, answers)
  cells = re.findall(r'<td [^>]*style="--share: ([\d.]+)">([\d,]+)</td>', shown[0])
  assert [int(count) for _, count in cells] == matrix.ravel().tolist()
  shares = matrix / matrix.sum(axis=1, keepdims=True)
  np.testing.assert_allclose([float(share) for share, _ in cells], shares.ravel(), atol=6e-4)
  for title in ('Learning curves', 'Reliability', 'Worse pictures', 'Surest mistakes', 'Least certain',
                'Where it looks', "The paper's figure 7", 'Time, energy', 'What differs from the defaults',
                'How to do it again'):
    assert title in said, title


def test_names_of_classes_are_text(found):
  names = [f'{EVIL} {i}' for i in range(10)]
  evil = dataclasses.replace(
      found, path=pathlib.Path('/nowhere') / '<img src=x onerror=y>', model=found.model | {'class_names': names},
      data=found.data | {'notes': [EVIL], 'fingerprint': EVIL},
      starts=[found.starts[0] | {'command': EVIL, 'processor': EVIL, 'commit': EVIL, 'versions': {EVIL: EVIL}}],
      missing={'pictures': EVIL}, wrong=found.wrong[:3])
  tree = Page(page.render(evil))
  assert not tree.all('script') and f'{EVIL} 3' in tree.text and '<img src=x onerror=y>' in tree.text
  assert all('onerror' not in image for image in tree.all('img'))
  assert any(EVIL in image['alt'] for image in tree.all('img'))


def test_what_is_missing_is_said_with_its_reason(found):
  bare = dataclasses.replace(found, evaluation=None, labels=None, logits=None, wrong=None, unsure=None, looks=None,
                             lines=[], result=None, data=None, starts=[],
                             missing={'test': 'no checkpoint yet', 'pictures': 'no pictures any more'})
  said = text_of(Page(page.render(bare)))
  assert 'Unfinished.' in said and said.count('Not measured.') >= 7
  for reason in ('no checkpoint yet', 'no pictures any more', 'metrics.jsonl is missing', 'codecarbon',
                 'environment.json is missing'):
    assert reason in said, reason


def test_a_run_without_validation_says_so(found):
  lines = [{key: value for key, value in line.items() if not key.startswith('val_')} for line in found.lines]
  evaluation = found.evaluation | {'temperature': 1.0}
  del evaluation['corruptions']
  said = text_of(Page(page.render(dataclasses.replace(found, lines=lines, evaluation=evaluation))))
  assert 'No validation.' in said and 'No temperature.' in said and 'holds no worse pictures' in said


def test_energy_comes_with_how_it_was_got(found):
  costs = {'energy_kwh': 0.0123, 'co2_grams': 5.8, 'country': 'DEU', 'energy_method': 'measured by the counters of x'}
  said = text_of(Page(page.render(dataclasses.replace(found, result=found.result | costs))))
  assert '12.3 Wh' in said and '5.8 g' in said and 'counters of x' in said and 'within a few per cent' in said
  estimate = costs | {'energy_method': 'an estimate'}
  assert 'factor of two or three' in page.render(dataclasses.replace(found, result=found.result | estimate))


def test_many_classes_are_pairs_and_no_matrix():
  rng = np.random.default_rng(0)
  confusion = rng.integers(0, 5, (50, 50))
  confusion[7, 3] = 99
  pairs = page.confused(confusion.tolist())
  assert pairs[0] == (7, 3, 99, 99 / confusion[7].sum()) and len(pairs) == page.PAIRS
  counts = [count for _, _, count, _ in pairs]
  assert all(i != j for i, j, _, _ in pairs) and counts == sorted(counts, reverse=True)
  assert page.confused([[3, 0], [0, 4]]) == []


def test_runs_beside_each_other(found):
  logits = found.logits.copy()
  wrong = np.flatnonzero(logits.argmax(axis=1) != found.labels)[:9]
  logits[wrong, found.labels[wrong]] += 100
  better = dataclasses.replace(found, path=pathlib.Path('/runs/better'), logits=logits)
  text = page.render(found, [better, dataclasses.replace(found, path=pathlib.Path('/runs/same'))])
  said = text_of(Page(text))
  # The p value by hand: 2 · (1/2)⁹.
  assert f'<td>{900 / len(logits):+.2f} points</td><td>p = 0.0039</td><td>0</td><td>9</td>' in text
  assert 'better is better than small, more than chance explains' in said
  assert 'same is not shown to be better or worse' in said
  namesake = dataclasses.replace(found, path=pathlib.Path('/other') / found.name)
  said = text_of(Page(page.render(found, [namesake])))
  assert f'/other/{found.name} is not shown to be better or worse than {found.path};' in said


def test_only_what_differs_from_the_defaults_is_open(found):
  changed, rest = page.config_rows(found.config)
  assert ('epochs', '1.0', '40.0') in changed and ('model.hidden_size', '16', 'None') in changed
  assert 'seed' in {key for key, _, _ in rest} and not {key for key, _, _ in changed} & {key for key, _, _ in rest}
