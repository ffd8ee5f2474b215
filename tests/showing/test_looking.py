"""What the demo asks of a model, against the modules that answer one thing each."""
import io
import types

import numpy as np
from PIL import Image
import pytest

from vit_jax.data import picture
from vit_jax.errors import BadInput
from vit_jax.explain import faithfulness
from vit_jax.models import variants
from vit_jax.showing import looking

NAMES = ('cat', 'dog', 'eel')
SIZE = 8

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def looker(small_weights, tmp_path_factory):
  return looking.Looker.load(small_weights, tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def data():
  pixels = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, 'PNG')
  return file.getvalue()


def test_a_picture_is_answered_as_the_predictor_does(looker, data):
  seen = looker.see(data)
  expected = looker.predictor.answer(np.asarray(Image.open(io.BytesIO(data)))[None])
  np.testing.assert_allclose(seen.probabilities, expected.probabilities[0], atol=1e-6)
  assert seen.best == expected.probabilities[0].argmax() and seen.known
  with pytest.raises(picture.Unreadable, match='not a picture'):
    looker.see(b'GIF87b')


def test_covering_is_occlusion(looker, data):
  seen = looker.see(data)
  answer = lambda images: looker.predictor.answer(images).probabilities
  expected = faithfulness.occlusion_maps(answer, seen.image[None], np.array([seen.best]), (8, 8))[0]
  found = looker.map(seen, looking.COVERING)
  assert found.shape == (8, 8) and np.ptp(expected) > 1e-3
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_other_maps_are_the_explainers(looker, data):
  seen, opened = looker.see(data), looker.explainer
  look = opened.look(seen.image[None], num_classes=1)
  assert look.classes[0, 0] == seen.best
  np.testing.assert_allclose(looker.map(seen, looking.RELEVANCE), look.relevance[0, 0], rtol=1e-3, atol=1e-6)
  heads = opened.head_maps(seen.image[None])[0]
  layers, count = looker.layers_and_heads
  assert heads.shape[:2] == (layers, count) == (2, 4)
  for layer, head in ((0, 0), (1, 3), (0, 2)):
    np.testing.assert_allclose(looker.map(seen, looking.HEAD, layer, head), heads[layer, head], rtol=1e-4)


def test_weights_in_a_file_have_no_pictures_and_say_so(small_weights, looker, data):
  assert looker.no_memory.startswith('w.safetensors knows no training pictures')
  assert str(small_weights) not in looker.no_memory
  assert looker.nearest(looker.see(data)) == []


def test_the_nearest_pictures_have_names_and_distances(looker, data):
  pictures = np.arange(20, dtype=np.uint8)[:, None, None, None] + np.zeros((1, SIZE, SIZE, 3), np.uint8)
  memory = types.SimpleNamespace(
      nearest=lambda features, k: (np.array([[7, 3]]), np.array([[.25, .5]], np.float32)),
      training_pictures=lambda positions: (pictures[positions], [f'class {i}' for i in positions]))
  found = looking.Looker(memory, None, '').nearest(looker.see(data))
  assert [(int(image[0, 0, 0]), name, distance) for image, name, distance in found] == [
      (7, 'class 7', .25), (3, 'class 3', .5)]


def test_a_resnet_is_shown_by_covering_alone(save_random_weights, tmp_path, data):
  model = variants.build('resnet-small', num_classes=3, image_size=SIZE, stage_features=(16,), stem_channels=(16,))
  looker = looking.Looker.load(save_random_weights(tmp_path / 'resnet.safetensors', model, SIZE), tmp_path)
  looker.warm_up()
  seen = looker.see(data)
  assert looker.layers_and_heads == (0, 0) and looker.map(seen, looking.COVERING).shape == (8, 8)
  for kind in (looking.RELEVANCE, looking.HEAD, 'none such'):
    with pytest.raises(BadInput, match='without attention'):
      looker.map(seen, kind)


@pytest.mark.parametrize(('size', 'expected'), [(8, 8), (28, 7), (32, 8), (224, 8), (33, 3), (11, 1), (1, 1)])
def test_squares_divide_the_picture(size, expected):
  assert looking.squares(size) == expected
