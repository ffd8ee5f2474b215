"""What TFDS sets are refused for, and that it is said at once, in one line, with the way out."""
import shutil

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core import community

from vit_jax.data import tfds_features
from vit_jax.data import tfds_sets
from vit_jax.errors import BadInput


@pytest.mark.parametrize('missing', ['image', 'label'])
def test_sets_without_pictures_or_classes_list_what_they_have(missing, pictures, features_of, write, open_set):
  features = features_of((4, 4, 3), id=tfds.features.Text())
  left = tfds.features.FeaturesDict({key: features[key] for key in features if key != missing})
  example = {**pictures(1, (4, 4, 3))[0], 'id': 'a'}
  write('other', left, train=[{key: example[key] for key in left}] * 3)
  with pytest.raises(BadInput, match=r"data.name='other' has no picture with a class label; its features are") as error:
    open_set('other')
  kinds = {'image': 'Image', 'label': 'ClassLabel', 'id': 'Text'}
  assert all((f'{key} ({kind})' in str(error.value)) == (key != missing) for key, kind in kinds.items())


def test_unknown_class_and_no_pictures_of_a_class(pictures, features_of, write, open_set):
  examples = pictures(9, (4, 4, 3))
  write('tiny', features_of((4, 4, 3)), train=examples[::3], test=examples)  # train: cats only
  with pytest.raises(BadInput, match="class 'dgo' is unknown; did you mean dog"):
    open_set('tiny', classes=('cat', 'dgo'))
  with pytest.raises(BadInput, match=r"tiny has no training pictures of the classes \['dog', 'eel'\]"):
    open_set('tiny', classes=('dog', 'eel'))


@pytest.mark.parametrize('name, words', [
    ('mnits', "data.name 'mnits' is unknown; did you mean .*mnist"), ('digit', 'did you mean digits'),
    ('two words', 'two words'), ('', 'data.name'), ('cifar10:9.9.9', '9.9.9'), ('cifar10/nothing', 'nothing')])
def test_unknown_set(name, words, open_set, monkeypatch):
  # TFDS would ask for a list of community sets, for minutes where there is no network.
  monkeypatch.setattr(community, 'community_register', lambda: pytest.fail('asked the network'))
  with pytest.raises(BadInput, match=words):
    open_set(name)


@pytest.mark.parametrize('error', [requests.exceptions.ConnectionError('no route to host'), OSError('disk full'),
                                   AssertionError('Manual directory is empty'), TimeoutError()])
def test_failed_download(error, open_set, monkeypatch):
  def fail(*_, **__):
    raise error
  monkeypatch.setattr(tfds.core.DatasetBuilder, 'download_and_prepare', fail)
  with pytest.raises(BadInput, match=rf"data.name='mnist' .*{error}.*configs/digits.py"):
    open_set('mnist')


def test_no_network(open_set, no_network):
  with pytest.raises(BadInput, match=r"data.name='mnist' is not in .*could not be downloaded.*configs/digits.py"):
    open_set('mnist')


@pytest.mark.parametrize('name, namespace', [
    ('huggingface:mnist', 'huggingface'), ('huggingface:some/thing', 'huggingface'),
    ('kaggle:cats/dogs:1.0.0', 'kaggle')])
def test_sets_of_other_collections(name, namespace, open_set, monkeypatch):
  monkeypatch.setattr(community, 'community_register', lambda: pytest.fail('asked the network'))
  with pytest.raises(BadInput, match=f"data.name='{name}' belongs to '{namespace}', not to .*data.name=folder"):
    open_set(name)


IMAGE, CLASS = tfds.features.Image, tfds.features.ClassLabel
DEEP = IMAGE(shape=(4, 4, 1), dtype=np.uint16, encoding_format='png')


