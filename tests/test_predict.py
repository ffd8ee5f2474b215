"""Answers against the model applied by hand; files, folders, patterns, the standard input, and broken ones.

The weights are bare unless a test says that they are calibrated.
"""
import csv
import io
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from vit_jax import calibration
from vit_jax import predict
from vit_jax import predictor
from vit_jax.errors import BadInput
from vit_jax.models import described
from vit_jax.models import variants
from vit_jax.weights import files

ROOT = pathlib.Path(__file__).parent.parent
NAMES = ('cat', 'dög', 'eel, electric', 'fox')
SIZE = 8

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def model():
  return variants.build('small-digits', num_classes=4, image_size=SIZE, hidden_size=16, mlp_dim=32, num_layers=1)


@pytest.fixture(scope='module')
def params(model):
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)), train=False))['params']
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda leaf: rng.normal(0, .5, leaf.shape).astype(np.float32), shapes)


@pytest.fixture(scope='module')
def weights(model, params, tmp_path_factory):
  path = tmp_path_factory.mktemp('weights') / 'w.safetensors'
  files.save(path, params, described.describe(model, NAMES, SIZE), 'made by a test')
  return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Seventy pictures in a folder and one in a folder of it, more than a batch; a broken one, a text, a hidden one."""
  root = tmp_path_factory.mktemp('pictures')
  (root / 'more').mkdir()
  rng = np.random.default_rng(1)
  for i in range(71):
    pixels = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    Image.fromarray(pixels).save(root / ('more' if i == 70 else '.') / f'{i:02d}.png')
  (root / 'broken.png').write_bytes(b'\x89PNG')
  (root / 'notes').write_text('not a picture, and not called one')
  (root / '.hidden.png').write_bytes((root / '00.png').read_bytes())
  return root


def command(*arguments, stdin=None):
  return subprocess.run([sys.executable, '-m', 'vit_jax.predict', *map(str, arguments)], cwd=ROOT, input=stdin,
                        capture_output=True, check=False)


def by_hand(model, params, path):
  image = np.asarray(Image.open(path), np.float32)[None] / 127.5 - 1
  logits = np.asarray(model.apply({'params': params}, image, train=False), np.float64)[0]
  return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


def test_a_folder_as_json_in_order_and_as_computed_by_hand(model, params, weights, folder):
  done = command(weights, folder, '--json', '--top=2')
  assert done.returncode == 1
  assert done.stderr.decode().startswith(f'unreadable: {folder}/broken.png (')
  lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
  assert [line['file'] for line in lines] == [str(folder / f'{i:02d}.png') for i in range(70)] + [
      str(folder / 'more' / '70.png')]
  for line in lines:
    expected = by_hand(model, params, line['file'])
    order = np.argsort(-expected)[:2]
    assert [entry['class'] for entry in line['top']] == [NAMES[i] for i in order]
    np.testing.assert_allclose([entry['probability'] for entry in line['top']], expected[order], atol=2e-6)
    assert line['known'] is True and line.keys() == {'file', 'top', 'known'}  # Nobody can say: they are bare.


def test_table_and_csv_and_standard_input(model, params, weights, folder):
  expected = by_hand(model, params, folder / '03.png')
  best = NAMES[expected.argmax()]
  done = command(weights, folder / '03.png', '--top=1')
  table = done.stdout.decode()
  assert done.stderr.decode() == f'note: {weights} cannot tell when a picture is of none of its classes\n'
  assert table == f'{folder}/03.png  {best} {expected.max():.1%}\n'
  rows = list(csv.reader(io.StringIO(command(weights, '--csv', folder / '0[34].png').stdout.decode())))
  assert rows[0] == ['file', 'known', *(f'{what}_{i}' for i in (1, 2, 3) for what in ('class', 'probability'))]
  assert [row[0] for row in rows[1:]] == [f'{folder}/03.png', f'{folder}/04.png']
  assert rows[1][1:3] == ['true', best]
  from_stdin = command(weights, '-', '--top=1', stdin=(folder / '03.png').read_bytes())
  assert from_stdin.stdout.decode().split(maxsplit=1)[1] == table.split(maxsplit=1)[1]
  assert from_stdin.returncode == 0


@pytest.mark.parametrize(('arguments', 'message'), [
    ([], 'name the weights'), (['{w}'], 'name the weights'), (['{w}', 'no_such.png'], 'no_such.png does not exist'),
    (['{w}', 'no_such_*.png'], 'no_such_*.png does not exist'),
    (['no_such_run/', '{f}'], "weights 'no_such_run/' do not exist"),
    (['{f}', '{f}'], 'is not a run of vit_jax'), (['{w}', '{f}', '--json', '--csv'], 'two formats'),
    (['{w}', '{f}/notes', '--top=0'], '--top'),
])
def test_a_mistake_is_one_line(weights, folder, arguments, message):
  done = command(*(argument.format(w=weights, f=folder) for argument in arguments))
  assert done.returncode == 2
  assert done.stderr.decode().startswith('error: ') and done.stderr.count(b'\n') == 1
  assert message in done.stderr.decode()


def test_files_that_are_named_are_listed_whatever_they_are_called(weights, folder):
  found = predict.find([str(folder / 'notes')])
  asked = predictor.Predictor.load(weights)
  assert list(predict.answers(asked, found)) == [
      predict.Answer(str(folder / 'notes'), 'not a picture that Pillow knows')]
  assert list(predict.answers(asked, [(str(folder / 'notes'), False)])) == [predict.Answer(str(folder / 'notes'))]


def test_find_walks_without_hidden_files_and_not_in_circles(folder, tmp_path):
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a' / 'loop').symlink_to(tmp_path)
  for name in ('b.png', 'a/c.png', '.d.png'):
    (tmp_path / name).touch()
  assert [name for name, _ in predict.find([str(tmp_path)])] == [str(tmp_path / 'b.png'), str(tmp_path / 'a' / 'c.png')]
  # Through the loop ** finds each file some forty times.
  assert [pathlib.Path(name).name for name, _ in predict.find([str(tmp_path / '**' / '*.png')])] == ['c.png', 'b.png']
  (tmp_path / '.#b.png').symlink_to('gone')  # As Emacs locks a file.
  assert len(predict.find([str(tmp_path)])) == 2
  (tmp_path / '.#b.png').unlink()
  (tmp_path / 'a.png').symlink_to('gone')
  assert [pathlib.Path(name).name for name, _ in predict.find([str(tmp_path / '*.png')])] == ['a.png', 'b.png']
  for name in ('none', 'a.png', 'none*'):
    with pytest.raises(BadInput, match='does not exist'):
      predict.find([str(tmp_path / name)])


def test_any_number_of_pictures(weights):
  loaded = predictor.Predictor.load(weights)
  images = np.random.default_rng(2).integers(0, 256, (130, SIZE, SIZE, 3), np.uint8)
  whole = loaded.answer(images).probabilities
  np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-5)
  for count in (0, 1, 64, 65):
    np.testing.assert_allclose(loaded.answer(images[:count]).probabilities, whole[:count], atol=1e-6)


def calibrated(model, params, images):
  """A calibration.Calibration whose one mean is the features' of images[0], f32[N,S,S,3]; the rest is plain."""
  logits, seen = model.apply({'params': params}, images, train=False, capture_intermediates=True,
                             mutable='intermediates')
  encoder = seen['intermediates']['Transformer']
  last, read = (np.asarray(encoder[name]['__call__'][0]) for name in ('encoderblock_0', 'encoder_norm'))
  features = np.concatenate([read.mean(axis=1), last.mean(axis=1), last.std(axis=1)], axis=1)
  away = np.linalg.norm(features - features[0], axis=1)
  return calibration.Calibration(3.0, float(np.median(away)), features[:1], np.eye(features.shape[1], dtype=np.float32),
                                 calibration.unit(features[:, :16]).astype(np.float16), np.arange(8, dtype=np.int32)
                                 ), np.asarray(logits, np.float64), away


