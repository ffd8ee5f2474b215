"""The embedded set: scikit-learn's 1,797 handwritten digits of 8×8 pixels. No download, no cache."""
import numpy as np

from vit_jax.data import source
from vit_jax.errors import BadInput

# The set comes in one piece; this share of each class is its test part, by `source.held_out`'s fixed rule.
TEST_FRACTION = 0.2
IMAGE_SIZE = 8


def load(*, classes, image_size, val_fraction):
  """Reads the digits as a DataSet of u8[N,8,8,3]; test is a fixed fifth of them.

  Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI repository.
  Raises BadInput for another image size and for unknown classes.
  """
  from sklearn import datasets  # Here, not above: it takes a second that other data sets need not pay.

  if image_size != IMAGE_SIZE:
    raise BadInput(f'data.image_size={image_size} does not fit the digits, which are {IMAGE_SIZE}×{IMAGE_SIZE}')
  digits = datasets.load_digits()
  names = [str(name) for name in digits.target_names]
  ids = source.class_ids(classes, names)
  keep = np.isin(digits.target, ids)
  labels = np.array([ids.index(target) for target in digits.target[keep]], np.int32)
  grey = np.round(digits.images[keep] * (255 / 16)).astype(np.uint8)  # 0..16 -> 0..255
  everything = source.Source.whole(np.repeat(grey[..., None], 3, axis=-1), labels)
  rest, test = source.held_out(labels, TEST_FRACTION)
  train, validation = source.held_out(labels[rest], val_fraction)
  return source.DataSet('digits', tuple(names[i] for i in ids), everything.take(rest[train]),
                        everything.take(rest[validation]), everything.take(test))