@pytest.mark.parametrize('features, words', [
    ({'image': DEEP, 'label': CLASS(num_classes=2)}, r'has pictures of uint16\[4, 4, 1\]; they must be of 8 bits'),
    ({'image': IMAGE(shape=(4, 4, 1), dtype=np.float32), 'label': CLASS(num_classes=2)}, r'pictures of float32\['),
    ({'image': IMAGE(shape=(4, 4, 2), encoding_format='png'), 'label': CLASS(num_classes=2)}, r'uint8\[4, 4, 2\]'),
    ({'image': IMAGE(shape=(None, 4, 4, 3)), 'label': CLASS(num_classes=2)}, r'uint8\[None, 4, 4, 3\]'),
    ({'image': {'left': IMAGE(), 'right': IMAGE()}, 'label': CLASS(num_classes=2)},
     r'its features are image/left \(Image\), image/right \(Image\), label \(ClassLabel\)$'),
    ({'video': tfds.features.Video(shape=(None, 4, 4, 3)), 'label': CLASS(num_classes=2)}, r'video \(Video\), label'),
    ({'image': IMAGE(), 'objects': tfds.features.Sequence({'label': CLASS(num_classes=2)})},
     r'image \(Image\), objects/label \(ClassLabel\)$'),
    ({'image': IMAGE(), 'label': tfds.features.Sequence(CLASS(num_classes=2))}, r'label \(Sequence\)$'),
    ({'image': IMAGE(), 'label': np.int64}, r'no picture with a class label; .*label \((Tensor|Scalar)\)$'),
    ({'image': IMAGE(), 'shape': CLASS(num_classes=2), 'color': CLASS(num_classes=3)},
     r"has shape and color, and none of them is called 'label'; its features are"),
    ({'left': IMAGE(), 'right': IMAGE(), 'label': CLASS(num_classes=2)}, "left and right, and none .* called 'image'"),
    ({'image': tfds.features.LabeledImage(shape=(4, 4, 1), labels=2), 'label': CLASS(num_classes=2)},
     r'no picture .*image \(LabeledImage\)'),
    ({'image': IMAGE(), 'label': CLASS()}, "does not say which classes its 'label' has"),
    ({f'f{i}': np.int64 for i in range(30)}, r'f19 \(\w+\) and more$'),
], ids=['16 bits', 'float', '2 channels', 'animation', 'nested', 'video', 'label in a sequence', 'many labels',
        'number', 'two labels', 'two pictures', 'segmentation', 'no classes', 'long'])
def test_features_that_are_no_picture_with_one_class(features, words):
  with pytest.raises(BadInput, match=words) as error:
    tfds_features.find_keys('odd', tfds.features.FeaturesDict(features))
  assert str(error.value).startswith("data.name='odd' ") and '\n' not in str(error.value)


def test_features_that_are_no_dict():
  with pytest.raises(BadInput, match=r'its features are \(Tensor\)$'):
    tfds_features.find_keys('odd', tfds.features.Tensor(shape=(), dtype=np.int64))


def test_pictures_of_16_bits_on_disk(write, open_set):
  features = tfds.features.FeaturesDict({'image': DEEP, 'label': CLASS(num_classes=2)})
  write('deep', features, train=[{'image': np.full((4, 4, 1), 40_000, np.uint16), 'label': 1}] * 3)
  with pytest.raises(BadInput, match=r"data.name='deep' has pictures of uint16"):
    open_set('deep')


def test_a_set_that_tfds_mocks(open_set):
  with tfds.testing.mock_data(num_examples=3), pytest.raises(
      BadInput, match=r"data.name='coco/2017' has no picture with a class label; .*objects/label \(ClassLabel\)"):
    open_set('coco/2017')


def test_a_set_without_training_pictures(pictures, features_of, write, open_set):
  write('odd', features_of((4, 4, 3)), test=pictures(3, (4, 4, 3)), extra=pictures(3, (4, 4, 3)))
  with pytest.raises(BadInput, match=r"data.name='odd' has no split train; it has (test, extra|extra, test)$"):
    open_set('odd')


@pytest.mark.parametrize('damage', ['cut off', 'metadata'])
def test_a_set_that_is_damaged_on_disk(damage, pictures, features_of, write, open_set, tmp_path):
  write('tiny', features_of((4, 4, 3)), train=pictures(30, (4, 4, 3)))
  folder = tmp_path / 'sets/tiny/1.0.0'
  file = folder / 'dataset_info.json' if damage == 'metadata' else next(folder.glob('*train.tfrecord*'))
  file.write_bytes(file.read_bytes()[:-20])
  words = f'{folder} holds something that cannot be read .*delete' if damage == 'cut off' else "'tiny' cannot be opened"
  with pytest.raises(BadInput, match=words):
    open_set('tiny')
  assert list((tmp_path / 'cache/pictures').iterdir()) == []


def test_pictures_that_do_not_fit_on_the_disk(pictures, features_of, write, open_set, monkeypatch):
  write('tiny', features_of((4, 4, 3)), train=pictures(30, (4, 4, 3)))
  usage = shutil.disk_usage('.')
  monkeypatch.setattr(tfds_sets.shutil, 'disk_usage', lambda _: usage._replace(free=30 * 48 - 1))
  with pytest.raises(BadInput, match=r'the decoded pictures take 0.0 GB, .* --cache_dir='):
    open_set('tiny')
  monkeypatch.setattr(tfds_sets.shutil, 'disk_usage', lambda _: usage._replace(free=30 * 48))
  assert open_set('tiny').train.images.shape[0] == 30
