"""What a report finds, against the model asked by hand; and what it says of what it cannot find."""
import dataclasses
import hashlib
import json
import shutil

import jax
import numpy as np
import pytest

from vit_jax.data import digits
from vit_jax.data import source
from vit_jax.errors import BadInput
from vit_jax.explain import explainer
from vit_jax.models import described
from vit_jax.models import variants
from vit_jax.reporting import findings
from vit_jax.reporting import looks
from vit_jax.weights import files


@pytest.fixture
def copy(run_folder, found, tmp_path):
  """A copy of the run, evaluated, to be changed."""
  return shutil.copytree(run_folder, tmp_path / 'copy')


def gather(path, **options):
  lines = []
  return findings.gather(path, cache_dir=path.parent / 'cache', say=lines.append, **options), lines


@pytest.fixture(scope='module')
def by_hand(run_folder):
  """The test part's pictures and labels, and the probabilities of the run's model."""
  test = digits.load(classes=(), image_size=8, val_fraction=0.1).test
  batch = test.read(np.arange(len(test)))
  return batch['image'], batch['label'], explainer.Explainer.load(run_folder).probabilities(batch['image'])


def test_it_evaluates_once(found, said, copy):
  assert any('evaluating' in line for line in said)
  again, lines = gather(copy, whole=False)
  assert not any('evaluating' in line for line in lines)
  assert again.evaluation == json.loads((copy / 'evaluation.json').read_text())
  np.testing.assert_array_equal(again.logits, found.logits)


@pytest.mark.parametrize('change', [
    lambda evaluation: evaluation | {'step': 1},
    lambda evaluation: {key: value for key, value in evaluation.items() if key != 'calibrated'}])
def test_an_evaluation_of_other_weights_or_an_old_one_is_made_anew(copy, monkeypatch, change):
  path = copy / 'evaluation.json'
  right = json.loads(path.read_text())
  path.write_text(json.dumps(change(right)))
  # The evaluation itself has its own tests.
  monkeypatch.setattr(findings.assess, 'assess', lambda folder, cache_dir: right)
  again, lines = gather(copy, whole=False)
  assert any('evaluating' in line for line in lines) and again.evaluation == right


@pytest.mark.parametrize('text', [b'', b'PK\3\4 and nothing', b'no numbers'])
def test_predictions_that_are_damaged_are_made_anew(copy, monkeypatch, text):
  path = copy / 'predictions.npz'
  right = path.read_bytes()
  path.write_bytes(text)
  found = json.loads((copy / 'evaluation.json').read_text())
  monkeypatch.setattr(findings.assess, 'assess', lambda folder, cache_dir: path.write_bytes(right) and found)
  again, lines = gather(copy, whole=False)
  assert any('evaluating' in line for line in lines) and again.evaluation == found and len(again.logits)


def test_predictions_of_another_step_than_the_evaluation_are_made_anew(copy, monkeypatch):
  path, found = copy / 'predictions.npz', json.loads((copy / 'evaluation.json').read_text())
  right = path.read_bytes()
  with np.load(path) as arrays:
    np.savez(path, **dict(arrays) | {'step': found['step'] - 1})
  monkeypatch.setattr(findings.assess, 'assess', lambda folder, cache_dir: path.write_bytes(right) and found)
  _, lines = gather(copy, whole=False)
  assert any('evaluating' in line for line in lines)


def test_galleries_are_the_surest_mistakes_and_the_least_certain(found, by_hand):
  images, labels, probabilities = by_hand
  answers, highest = probabilities.argmax(axis=1), probabilities.max(axis=1)
  assert found.wrong and all(one.answer != one.label for one in found.wrong)
  for gallery, pool in ((found.wrong, highest[answers != labels]), (found.unsure, -highest)):
    sign = 1 if gallery is found.wrong else -1
    best = np.sort(pool)[::-1][:findings.GALLERY]
    np.testing.assert_allclose([sign * one.probability for one in gallery], best, atol=1e-4)
  for one in (*found.wrong, *found.unsure):
    np.testing.assert_array_equal(one.image, images[one.index])
    assert one.label == labels[one.index] and one.answer == answers[one.index]
    assert one.of_label == pytest.approx(probabilities[one.index, one.label], abs=1e-4)


def test_maps_are_of_right_and_wrong_answers(found, run_folder, by_hand):
  looked = found.looks
  right = np.array(looked.labels) == looked.answers
  assert right.sum() == looks.SHOWN and (~right).sum() == looks.SHOWN
  seen = explainer.Explainer.load(run_folder).look(looked.images, np.array(looked.answers)[:, None])
  np.testing.assert_allclose(looked.maps['relevance'], seen.relevance[:, 0], rtol=1e-3, atol=1e-6)
  np.testing.assert_allclose(looked.maps['rollout'], seen.rollout, rtol=1e-3, atol=1e-6)
  # Occlusion by hand: one patch of one picture is made grey.
  picture = looked.images[0].copy()
  picture[2:4, 4:6] = 128
  answer = explainer.Explainer.load(run_folder).probabilities(np.stack([looked.images[0], picture]))
  drop = answer[0, looked.answers[0]] - answer[1, looked.answers[0]]
  assert looked.maps['occlusion'][0, 1, 2] == pytest.approx(drop, abs=1e-5)
  assert looked.measured == looks.MEASURED and {name for name, _ in looked.faith} == set(looked.maps)
  assert looked.distances.shape == (1, 2) and looked.similarity.shape == (4, 4, 4, 4)


