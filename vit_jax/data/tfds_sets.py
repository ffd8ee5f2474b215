"""Any image set of TensorFlow Datasets -> a DataSet of decoded pixels.

Pictures are decoded once, to one size, into a folder of the cache: N·S·S·3 bytes on disk, 1.35 GB for Tiny ImageNet's
110,000 pictures of 64×64. Training reads rows of that file (pixel_file.py). What has been read stays in RAM as long as
nobody else needs that RAM (the page cache, shared by all processes that read the file); the process holds a batch.
The folder also holds what else a start needs to know, so that a second start does not import TFDS, and of the set
looks at the dates of its dataset_info.json alone: a set that was made anew is decoded anew. The cache can be deleted
at any time.
"""
import json
import os
import pathlib
import re
import shutil
import sys
import types

from absl import logging
import numpy as np

from vit_jax import paths
from vit_jax import progress
from vit_jax import quiet
from vit_jax.data import cache
from vit_jax.data import pixel_file
from vit_jax.data import source
from vit_jax.data import tfds_features
from vit_jax.errors import BadInput
from vit_jax.errors import choose
from vit_jax.errors import one_line

# For sets that come in one piece: this share of each class is the test part, by `held_out`'s fixed rule.
TEST_FRACTION = 0.2
# The splits that are used, where a set has them; whatever else it has is never read.
SPLITS = ('train', 'validation', 'test')


def load(name, *, data_dir, cache_dir, classes, image_size, val_fraction):
  """Reads the TFDS set `name` as a DataSet of u8[N,S,S,3], downloading it where it is not on disk.

  The test part is the set's labelled 'test' split, else 'validation', else a fixed share of 'train'. The
  validation part is the set's own where it has both, else held out of train by a fixed rule. Raises BadInput
  for unknown names and classes, sets without pictures and labels, and where the set can't be downloaded.
  """
  splits, class_names = opened(name, data_dir, cache_dir, classes, image_size)
  train = splits['train']
  others = {split: splits[split] for split in ('test', 'validation') if len(splits.get(split, ()))}
  if not len(train):
    raise BadInput(f'{name} has no training pictures of the classes {list(class_names)}')
  if others:
    test = others.get('test', others.get('validation'))
  else:
    rest, held = source.held_out(train.labels, TEST_FRACTION)
    train, test = train.take(rest), train.take(held)
  if len(others) == 2 and val_fraction:
    validation = others['validation']
  else:
    kept, held = source.held_out(train.labels, val_fraction)
    validation = train.take(held)
    train = train.take(kept) if len(held) else train
  return source.DataSet(name, class_names, train, validation, test)


def opened(name, data_dir, cache_dir, classes, image_size):
  """The decoded pixels of a set's splits, decoded now where they are not in the cache: -> ({split: Source}, names)."""
  # Only a set that is not where it should be has to be asked for where it is.
  builder = None if made(name, data_dir) else prepared_builder(name, data_dir)
  when = made(name, data_dir) or made_at(pathlib.Path(builder.data_dir))
  key = [name, when, list(classes), image_size]
  write = lambda folder: decode(name, builder or prepared_builder(name, data_dir), classes, image_size, folder)
  plain_name = re.sub(r'[^\w.]+', '-', name)
  folder = cache.folder(cache_dir, f'{plain_name}-{image_size}px', key, write)
  about = json.loads((folder / 'about.json').read_text(encoding='utf-8'))
  images = pixel_file.open_pixels(folder / 'images.npy')
  everything = source.Source.whole(images, np.load(folder / 'labels.npy'))
  ends = np.cumsum(list(about['counts'].values()))
  parts = {split: everything.take(np.arange(end - count, end))
           for (split, count), end in zip(about['counts'].items(), ends, strict=True)}
  return parts, tuple(about['class_names'])


def made(name, data_dir):
  """When the versions of a set that are on disk were made, without TFDS: [[file, ns, bytes], …], [] for none."""
  root = data_dir or os.environ.get('TFDS_DATA_DIR', '~/tensorflow_datasets')
  return made_at(paths.typed(root) / re.split('[/:]', name)[0])


def made_at(folder):
  """The same for a folder of versions, of configs of versions, or of one version."""
  files = sorted(file for depth in ('', '*/', '*/*/') for file in folder.glob(f'{depth}dataset_info.json'))
  return [[str(file), file.stat().st_mtime_ns, file.stat().st_size] for file in files]


def prepared_builder(name, data_dir):
  """The TFDS builder of a set that is on disk, after downloading it if need be. Raises BadInput where it fails."""
  quiet.import_tensorflow()  # First, so that it is told to keep off the accelerators.
  import tensorflow_datasets as tfds  # Here, not above: it takes seconds that `--help` need not pay.
  from tensorflow_datasets.core import naming

  from vit_jax.data import tiny_imagenet  # noqa: F401  TFDS knows its name from now on.

  data_dir = os.path.expanduser(data_dir) if data_dir else None
  try:
    dataset, _ = naming.parse_builder_name_kwargs(name)
    if dataset.namespace:
      # TFDS would ask the network for a list of them, or import libraries that are not there.
      raise BadInput(f'data.name={name!r} belongs to {dataset.namespace!r}, not to TensorFlow Datasets itself; make it '
                     'a folder of pictures (--config.data.name=folder), or a TFDS set of your own on disk')
    builder = tfds.builder(name, data_dir=data_dir)
  except BadInput:
    raise
  except Exception as error:  # A malformed name, a version or a config that is not there, damaged metadata, …
    if isinstance(error, tfds.core.registered.DatasetNotFoundError):
      # Without the community's sets, whose list TFDS would download.
      choose(name, ['digits', 'folder', *tfds.list_builders(with_community_datasets=False)], 'data.name')
    raise BadInput(f'data.name={name!r} cannot be opened ({one_line(error)})') from error
  return builder if builder.is_prepared() else downloaded(name, builder)


