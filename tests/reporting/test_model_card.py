"""The model card: huggingface_hub reads what was measured; names stay text; without the library there is one line."""
import dataclasses
import pathlib
import re
import sys

from huggingface_hub import ModelCard
import numpy as np
import pytest
import yaml

from vit_jax.errors import BadInput
from vit_jax.reporting import model_card

EVIL = '<script>x</script> | **bold** [a](b) `c` _d_ #e\n---\nf'


def load(text, tmp_path):
  (tmp_path / 'MODEL_CARD.md').write_text(text, encoding='utf-8')
  return ModelCard.load(tmp_path / 'MODEL_CARD.md')


@pytest.fixture
def card(found, tmp_path):
  return load(model_card.render(found), tmp_path)


def test_huggingface_reads_it(card, found):
  data = card.data
  assert data.library_name == 'vit_jax' and data.pipeline_tag == 'image-classification' and data.license is None
  assert data.datasets == ['digits'] and 'vision-transformer' in data.tags
  scores = {one.metric_type: one.metric_value for one in data.eval_results}
  test = found.evaluation['test']
  assert scores == pytest.approx({'accuracy': test['accuracy'], 'top_5_accuracy': test['top5'],
                                  'brier_score': test['brier']}, abs=5e-5)
  assert data.metrics == list(scores) and {one.dataset_split for one in data.eval_results} == {'test'}
  # What the Hub checks: plain YAML, of which each name is a string.
  header = yaml.safe_load(str(card).split('---')[1])
  assert header['model-index'][0]['name'] == 'small' and all(isinstance(tag, str) for tag in header['tags'])


def test_it_says_what_was_measured(card, found):
  text = card.text
  for title in ('What it is for', 'What it is not for', 'Whom a mistake meets', 'class by class', 'trained on',
                'What it took', 'How to use it'):
    assert title in text, title
  test = found.evaluation['test']
  recalls = [row['recall'] for row in test['per_class']]
  worst = recalls.index(min(recalls))
  assert f'Uses that rest on {worst}: it misses {100 * (1 - recalls[worst]):.1f} %' in text
  assert text.count('> **Owner:**') >= 4
  assert text.count('\n| ') == 11  # Ten classes and the head.
  assert 'were not looked for' in text and f'{found.num_params:,} parameters' in text


def test_warnings_follow_the_numbers(found):
  rows = model_card.page.class_rows(found.evaluation['test'], found.class_names)
  test = found.evaluation['test'] | {
      'accuracy': .8, 'count': 2000, 'calibration_error': .2,
      'calibration_bins': [{'count': 2000, 'confidence': 1.0, 'accuracy': .8}]}
  calibrated = {'calibration_error': .01}
  evaluation = found.evaluation | {
      'test': test, 'calibrated': calibrated, 'temperature': 2.5, 'uncorrupted': .8, 'mirrored': .5,
      'corruptions': {'noise': [.8, .7, .6], 'jpeg': [.8, .79, .78]}}
  said = ' '.join(model_card.warnings(dataclasses.replace(found, evaluation=evaluation), rows))
  for text in ('too sure, off by 20.0 %', 'divided by 2.50 bring that down to 1.0 %', 'noise (60.0 %)',
               'mirrored: there its accuracy is 50.0 %'):
    assert text in said, said
  assert 'jpeg' not in said and 'Decisions that hang' not in said and 'Anything yet' not in said
  calm = evaluation | {'test': test | {'calibration_error': .01, 'count': 50}, 'mirrored': .8, 'corruptions': {}}
  said = ' '.join(model_card.warnings(dataclasses.replace(found, evaluation=calm, result=None), rows))
  assert 'too sure' not in said and 'mirrored' not in said and 'was not measured' in said
  assert '50 test pictures leave it open between 67.0 % and 88.8 %' in said and 'Anything yet' in said


