"""Answers against the model applied by hand; files, folders, patterns, the standard input, and broken ones."""
import csv
import io
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from vit_jax import predict
from vit_jax import predictor
from vit_jax import run
from vit_jax.errors import BadInput
from vit_jax.models import variants
from vit_jax.weights import files

ROOT = pathlib.Path(__file__).parent.parent
NAMES = ('cat', 'dög', 'eel, electric', 'fox')
SIZE = 8


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
  files.save(path, params, run.describe_model(model, NAMES, SIZE), 'made by a test')
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


def test_table_and_csv_and_standard_input(model, params, weights, folder):
  expected = by_hand(model, params, folder / '03.png')
  best = NAMES[expected.argmax()]
  table = command(weights, folder / '03.png', '--top=1').stdout.decode()
  assert table == f'{folder}/03.png  {best} {expected.max():.1%}\n'
  rows = list(csv.reader(io.StringIO(command(weights, '--csv', folder / '0[34].png').stdout.decode())))
  assert rows[0] == ['file', *(f'{what}_{i}' for i in (1, 2, 3) for what in ('class', 'probability'))]
  assert [row[0] for row in rows[1:]] == [f'{folder}/03.png', f'{folder}/04.png'] and rows[1][1] == best
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
  answered = list(predict.answers(predictor.Predictor.load(weights), found))
  assert [(name, probabilities) for name, probabilities, _ in answered] == [(str(folder / 'notes'), None)]
  assert answered[0][2] == 'not a picture that Pillow knows'


def test_find_walks_without_links_and_hidden_files(folder, tmp_path):
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a' / 'loop').symlink_to(tmp_path)
  for name in ('b.png', 'a/c.png', '.d.png'):
    (tmp_path / name).touch()
  assert [name for name, _ in predict.find([str(tmp_path)])] == [str(tmp_path / 'b.png'), str(tmp_path / 'a' / 'c.png')]
  with pytest.raises(BadInput, match='does not exist'):
    predict.find([str(tmp_path / 'none')])


def test_any_number_of_pictures(weights):
  loaded = predictor.Predictor.load(weights)
  images = np.random.default_rng(2).integers(0, 256, (130, SIZE, SIZE, 3), np.uint8)
  whole = loaded.probabilities(images)
  np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-5)
  for count in (0, 1, 64, 65):
    np.testing.assert_allclose(loaded.probabilities(images[:count]), whole[:count], atol=1e-6)