def test_calibrated_weights_are_as_sure_as_they_may_be_and_know_what_they_do_not(model, params, tmp_path, folder):
  images = np.stack([np.asarray(Image.open(folder / f'{i:02d}.png'), np.float32) for i in range(8)]) / 127.5 - 1
  made, logits, away = calibrated(model, params, images)
  path = tmp_path / 'w.safetensors'
  files.save(path, params, described.describe(model, NAMES, SIZE), '', calibrated=made)
  done = command(path, '--json', '--top=1', folder / '0[0-7].png')
  lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
  soft = np.exp(logits / 3) / np.exp(logits / 3).sum(-1, keepdims=True)
  np.testing.assert_allclose([line['top'][0]['probability'] for line in lines], soft.max(-1), atol=2e-6)
  assert [line['known'] for line in lines] == list(away <= np.median(away)) and len(lines) == 8
  done = command(path, folder / '0[0-7].png')
  table = done.stdout.decode().splitlines()
  assert ['none of these?' in line for line in table] == [not line['known'] for line in lines]
  assert not done.stderr
  # Exported weights name no training pictures.
  asked = predictor.Predictor.load(path)
  assert asked.calibrated and asked.can_tell and not asked.remembers
  for ask in (lambda: asked.nearest(np.zeros((1, 48)), 2), lambda: asked.training_pictures([0])):
    with pytest.raises(BadInput, match='training pictures'):
      ask()


def test_a_calibration_of_another_model_is_refused(model, params, tmp_path):
  made = calibration.Calibration(1.0, 2.0, np.zeros((1, 5), np.float32), np.eye(5, dtype=np.float32))
  files.save(tmp_path / 'w.safetensors', params, described.describe(model, NAMES, SIZE), '', calibrated=made)
  with pytest.raises(BadInput, match=r'w.safetensors is of another model \(means of 5 numbers, not 48\)'):
    predictor.Predictor.load(tmp_path / 'w.safetensors')