def downloaded(name, builder):
  """Downloads and prepares a set: -> its builder. Raises BadInput where that fails."""
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core.download import downloader
  from tensorflow_datasets.core.utils import tqdm_utils

  # TFDS would try for minutes before it says that there is no network.
  downloader.MAX_RETRIES = 1
  if not sys.stderr.isatty():
    tqdm_utils.tqdm_lib = types.SimpleNamespace(tqdm=progress.Lines)
  logging.info('%s is not on disk; downloading it to %s', name, builder.data_dir)
  try:
    builder.download_and_prepare()
  except Exception as error:  # Each of a thousand sets fails in its own way, without a network or a manual download.
    if isinstance(error, BadInput):
      raise
    if not builder.is_prepared():  # Otherwise another process was quicker, which is as good.
      raise BadInput(
          f'data.name={name!r} is not in {builder.data_dir} and could not be downloaded ({one_line(error)}); '
          f'copy the folder there from a machine that has it, name its place with --config.data.dir=…, or '
          f'start with --config=configs/digits.py, which needs no download') from error
  # What killed processes left, and what slower ones are still at: those will find the set made, just above.
  folder = pathlib.Path(builder.data_dir)
  for left in folder.parent.glob(f'incomplete.*_{folder.name}'):
    shutil.rmtree(left, ignore_errors=True)
  # Opened anew, because TFDS does not look at what another process made.
  return tfds.builder(name, data_dir=str(builder.data_dir_root))


def decode(name, builder, classes, image_size, folder):
  """Writes the pictures of `classes` into `folder`, the splits one after the other.

  images.npy u8[N,S,S,3], labels.npy i32[N], and about.json with the number of pictures of each split and the names
  of the classes.
  """
  tf = quiet.import_tensorflow()
  import tensorflow_datasets as tfds

  features = builder.info.features
  image_key, label_key = tfds_features.find_keys(name, features)
  known = features[label_key].names
  ids = source.class_ids(classes, known)
  if 'train' not in builder.info.splits:
    raise BadInput(f'data.name={name!r} has no split train; it has {", ".join(builder.info.splits) or "none"}')
  splits = [split for split in SPLITS if split in builder.info.splits]
  raw = {split: builder.as_dataset(split=split, decoders={image_key: tfds.decode.SkipDecoding()}) for split in splits}

  def picture(example):
    return fit(tfds_features.decode_picture(features[image_key], example[image_key]), image_size)

  try:
    labels = {split: read_labels(raw[split], label_key, ids) for split in splits}
    total = sum(map(len, labels.values()))
    np.save(folder / 'labels.npy', np.concatenate(list(labels.values())))
    pixel_file.check_space(folder, total * image_size**2 * 3)
    with (open(folder / 'images.npy', 'wb') as file,
          progress.bar(total=total, desc=f'decoding {builder.name}', unit='pictures') as bar):
      pixel_file.write_header(file, total, image_size)
      for split in splits:
        pictures = raw[split].filter(lambda x: tf.reduce_any(x[label_key] == tf.constant(ids, tf.int64)))
        for batch in pictures.map(picture, tf.data.AUTOTUNE).batch(256).prefetch(2).as_numpy_iterator():
          file.write(batch.data)
          bar.update(len(batch))
  except tf.errors.OpError as error:
    raise BadInput(f'{builder.data_dir} holds something that cannot be read ({one_line(error)}); delete that folder, '
                   'and the next start makes it anew') from error
  counts = {split: len(labels[split]) for split in splits}
  about = {'counts': counts, 'class_names': [known[i] for i in ids]}
  (folder / 'about.json').write_text(json.dumps(about), encoding='utf-8')


def read_labels(examples, label_key, ids):
  """The labels among `ids` of a tf.data.Dataset, as positions in `ids`: -> i32[N]."""
  batches = list(examples.map(lambda x: x[label_key]).batch(1024).as_numpy_iterator())
  found = np.concatenate([np.zeros(0, np.int64), *batches])
  return np.array([ids.index(label) for label in found[np.isin(found, ids)]], np.int32)


def fit(image, image_size):
  """The middle square of a picture of any size, resized: u8[h,w,1|3|4] -> u8[S,S,3]; an alpha channel is dropped."""
  tf = quiet.import_tensorflow()
  image = image[..., :3] if image.shape[-1] != 1 else tf.tile(image, (1, 1, 3))
  if tuple(image.shape[:2]) == (image_size, image_size):
    return image
  side = tf.reduce_min(tf.shape(image)[:2])
  image = tf.image.resize_with_crop_or_pad(image, side, side)
  image = tf.image.resize(tf.cast(image, tf.float32), (image_size, image_size), 'bicubic', antialias=True)
  return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
