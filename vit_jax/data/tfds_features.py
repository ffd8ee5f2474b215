"""Which of a TFDS set's features are the picture and its class."""
import numpy as np

from vit_jax import quiet
from vit_jax.errors import BadInput


def find_keys(name, features):
  """The keys of the picture and of its class label; raises BadInput, listing the features, where they are not plain.

  Plain are pictures of 8 bits with 1, 3 or 4 channels and one class each. Where there are several pictures or
  labels, one of each must be called 'image' or 'label'.
  """
  import tensorflow_datasets as tfds

  top = features if isinstance(features, tfds.features.FeaturesDict) else {}
  pictures = [key for key in top if isinstance(top[key], tfds.features.Image)
              and not isinstance(top[key], tfds.features.LabeledImage)]
  labels = [key for key in top if isinstance(top[key], tfds.features.ClassLabel)]
  described = describe('', features)
  listed = f'its features are {", ".join(described[:20])}{" and more" if len(described) > 20 else ""}'
  if not pictures or not labels:
    raise BadInput(f'data.name={name!r} has no picture with a class label; {listed}')
  choice = {}
  for wanted, keys in (('image', pictures), ('label', labels)):
    if len(keys) > 1 and wanted not in keys:
      raise BadInput(f'data.name={name!r} has {" and ".join(keys)}, and none of them is called {wanted!r}; {listed}')
    choice[wanted] = wanted if wanted in keys else keys[0]
  image, label = top[choice['image']], top[choice['label']]
  if np.dtype(image.np_dtype) != np.uint8 or len(image.shape) != 3 or image.shape[-1] not in (1, 3, 4):
    raise BadInput(f'data.name={name!r} has pictures of {np.dtype(image.np_dtype)}{list(image.shape)}; they must be of '
                   f'8 bits with 1, 3 or 4 channels; save them as such, e.g. as a folder (--config.data.name=folder)')
  if not label.num_classes:
    raise BadInput(f'data.name={name!r} does not say which classes its {choice["label"]!r} has; {listed}')
  return choice['image'], choice['label']


def describe(key, feature):
  """Features as a person reads them: 'image (Image)', 'objects/bbox (BBoxFeature)', …, those of dicts one by one."""
  import tensorflow_datasets as tfds

  inner = getattr(feature, 'feature', None)  # What a sequence is one of.
  if isinstance(feature, tfds.features.FeaturesDict) or isinstance(inner, tfds.features.FeaturesDict):
    inside = inner if isinstance(inner, tfds.features.FeaturesDict) else feature
    return [text for name in inside for text in describe(f'{key}/{name}' if key else name, inside[name])]
  return [f'{key} ({type(feature).__name__})'.strip()]


def decode_picture(feature, data):
  """The pixels of an encoded picture, a tf.Tensor: string[] -> u8[h,w,C].

  JPEG by its exact transform, so that the pixels are the ones that `picture.read` has from Pillow; TFDS would take
  the faster one, which differs by up to 5 levels.
  """
  if feature.encoding_format != 'jpeg':
    return feature.decode_example(data)
  tf = quiet.import_tensorflow()
  image = tf.io.decode_jpeg(data, channels=feature.shape[-1], dct_method='INTEGER_ACCURATE')
  return tf.ensure_shape(image, feature.shape)
