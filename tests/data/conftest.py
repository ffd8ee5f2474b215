"""Small sets on disk, written by TFDS in its own format, and the way a recipe opens them."""
import numpy as np
import pytest

from vit_jax import quiet
from vit_jax.data import load

NAMES = ('cat', 'dog', 'eel')


@pytest.fixture
def pictures():
  """pictures(n, shape, seed): n random pictures u8[h,w,c] with labels 0, 1, 2, 0, …"""
  def make(n, shape, seed=0):
    rng = np.random.default_rng(seed)
    return [{'image': rng.integers(0, 256, shape, np.uint8), 'label': i % len(NAMES)} for i in range(n)]
  return make


@pytest.fixture
def features_of():
  """features_of(shape, …): a picture, stored as lossless PNG, its class, and whatever else is given."""
  quiet.import_tensorflow()  # First, so that it is told to keep off the accelerators.
  import tensorflow_datasets as tfds
  def make(shape, **more):
    image = tfds.features.Image(shape=shape, encoding_format='png')
    return tfds.features.FeaturesDict({'image': image, 'label': tfds.features.ClassLabel(names=NAMES), **more})
  return make


@pytest.fixture
def write(tmp_path):
  """write(name, features, split=examples, …): a set on disk, each split in three shards."""
  tf = quiet.import_tensorflow()
  import tensorflow_datasets as tfds
  def write(name, features, **splits):
    spec = features.get_tensor_spec()
    stream = lambda examples: tf.data.Dataset.from_generator(lambda: iter(examples), output_signature=spec)
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name, version='1.0.0', features=features, data_dir=tmp_path / 'sets',
        split_datasets={split: stream(examples) for split, examples in splits.items()},
        download_config=tfds.download.DownloadConfig(num_shards=3))
  return write


@pytest.fixture
def open_set(tmp_path):
  """open_set(name, …): loads a set as a recipe would."""
  def open_set(name, **changes):
    options = dict(data_dir=str(tmp_path / 'sets'), cache_dir=tmp_path / 'cache', classes=(), image_size=4,
                   val_fraction=0.0)
    return load.load(name, **{**options, **changes})
  return open_set