@pytest.mark.filterwarnings('ignore:Image size')  # As the command does.
def test_odd_files_are_listed_or_answered_and_the_rest_too(weights, tmp_path, folder):
  good = Image.open(folder / '03.png')
  good.save(tmp_path / 'animated.gif', save_all=True, append_images=[good.rotate(90), good.rotate(180)])
  Image.new('L', (12_000, 8_000)).save(tmp_path / 'huge.png')
  (tmp_path / 'nothing.jpg').touch()
  (tmp_path / 'text.jpg').write_text('a letter')
  good.save(tmp_path / 'whole.png')
  found = list(predict.answers(predictor.Predictor.load(weights), predict.find([str(tmp_path)])))
  assert {pathlib.Path(one.name).name: (one.why or '')[:22] for one in found} == {
      'animated.gif': '', 'huge.png': '12000×8000 are more th', 'nothing.jpg': 'not a picture that Pil',
      'text.jpg': 'not a picture that Pil', 'whole.png': ''}
  np.testing.assert_array_equal(found[4].image, np.asarray(good))
  np.testing.assert_allclose(found[0].image, np.asarray(good), atol=60)  # Its first frame, in 256 colours.


def test_explanations_are_written_beside_the_answers_and_not_explained_again(weights, tmp_path, folder):
  for name in ('03.png', '04.png'):
    (tmp_path / name).write_bytes((folder / name).read_bytes())
  (tmp_path / '05.png').symlink_to('05.png')  # A loop, which is not there.
  (tmp_path / 'why').mkdir()
  (tmp_path / 'why' / '03.png').write_bytes((folder / '05.png').read_bytes())
  done = command(weights, tmp_path, '--json', '--explain', f'--explain_dir={tmp_path}/why')
  assert [json.loads(line)['file'] for line in done.stdout.splitlines()] == [
      str(tmp_path / name) for name in ('03.png', '04.png')]
  explained = done.stderr.decode().splitlines()
  assert done.returncode == 1 and len(explained) == 2 and '05.png' in explained[0]
  assert explained[1].startswith(f'explained: {tmp_path}/why/, without the nearest training pictures: {weights}')
  assert sorted(path.name for path in (tmp_path / 'why').iterdir()) == ['03-2.png', '03.png', '04.png']
  assert (tmp_path / 'why' / '03.png').read_bytes() == (folder / '05.png').read_bytes()


@pytest.mark.parametrize(('damage', 'message'), [
    ({'sizes': {'depth': 3}}, 'describes no model of this version of vit_jax'),
    ({'sizes': None}, 'describes no model of this version of vit_jax'),
    ({'preprocessing': {}}, 'describes no model of this version of vit_jax'),
    ({'written_by_a_newer_version': 7}, 'is a run without its checkpoints/; copy that folder too'),
    (None, 'is not a run of vit_jax: model.json is missing'), ('{"sizes"', 'model.json is damaged')])
def test_half_a_run_or_one_of_another_version_is_one_line(model, tmp_path, damage, message):
  description = described.describe(model, NAMES, SIZE)
  if damage is not None:
    text = damage if isinstance(damage, str) else json.dumps(description | damage)
    (tmp_path / 'model.json').write_text(text)
  with pytest.raises(BadInput, match=message) as error:
    predictor.Predictor.load(tmp_path)
  assert '\n' not in str(error.value) and not (tmp_path / 'checkpoints').exists()


def test_a_run_whose_checkpoints_are_empty_is_one_line(model, tmp_path):
  (tmp_path / 'model.json').write_text(json.dumps(described.describe(model, NAMES, SIZE)))
  (tmp_path / 'checkpoints').mkdir()
  with pytest.raises(BadInput, match='holds no checkpoint that is whole'):
    predictor.Predictor.load(tmp_path)


@pytest.mark.skipif(sys.platform != 'linux', reason='names are UTF-8 or refused here')
def test_names_that_are_not_utf8_are_answered_with_the_rest(weights, tmp_path, folder):
  odd = os.fsdecode(b'K\xe4tzchen.png')
  for name in (odd, 'Zebra.png'):
    (tmp_path / name).write_bytes((folder / '03.png').read_bytes())
  lines = command(weights, tmp_path, '--json').stdout.decode().splitlines()
  assert [json.loads(line)['file'] for line in lines] == [f'{tmp_path}/{odd}', f'{tmp_path}/Zebra.png']
  assert command(weights, tmp_path / odd).returncode == 0


def test_weights_that_were_trained_in_bfloat16_answer_in_float32(model, params, weights, tmp_path, folder):
  about = described.describe(model, NAMES, SIZE) | {'dtype': 'bfloat16'}
  files.save(tmp_path / 'w.safetensors', params, about, 'made by a test')
  images = np.stack([np.asarray(Image.open(folder / f'0{i}.png')) for i in range(4)])
  of = lambda path: predictor.Predictor.load(path).answer(images).probabilities
  np.testing.assert_array_equal(of(tmp_path / 'w.safetensors'), of(weights))
