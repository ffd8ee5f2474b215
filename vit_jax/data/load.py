"""One door to all data: a name -> a DataSet."""
from collections.abc import Sequence
from typing import Any

from vit_jax.data import clear
from vit_jax.data import digits
from vit_jax.data import folder
from vit_jax.data import source
from vit_jax.data import tfds_sets
from vit_jax.errors import BadInput
from vit_jax.types import Path


def load(name: str, *, data_dir: str | None, cache_dir: Path, classes: Sequence[str], image_size: int,
         val_fraction: float, path: str = '', clear_of: Sequence[str] = ()) -> source.DataSet:
  """Loads 'digits', the 'folder' at `path`, or any TFDS image set: -> source.DataSet of u8[N,S,S,3].

  `classes` keeps and relabels some of the classes, by name, in that order (empty: all); `val_fraction` of the
  training pictures are held out for validation, by a fixed rule. What is nearly the same as a test picture of one of
  the sets `clear_of`, which may be the set itself, is left out of train. Raises BadInput for what cannot be had.
  """
  source.check_fraction(val_fraction)
  places: dict[str, Any] = dict(data_dir=data_dir, cache_dir=cache_dir, image_size=image_size, path=path)
  data = _load(name, **places, classes=classes, val_fraction=val_fraction)
  if clear_of:
    tests = {other: data.test if other == name else _load(other, **places, classes=(), val_fraction=0.0).test
             for other in clear_of}
    data = clear.keep_clear(data, tests, cache_dir)
  if not len(data.train):
    raise BadInput(f'{data.name} has no training picture that can be used ({"; ".join(data.notes) or "it is empty"})')
  return data


def _load(name: str, *, data_dir: str | None, path: str, **options: Any) -> source.DataSet:
  if name == 'digits':
    options.pop('cache_dir')
    return digits.load(**options)
  if name == 'folder':
    return folder.load(path, **options)
  return tfds_sets.load(name, data_dir=data_dir, **options)