def test_a_run_without_a_checkpoint_says_so(copy):
  shutil.rmtree(copy / 'checkpoints')
  (copy / 'result.json').unlink()
  without, _ = gather(copy)
  assert without.evaluation is None and without.wrong is None and without.looks is None and not without.finished
  assert 'has no checkpoint yet' in without.missing['test'] and without.missing['pictures'] == without.missing['test']
  assert without.step == without.lines[-1]['step'] and without.total_steps == without.lines[-1]['step']


def test_pictures_that_are_gone_leave_the_numbers(copy):
  data = json.loads((copy / 'data.json').read_text())
  data['counts']['test'][0] += 1
  (copy / 'data.json').write_text(json.dumps(data))
  without, _ = gather(copy)
  assert without.evaluation and without.wrong is None
  assert 'the pictures have changed' in without.missing['pictures'] and 'test' not in without.missing


def test_a_folder_that_is_half_a_run_is_refused(copy):
  (copy / 'model.json').unlink()
  with pytest.raises(BadInput, match=r'model\.json is missing'):
    gather(copy)


def test_a_model_without_attention_is_occluded_only(tmp_path):
  model = variants.build('resnet-small', num_classes=2).clone(stage_features=(16,), stem_channels=(16,))
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda leaf: rng.normal(0, .3, leaf.shape).astype(np.float32),
                        variants.abstract_params(model, 8))
  files.save(tmp_path / 'w.safetensors', params, described.describe(model, ('a', 'b'), 8), 'made by a test')
  test = source.Source.whole(rng.integers(0, 256, (12, 8, 8, 3), np.uint8), np.arange(12, dtype=np.int32) % 2)
  found = looks.look(tmp_path / 'w.safetensors', test, np.zeros(12, np.int32), test.labels, flops=1e5)
  assert list(found.maps) == ['occlusion'] and found.maps['occlusion'].shape == (6, 8, 8) and found.measured == 12
  assert found.filters is None and any('ResNet has no attention' in note for note in found.notes)


def test_a_model_that_is_too_big_is_not_tried_patch_by_patch(run_folder, found, monkeypatch):
  monkeypatch.setattr(looks, 'BUDGET', 1e5)
  test = digits.load(classes=(), image_size=8, val_fraction=0.1).test
  few = looks.look(run_folder, test, found.logits.argmax(axis=1), found.labels, found.flops)
  assert set(few.maps) == {'relevance', 'rollout'} and not few.faith
  assert any('occlusion' in note for note in few.notes) and any('not measured' in note for note in few.notes)


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(labels=np.zeros(5, int)), 'one has 359 pictures, the other 5'),
    (dict(labels=np.zeros(359, int)), 'their labels differ'),
    (dict(model={'class_names': ['a']}), 'their classes differ'),
    (dict(data={'fingerprint': 'x'}), 'the files in their folders differ'),
    (dict(evaluation=None, missing={'test': 'it has no checkpoint'}), 'cannot be compared: it has no checkpoint')])
def test_runs_with_other_test_parts_cannot_be_compared(found, changes, message):
  first = dataclasses.replace(found, data={'fingerprint': 'y'})
  findings.check_comparable(first, first)
  with pytest.raises(BadInput) as error:
    findings.check_comparable(first, dataclasses.replace(first, **changes))
  assert message in str(error.value)


def test_other_training_pictures_are_no_other_test_part(found):
  one = lambda fingerprint, of_test: dataclasses.replace(
      found, data={'fingerprint': fingerprint, 'test_fingerprint': of_test})
  findings.check_comparable(one('x', 't'), one('y', 't'))
  with pytest.raises(BadInput, match='the files in their folders differ'):
    findings.check_comparable(one('x', 't'), one('x', 'u'))


def test_that_is_seen_before_the_pictures_are_looked_at(found, copy):
  other = dataclasses.replace(found, labels=found.labels[1:])
  with pytest.raises(BadInput, match='one has 359 pictures, the other 358'):
    gather(copy, against=[other])


def test_the_digest_is_of_pixels_and_labels():
  rng = np.random.default_rng(0)
  images, labels = rng.integers(0, 256, (1003, 2, 2, 3), np.uint8), np.zeros(1003, np.int32)
  first = findings.digest(source.Source.whole(images, labels))
  assert first == hashlib.sha256(labels.astype(np.int64).tobytes() + images.tobytes()).hexdigest()
