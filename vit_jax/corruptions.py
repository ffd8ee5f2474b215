"""Pictures as bad cameras and slow lines make them: each kind at three strengths (Hendrycks & Dietterich 2019)."""
import io
import zlib

import numpy as np
from PIL import Image
from PIL import ImageEnhance
from PIL import ImageFilter

# {kind: what its three strengths are}, the weakest first.
STRENGTHS = {
    'noise': (10, 20, 40),  # standard deviation, of 255
    'blur': (0.02, 0.04, 0.08),  # radius, in sides of the picture
    'jpeg': (40, 20, 8),  # quality
    'brightness': (0.7, 0.5, 0.3),  # factor
    'contrast': (0.6, 0.4, 0.2),  # factor
}


def corrupt(images, kind, strength):
  """Pictures u8[N,S,S,3] -> the same, worse: `kind` of STRENGTHS, and one of its values. Noise is always the same."""
  if kind == 'noise':
    # A picture's own, whatever batch it is in.
    return np.stack([add_noise(image, strength, zlib.crc32(np.ascontiguousarray(image))) for image in images])
  return np.stack([np.asarray(_CHANGES[kind](Image.fromarray(image), strength)) for image in images])


def add_noise(image, deviation, seed):
  """Normal noise on every number of a picture: u8[S,S,3] -> the same."""
  noise = np.random.default_rng(seed).normal(scale=deviation, size=image.shape)
  return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


def through_jpeg(image, quality):
  """A picture that was saved as JPEG and opened again."""
  data = io.BytesIO()
  image.save(data, 'JPEG', quality=quality)
  return Image.open(data).convert('RGB')


_CHANGES = {
    'blur': lambda image, radius: image.filter(ImageFilter.GaussianBlur(radius * image.width)),
    'jpeg': through_jpeg,
    'brightness': lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    'contrast': lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
}
