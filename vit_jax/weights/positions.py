"""Learned positions for another number of patches."""
import math

import jax
import numpy as np

from vit_jax.errors import choose

METHODS = ('bilinear', 'bicubic')


def resize(positions, num_front, num_tokens, method='bilinear'):
  """Spreads the positions of a square grid over another one: f32[1,F+n²,D] -> f32[1,F+m²,D], F+m² = `num_tokens`.

  The first `num_front` positions, those of the class token and its like, stay. 'bilinear' with aligned corners is
  what the ViT authors did on fine-tuning at a higher resolution; 'bicubic', antialiased, is what timm does. Where
  either grid is no square the positions come back as they are. Raises BadInput for another method.
  """
  choose(method, METHODS, 'positions')
  front, grid = positions[:, :num_front], positions[0, num_front:]
  old, new = math.isqrt(len(grid)), math.isqrt(max(num_tokens - num_front, 0))
  if old == new or not old or not new or old**2 != len(grid) or new**2 != num_tokens - num_front:
    return positions
  grid = grid.reshape(old, old, -1)
  if method == 'bilinear':
    from scipy import ndimage  # Here, not above: a quarter of a second, and most models keep their grid.

    grid = ndimage.zoom(grid, (new / old, new / old, 1), order=1)
  else:
    grid = np.asarray(jax.image.resize(grid, (new, new, grid.shape[-1]), 'bicubic', antialias=True))
  return np.concatenate([front, grid.reshape(1, new**2, -1)], axis=1)
