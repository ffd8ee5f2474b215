"""One door to all data: a name -> a DataSet."""
from vit_jax.data import digits
from vit_jax.data import folder
from vit_jax.data import source
from vit_jax.data import tfds_sets


def load(name, *, data_dir, cache_dir, classes, image_size, val_fraction, path=''):
  """Loads 'digits', the 'folder' at `path`, or any TFDS image set: -> source.DataSet of u8[N,S,S,3].

  `classes` keeps and relabels some of the classes, by name, in that order (empty: all); `val_fraction` of the
  training pictures are held out for validation, by a fixed rule. Raises BadInput for what cannot be had.
  """
  source.check_fraction(val_fraction)
  if name == 'digits':
    return digits.load(classes=classes, image_size=image_size, val_fraction=val_fraction)
  if name == 'folder':
    return folder.load(path, cache_dir=cache_dir, classes=classes, image_size=image_size, val_fraction=val_fraction)
  return tfds_sets.load(name, data_dir=data_dir, cache_dir=cache_dir, classes=classes, image_size=image_size,
                        val_fraction=val_fraction)
