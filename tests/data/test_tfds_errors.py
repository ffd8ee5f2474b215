"""What TFDS sets are refused for, and that it is said at once, in one line, with the way out."""
import pytest
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core import community

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


def test_no_network(open_set, monkeypatch):
  for name in ('http_proxy', 'https_proxy', 'all_proxy'):
    for key in (name, name.upper()):
      monkeypatch.setenv(key, 'http://127.0.0.1:9')  # Nobody listens there.
  monkeypatch.delenv('no_proxy', raising=False)
  monkeypatch.delenv('NO_PROXY', raising=False)
  with pytest.raises(BadInput, match=r"data.name='mnist' is not in .*could not be downloaded.*configs/digits.py"):
    open_set('mnist')
