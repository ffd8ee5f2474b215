"""Tiny ImageNet as a TensorFlow Datasets builder: 200 classes of ImageNet, 64×64 pixels, 500 + 50 pictures each.

`tfds_sets` imports this module, so that 'tiny_imagenet' is a name like any other there; elsewhere, importing it
makes `tfds.load('tiny_imagenet')` work. The official archive's `val` part is the split 'validation'; its `test`
part has no labels and is left out. Archives packed anew without it will do.

Pictures are read straight from the zip file and stored as they are: one pass, and no space but the result's. That
takes half a minute of one core, once; a second process would save ten seconds of it, and is not worth its code.
"""
import collections
import contextlib
import csv
import pathlib
import re
import zipfile

import tensorflow_datasets as tfds

from vit_jax.errors import BadInput
from vit_jax.errors import one_line

ARCHIVE = 'tiny-imagenet-200.zip'
# Its size and digest are in checksums.tsv, where TFDS looks for them. They are checked after a download only, since
# an archive that somebody packed anew is as good.
URL = f'http://cs231n.stanford.edu/{ARCHIVE}'
# Pictures of each class, by split.
COUNTS = {'train': 500, 'validation': 50}

_TRAIN_PICTURE = re.compile(r'tiny-imagenet-200/train/(n\d+)/images/[^/]+\.JPEG')
_VAL = 'tiny-imagenet-200/val'


def class_names():
  """What the classes are called, in the order of their labels: {WordNet id: name}, e.g. {'n01443537': 'goldfish'}.

  Labels follow the WordNet ids, as where folders are read in alphabetical order. A name is the first synonym that
  the archive's words.txt gives; no two classes share one.
  """
  path = pathlib.Path(__file__).with_name('tiny_imagenet_names.txt')
  with path.open(encoding='utf-8', newline='') as file:
    return dict(csv.reader(file, delimiter='\t'))


class TinyImagenet(tfds.core.GeneratorBasedBuilder):
  """Tiny ImageNet: 'image' u8[64,64,3], 'label' in [0, 200), 'file_name'; splits 'train' and 'validation'."""
  VERSION = tfds.core.Version('1.0.0')
  MANUAL_DOWNLOAD_INSTRUCTIONS = f'Only where {URL} cannot be reached from here: put {ARCHIVE} into this folder.'

  def _info(self):
    names = class_names()
    return tfds.core.DatasetInfo(
        builder=self,
        description=f'200 classes of ImageNet at 64×64 pixels: {COUNTS["train"]} training and {COUNTS["validation"]} '
                    'validation pictures of each. The metadata name each label\'s WordNet id.',
        features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(shape=(64, 64, 3), encoding_format='jpeg'),
            'label': tfds.features.ClassLabel(names=list(names.values())),
            'file_name': tfds.features.Text(doc='The last part of its path in the archive, e.g. n01443537_0.JPEG.'),
        }),
        supervised_keys=('image', 'label'),
        homepage='http://cs231n.stanford.edu/',
        citation='Ya Le and Xuan Yang, "Tiny ImageNet Visual Recognition Challenge", Stanford CS231n, 2015.',
        metadata=tfds.core.MetadataDict(wordnet_ids=list(names)))

  def _split_generators(self, dl_manager):
    path = find_archive(dl_manager)
    return {split: self._generate_examples(path, members) for split, members in read_index(path).items()}

  def _generate_examples(self, path, members):
    return Examples(path, members)


class Examples:
  """The pictures of one split, in the form that TFDS stores: an iterable whose length TFDS can tell in its bar."""

  def __init__(self, path, members):
    self.path = path
    self.members = members

  def __len__(self):
    return len(self.members)

  def __iter__(self):
    labels = {wordnet_id: label for label, wordnet_id in enumerate(class_names())}
    with opened(self.path) as archive:
      for member, wordnet_id in self.members.items():
        picture = archive.read(member)  # Its checksum is compared with the archive's.
        if picture[:2] != b'\xff\xd8':
          raise BadInput(f'{self.path} is not Tiny ImageNet: {member} is not a JPEG; {advice()}')
        name = pathlib.PurePosixPath(member).name
        yield name, {'image': picture, 'label': labels[wordnet_id], 'file_name': name}


def find_archive(dl_manager):
  """Where the archive is: among TFDS's manual downloads, else downloaded now. Raises BadInput where that fails."""
  folder = dl_manager.download_dir / 'manual'
  with contextlib.suppress(AssertionError):  # How TFDS says that there are no manual downloads.
    folder = dl_manager.manual_dir
  if (folder / ARCHIVE).exists():
    return pathlib.Path(folder / ARCHIVE)
  try:
    return pathlib.Path(dl_manager.download(URL))
  except Exception as error:  # No network, no space, no such page, another file under that name, …
    raise BadInput(f'tiny_imagenet could not be downloaded from {URL} ({one_line(error)}); put {ARCHIVE} into '
                   f'{folder} and start again') from error


@contextlib.contextmanager
def opened(path):
  """The archive as a ZipFile; whatever goes wrong while it is used is a BadInput that names the file."""
  try:
    with zipfile.ZipFile(path) as archive:
      yield archive
  except BadInput:
    raise
  except Exception as error:  # A damaged archive makes zipfile, zlib and struct fail in ten ways.
    raise BadInput(f'{path} is damaged ({one_line(error)}); {advice()}') from error


def advice():
  """The way out of an archive that cannot be used."""
  return f'delete it and get it again from {URL}'


def read_index(path):
  """What is where in the archive: -> {split: {member: WordNet id}}; raises BadInput where that is not Tiny ImageNet."""
  with opened(path) as archive:
    names = archive.namelist()
    train = {name: match.group(1) for name in names if (match := _TRAIN_PICTURE.fullmatch(name))}
    if f'{_VAL}/val_annotations.txt' not in names:
      raise BadInput(f'{path} is not Tiny ImageNet: it has no {_VAL}/val_annotations.txt; {advice()}')
    # A line is: file name, WordNet id, and the four sides of a box around the thing.
    lines = archive.read(f'{_VAL}/val_annotations.txt').decode().splitlines()
    validation = {f'{_VAL}/images/{name}': wordnet_id for name, wordnet_id, *_ in (line.split('\t') for line in lines)}
    if absent := sorted(validation.keys() - set(names)):
      raise BadInput(f'{path} is not the whole of Tiny ImageNet: it has no {absent[0]}; {advice()}')
  index = {'train': train, 'validation': validation}
  for split, members in index.items():
    want = collections.Counter(dict.fromkeys(class_names(), COUNTS[split]))
    got = collections.Counter(members.values())
    if wrong := sorted(key for key in want | got if want[key] != got[key]):
      raise BadInput(f'{path} is not the whole of Tiny ImageNet: it has {got[wrong[0]]} {split} pictures of '
                     f'{wrong[0]}, not {want[wrong[0]]}; {advice()}')
  return index
