"""Any image set of TensorFlow Datasets -> a DataSet of decoded pixels.

Pictures are decoded once, to one size, into a file in the cache folder (N·S·S·3 bytes on disk) that is mapped
into memory, so that RAM holds what is being read; a second start only opens it. The cache can be deleted at
any time.
"""
import hashlib
import json
import os
import pathlib
import shutil
import tempfile

from absl import logging
import numpy as np
import tqdm

from vit_jax import quiet
from vit_jax.data import source
from vit_jax.errors import BadInput
from vit_jax.errors import choose
from vit_jax.errors import one_line

# For sets that come in one piece: this share of each class is the test part, by `held_out`'s fixed rule.
TEST_FRACTION = 0.2


def load(name, *, data_dir, cache_dir, classes, image_size, val_fraction):
  """Reads the TFDS set `name` as a DataSet of u8[N,S,S,3], downloading it where it is not on disk.

  The test part is the set's labelled 'test' split, else 'validation', else a fixed share of 'train'. The
  validation part is the set's own where it has both, else held out of train by a fixed rule. Raises BadInput
  for unknown names and classes, sets without pictures and labels, and where the set can't be downloaded.
  """
  builder = prepared_builder(name, data_dir)
  image_key, label_key = find_keys(name, builder.info.features)
  known = builder.info.features[label_key].names
  ids = source.class_ids(classes, known)
  open_split = lambda split: cached(
      cache_dir, builder, split, image_key, label_key, ids, image_size)
  train = open_split('train')
  others = {split: part for split in ('test', 'validation') if split in builder.info.splits
            and len(part := open_split(split))}
  if not len(train):
    raise BadInput(f'{name} has no training pictures of the classes {[known[i] for i in ids]}')
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
  return source.DataSet(name, tuple(known[i] for i in ids), train, validation, test)


def prepared_builder(name, data_dir):
  """The TFDS builder of a set that is on disk, after downloading it if need be. Raises BadInput where it fails."""
  import tensorflow_datasets as tfds  # Here, not above: it takes seconds that `--help` need not pay.
  from tensorflow_datasets.core.download import downloader

  data_dir = os.path.expanduser(data_dir) if data_dir else None
  try:
    builder = tfds.builder(name, data_dir=data_dir)
  except tfds.core.registered.DatasetNotFoundError:
    # Without the community's sets, whose list TFDS would download.
    choose(name, ['digits', *tfds.list_builders(with_community_datasets=False)], 'data.name')
    raise
  except (ValueError, AssertionError) as error:  # How TFDS refuses a malformed name, a version or a config.
    raise BadInput(f'data.name={name!r} cannot be opened ({one_line(error)})') from error
  if builder.is_prepared():
    return builder
  # TFDS would try for minutes before it says that there is no network.
  downloader.MAX_RETRIES = 1
  logging.info('%s is not on disk; downloading it to %s', name, builder.data_dir)
  try:
    builder.download_and_prepare()
  except Exception as error:  # Each of a thousand sets fails in its own way, without a network or a manual download.
    raise BadInput(
        f'data.name={name!r} is not in {builder.data_dir} and could not be downloaded ({one_line(error)}); '
        f'copy the folder there from a machine that has it, name its place with --config.data.dir=…, or '
        f'start with --config=configs/digits.py, which needs no download') from error
  return builder


def find_keys(name, features):
  """The keys of the picture and of its class label; raises BadInput, listing the features, where there are none."""
  import tensorflow_datasets as tfds

  of_kind = lambda kind: [key for key in features if isinstance(features[key], kind)]
  images, labels = of_kind(tfds.features.Image), of_kind(tfds.features.ClassLabel)
  if not images or not labels:
    raise BadInput(f'data.name={name!r} has no picture with a class label; its features are '
                   f'{", ".join(f"{key} ({type(features[key]).__name__})" for key in features)}')
  return ('image' if 'image' in images else images[0]), ('label' if 'label' in labels else labels[0])


def cached(cache_dir, builder, split, image_key, label_key, ids, image_size):
  """Opens the decoded pixels of one split, decoding them first where that has not been done: -> Source."""
  made = (pathlib.Path(builder.data_dir) / 'dataset_info.json').stat().st_mtime_ns
  key = json.dumps([str(builder.data_dir), made, split, image_key, label_key, ids, image_size])
  name = f'{builder.name}-{split}-{image_size}px-{hashlib.sha256(key.encode()).hexdigest()[:12]}'
  folder = pathlib.Path(cache_dir) / 'pictures' / name
  if not folder.exists():
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = pathlib.Path(tempfile.mkdtemp(prefix=f'.{name}-', dir=folder.parent))
    try:
      decode(builder, split, image_key, label_key, ids, image_size, partial)
      # A rename, so that a cache is there whole or not at all, whoever else is writing it.
      partial.rename(folder)
    except OSError:
      if not folder.exists():
        raise
    finally:
      shutil.rmtree(partial, ignore_errors=True)
  return source.Source.whole(np.load(folder / 'images.npy', mmap_mode='r'), np.load(folder / 'labels.npy'))


def decode(builder, split, image_key, label_key, ids, image_size, folder):
  """Writes images.npy u8[N,S,S,3] and labels.npy i32[N] of the pictures whose label is in `ids` to `folder`."""
  tf = quiet.import_tensorflow()
  import tensorflow_datasets as tfds

  raw = builder.as_dataset(split=split, decoders={image_key: tfds.decode.SkipDecoding()})
  labels = np.array(list(raw.map(lambda x: x[label_key]).as_numpy_iterator()))
  labels = labels[np.isin(labels, ids)]
  np.save(folder / 'labels.npy', np.array([ids.index(label) for label in labels], np.int32))

  def picture(example):
    image = builder.info.features[image_key].decode_example(example[image_key])
    return fit(image, image_size)

  pictures = raw.filter(lambda x: tf.reduce_any(x[label_key] == tf.constant(ids, tf.int64)))
  pictures = pictures.map(picture, num_parallel_calls=tf.data.AUTOTUNE).batch(256)
  shape = (len(labels), image_size, image_size, 3)
  if not len(labels):  # An empty file cannot be mapped into memory, but it can be loaded as one.
    np.save(folder / 'images.npy', np.zeros(shape, np.uint8))
    return
  images = np.lib.format.open_memmap(folder / 'images.npy', mode='w+', dtype=np.uint8, shape=shape)
  start = 0
  with tqdm.tqdm(total=len(labels), desc=f'decoding {builder.name}/{split}', unit=' pictures', delay=2) as bar:
    for batch in pictures.as_numpy_iterator():
      images[start:start + len(batch)] = batch
      start += len(batch)
      bar.update(len(batch))
  images.flush()


def fit(image, image_size):
  """The middle square of a picture of any size, resized: u8[h,w,1 or 3] -> u8[S,S,3]."""
  tf = quiet.import_tensorflow()
  image = image[..., :3] if image.shape[-1] != 1 else tf.tile(image, (1, 1, 3))
  if tuple(image.shape[:2]) == (image_size, image_size):
    return image
  side = tf.reduce_min(tf.shape(image)[:2])
  image = tf.image.resize_with_crop_or_pad(image, side, side)
  image = tf.image.resize(tf.cast(image, tf.float32), (image_size, image_size), 'bicubic', antialias=True)
  return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
