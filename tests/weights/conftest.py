"""What makes these tests quick: a model is traced once, however many files of it are read."""
import functools

import pytest

from vit_jax.models import variants

TRACED = functools.cache(variants.abstract_params)


@pytest.fixture(autouse=True)
def traced_once(monkeypatch):
  """The same shapes of parameters for the same model."""
  monkeypatch.setattr(variants, 'abstract_params', TRACED)
