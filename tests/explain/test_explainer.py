"""Maps of many pictures against those of one, and the runs and files that can be opened."""
import numpy as np
import pytest

from vit_jax import predictor
from vit_jax.errors import BadInput
from vit_jax.explain import attention
from vit_jax.explain import explainer
from vit_jax.models import variants

NAMES = ('cat', 'dog', 'eel')
SIZE = 8
COUNT = explainer.ANSWERED + 3  # More than one batch, the last of them padded.

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def opened(small_weights):
  return explainer.Explainer.load(small_weights)


@pytest.fixture(scope='module')
def images():
  return np.random.default_rng(1).integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)


def test_it_answers_as_the_predictor_does(small_weights, opened, images):
  expected = predictor.Predictor.load(small_weights).answer(images).probabilities
  np.testing.assert_allclose(opened.probabilities(images), expected, atol=1e-6)
  assert opened.class_names == NAMES and opened.cells == (4, 4)


def test_maps_of_many_are_those_of_each(opened, images):
  look = opened.look(images)
  assert look.rollout.shape == (COUNT, 4, 4) and look.relevance.shape == (COUNT, 2, 4, 4)
  order = np.argsort(-look.probabilities, axis=1)
  np.testing.assert_array_equal(look.classes, order[:, :2])
  for i in (0, COUNT - 1):
    one = images[i:i + 1] / 127.5 - 1
    _, maps, related = attention.attend_and_relate(opened.model, opened.params, one, look.classes[i:i + 1])
    np.testing.assert_allclose(look.rollout[i], attention.rollout_map(opened.model, maps, (4, 4))[0], rtol=1e-4)
    np.testing.assert_allclose(look.relevance[i], attention.relevance_map(opened.model, related, (4, 4))[:, 0],
                               rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(opened.attention(images[i:i + 1])[0], maps[:, 0], atol=1e-5)
  heads = opened.head_maps(images[:3])
  assert heads.shape == (3, 2, 4, 4, 4)
  np.testing.assert_allclose(heads[2, 1, 3].ravel(), opened.attention(images[2:3])[0, 1, 3].mean(axis=0), rtol=1e-5)


def test_the_mean_over_pictures_is_the_mean(opened, images):
  maps = opened.attention(images)
  assert maps.shape == (COUNT, 2, 4, 16, 16)
  np.testing.assert_allclose(opened.mean_attention(images), maps.mean(axis=0), atol=1e-6)
  far = opened.distances(opened.mean_attention(images))
  assert far.shape == (2, 4) and np.all((far > 0) & (far < SIZE * 1.5))


def test_given_classes_and_no_pictures(opened, images):
  look = opened.look(images[:2], np.array([[2], [2]]))
  assert look.relevance.shape == (2, 1, 4, 4)
  every = opened.look(images[:2], num_classes=9)
  assert every.classes.shape == (2, 3)
  np.testing.assert_allclose(every.relevance[0, list(every.classes[0]).index(2)], look.relevance[0, 0], rtol=1e-4)
  assert opened.look(images[:0]).relevance.shape == (0, 2, 4, 4)
  with pytest.raises(BadInput, match='class 3 is none of the 3 that the model knows; take 0 to 2'):
    opened.look(images[:1], [[3]])


def test_a_resnet_is_refused(save_random_weights, tmp_path):
  model = variants.build('resnet-small', num_classes=3, image_size=SIZE, stage_features=(16,), stem_channels=(16,))
  with pytest.raises(BadInput, match='a ResNet has no attention'):
    explainer.Explainer.load(save_random_weights(tmp_path / 'resnet.safetensors', model, SIZE))


def test_what_is_no_model_is_refused(tmp_path):
  with pytest.raises(BadInput, match='do not exist'):
    explainer.Explainer.load(tmp_path / 'nothing')
