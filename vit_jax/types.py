"""Names of types that several modules have in common; shapes stand in the docstrings of what takes and gives them."""
from collections.abc import Mapping
import pathlib
from typing import Any

import numpy as np

# A tree of arrays, with the names that Flax gives its parameters.
Params = dict[str, Any]
# The same leaf by leaf, {'Transformer/encoder_norm/scale': f32[D]}.
Flat = Mapping[str, np.ndarray]
# What model.json says of a model: models.described.describe.
Description = dict[str, Any]
Path = str | pathlib.Path
