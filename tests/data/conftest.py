"""Small sets on disk, written by TFDS in its own format or packed as theirs, and the way a recipe opens them."""
import io
import zipfile

import numpy as np
from PIL import Image
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


@pytest.fixture
def no_network(monkeypatch):
  """Every download fails at once, as on a machine that is not connected."""
  for name in ('http_proxy', 'https_proxy', 'all_proxy'):
    for key in (name, name.upper()):
      monkeypatch.setenv(key, 'http://127.0.0.1:9')  # Nobody listens there.
  monkeypatch.delenv('no_proxy', raising=False)
  monkeypatch.delenv('NO_PROXY', raising=False)


def smooth(seed):
  """Pixels u8[64,64,4] that JPEG keeps well: slow waves, different in each channel and for each seed."""
  y, x, c = np.mgrid[:64, :64, :4]
  return np.round(127.5 + 120 * np.sin(y / 20 + c + seed) * np.cos(x / 25 - c)).astype(np.uint8)


def jpeg(pixels, mode):
  """Encodes the channels that a mode of Pillow's needs."""
  file = io.BytesIO()
  planes = [Image.fromarray(np.ascontiguousarray(pixels[..., i])) for i in range(len(mode))]
  Image.merge(mode, planes).save(file, 'jpeg', quality=95)
  return file.getvalue()


@pytest.fixture(scope='session')
def tiny_imagenet_files():
  """What Tiny ImageNet's archive holds, with 2 + 1 pictures for each of its 200 classes: {member: bytes}.

  The first of them are grey or CMYK. Labels say the WordNet ids in a file of their own, as in the real one.
  """
  from vit_jax.data import tiny_imagenet
  names, root, files, lines = tiny_imagenet.class_names(), 'tiny-imagenet-200', {}, []
  modes = {0: 'L', 1: 'CMYK', 2: 'CMYK'}
  for label, wordnet_id in enumerate(names):
    for number in range(2):
      picture = jpeg(smooth(2 * label + number), modes.get(2 * label + number, 'RGB'))
      files[f'{root}/train/{wordnet_id}/images/{wordnet_id}_{number}.JPEG'] = picture
    files[f'{root}/train/{wordnet_id}/{wordnet_id}_boxes.txt'] = b'left out'
  # The validation pictures come in another order than the classes.
  for number, wordnet_id in enumerate(reversed(names)):
    files[f'{root}/val/images/val_{number}.JPEG'] = jpeg(smooth(1000 + number), 'L' if number == 7 else 'RGB')
    lines.append(f'val_{number}.JPEG\t{wordnet_id}\t0\t1\t62\t63\n')
  files[f'{root}/val/val_annotations.txt'] = ''.join(lines).encode()
  files[f'{root}/test/images/test_0.JPEG'] = jpeg(smooth(5000), 'RGB')
  files[f'{root}/wnids.txt'] = '\n'.join(reversed(names)).encode()
  files[f'{root}/words.txt'] = ''.join(f'{key}\t{name}, and so on\n' for key, name in names.items()).encode()
  return files


@pytest.fixture
def pack(tmp_path, monkeypatch):
  """pack(files): puts {member: bytes} as Tiny ImageNet's archive where TFDS keeps manual downloads: -> its path."""
  from vit_jax.data import tiny_imagenet
  monkeypatch.setattr(tiny_imagenet, 'COUNTS', {'train': 2, 'validation': 1})
  def pack(files):
    path = tmp_path / 'sets/downloads/manual/tiny-imagenet-200.zip'
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, 'w') as archive:
      for name, data in files.items():
        archive.writestr(name, data)
    return path
  return pack