def test_a_good_model_of_own_pictures(found, tmp_path):
  """All right but one in 128, by the model that the number of pictures chose."""
  rows = [row | {'recall': 1.0} for row in found.evaluation['test']['per_class']]
  test = found.evaluation['test'] | {'accuracy': 127 / 128, 'per_class': rows, 'count': 1280}
  config = found.config.copy_and_resolve_references()
  with config.unlocked():
    config.data.name, config.model.variant = 'folder', None
  data = found.data | {'name': 'holiday', 'chosen': {'model.variant': 'small-conv_8'},
                       'counts': {'train': [4000, 5500], 'validation': [200, 300], 'test': [640, 640]}}
  costs = {'energy_kwh': 1.2345, 'co2_grams': 583.4, 'country': 'the world', 'energy_method': 'an estimate'}
  good = dataclasses.replace(found, config=config, data=data, evaluation=found.evaluation | {'test': test},
                             result=found.result | costs)
  text = load(model_card.render(good), tmp_path).text
  for part in ('holiday: 9,500 train, 500 validation, 1,280 test pictures', 'is wrong on one picture in 128.',
               'Electricity: 1,234 Wh, 583 g CO2e', '(small-conv\\_8) of', 'classes of holiday ('):
    assert part in text, part
  assert 'it misses' not in text and 'The worst class' not in text


def test_names_are_text(found, tmp_path):
  names = [f'{EVIL} {i}' for i in range(10)]
  evil = dataclasses.replace(found, path=pathlib.Path('/no') / 'a`b', model=found.model | {'class_names': names},
                             data=found.data | {'notes': [EVIL]}, starts=[found.starts[0] | {'command': EVIL + '```'}])
  card = load(model_card.render(evil), tmp_path)
  outside = ''.join(card.text.split('```')[::2])
  assert '<script' not in outside and '&lt;script&gt;' in outside
  for active in ('**bold', '[a', '](b)', '`c', ' _d', '#e'):
    assert not re.search(r'(?<!\\)' + re.escape(active), outside), active
  assert all(line.count('|') - line.count('\\|') == 7 for line in outside.splitlines() if line.startswith('| '))
  assert card.text.count('```') == 4 and card.data.library_name == 'vit_jax'


def test_commands_can_be_pasted(found, tmp_path):
  card = load(model_card.render(dataclasses.replace(found, path=pathlib.Path('/no') / 'my runs; ls')), tmp_path)
  assert "predict 'path/to/my runs; ls' cat.jpg" in card.text


def test_own_pictures_are_no_data_set_of_the_hub(found, tmp_path):
  config = found.config.copy_and_resolve_references()
  with config.unlocked():
    config.data.name, config.init = 'folder', 'hf://owner/name'
  costs = {'energy_kwh': 0.01, 'co2_grams': 4.73, 'country': 'the world', 'energy_method': 'an estimate'}
  card = load(model_card.render(dataclasses.replace(found, config=config, result=found.result | costs)), tmp_path)
  assert card.data.datasets is None and card.data.base_model == 'owner/name'
  emissions = card.data.to_dict()['co2_eq_emissions']
  assert emissions['emissions'] == 4.73 and emissions['training_type'] == 'fine-tuning'


def test_weights_of_the_hub_are_named_without_their_revision(found):
  config = found.config.copy_and_resolve_references()
  for init, base in (('hf://owner/name@v1', 'owner/name'), ('cifar10', None)):
    config.init = init
    header = yaml.safe_load(model_card.render(dataclasses.replace(found, config=config)).split('---')[1])
    assert header.get('base_model') == base


def test_classes_that_were_not_tested_are_not_the_best(found):
  names = [f'c{i}' for i in range(43)]
  row = dict(found.evaluation['test']['per_class'][0], count=9, recall=.5)
  rows = [dict(row, recall=i / 40) if i < 35 else dict(row, count=0, recall=None) for i in range(43)]
  test = dict(found.evaluation['test'], per_class=rows, confusion=np.eye(43, dtype=int).tolist())
  many = dataclasses.replace(found, model=found.model | {'class_names': names},
                             evaluation=found.evaluation | {'test': test, 'class_names': names})
  text = model_card.render(many)
  assert 'The ten worst and the ten best of 35 classes that were tested' in text
  assert '| c34 |' in text and '| c42 |' not in text


def test_without_huggingface_hub_there_is_one_line(found, monkeypatch):
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  with pytest.raises(BadInput, match=r"pip install 'vit_jax\[hub\]'"):
    model_card.render(found)
