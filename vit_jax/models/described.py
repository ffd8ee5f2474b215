"""A model as JSON-able data, which lies beside its weights, and the model that such data describes."""
from collections.abc import Sequence
import dataclasses
from typing import Any

import jax.numpy as jnp

from vit_jax.models import variants
from vit_jax.types import Description


def describe(model: variants.Model, class_names: Sequence[str], image_size: int) -> Description:
  """What predicting with these weights needs to know, as JSON-able data."""
  sizes = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)
           if field.name not in ('parent', 'name', 'dtype')}
  return {'sizes': sizes, 'dtype': jnp.dtype(model.dtype).name, 'class_names': list(class_names),
          'preprocessing': {'image_size': image_size, 'resize': 'middle square, bicubic', 'range': [-1, 1]}}


def sizes(description: Description) -> dict[str, Any]:
  """The fields of the model that `describe` described."""
  return {key: tuple(value) if isinstance(value, list) else value for key, value in description['sizes'].items()}


def build(description: Description) -> variants.Model:
  """That model."""
  fields = sizes(description)
  return variants.make(fields, num_classes=fields.pop('num_classes'), dtype=jnp.dtype(description['dtype']))
