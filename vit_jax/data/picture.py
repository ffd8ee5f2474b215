"""One file -> pixels, as the eye would see it: every format that Pillow opens, turned upright, in RGB."""
import io

import numpy as np
from PIL import Image
from PIL import ImageOps

try:
  import pillow_heif  # The 'heic' extra: the pictures of many telephones.
  pillow_heif.register_heif_opener()
except ImportError:
  pass

from vit_jax.errors import one_line

# A picture that claims more is refused before a pixel of it is decoded: it would take gigabytes. The limit is
# Pillow's own for its warning, about 9,500 pixels a side.
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
Image.init()
# All but the one that Pillow hands to another program, Ghostscript.
FORMATS = [kind for kind in Image.OPEN if kind != 'EPS']
# What a HEIC file says that it is, after 'ftyp' in its fifth to eighth byte (ISO/IEC 23008-12).
HEIC_BRANDS = (b'heic', b'heix', b'hevc', b'hevx', b'heim', b'heis', b'mif1', b'msf1')


class Unreadable(Exception):
  """A file that holds no picture, or not a whole one; the message is the reason, in a line."""


def endings():
  """The endings of picture files that Pillow knows: {'.jpg', '.png', …}."""
  known = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
  return known | {'.heic', '.heif', '.avif'}


def read(data, image_size):
  """A file's bytes, or a binary file -> (pixels u8[S,S,3], (width, height) of the whole picture, turned upright).

  Of a file no more is read than it takes to see that it is no picture.
  The middle square, resized with an antialiased bicubic filter. Of an animation the first frame, transparency
  on white, 16 bits scaled to 8. Raises Unreadable with the reason where that cannot be had.
  """
  file = io.BytesIO(data) if isinstance(data, bytes) else data
  try:
    head = file.read(12)
    file.seek(0)
    with Image.open(file, formats=FORMATS) as image:
      width, height = image.size
      if width * height > MAX_PIXELS:
        raise Unreadable(f'{width}×{height} are more than {MAX_PIXELS:,} pixels')
      if image.format == 'JPEG':
        # Lets libjpeg skip most of the work of a large photo; twice the size leaves the filter enough to do.
        image.draft('RGB', (2 * image_size, 2 * image_size))
      turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientation: on its side.
      upright = to_rgb(ImageOps.exif_transpose(image))
  except Unreadable:
    raise
  except Image.UnidentifiedImageError as error:
    if head[4:8] == b'ftyp' and head[8:12] in HEIC_BRANDS and 'HEIF' not in Image.OPEN:
      raise Unreadable("HEIC, which needs another package: pip install 'vit_jax[heic]'") from None
    raise Unreadable(reason(error)) from None
  except Exception as error:  # Each of Pillow's forty decoders fails in its own ways.
    raise Unreadable(reason(error)) from None
  # A draft is smaller than the picture. Of other formats Pillow may know before or after turning them what is upright.
  size = upright.size if image.format != 'JPEG' else (height, width) if turned else (width, height)
  return fit(upright, image_size), size


def reason(error):
  """What was wrong with a file, for a person."""
  if isinstance(error, Image.UnidentifiedImageError):
    return 'not a picture that Pillow knows'
  plain = (OSError, Image.DecompressionBombError, Image.DecompressionBombWarning)
  return str(error) if isinstance(error, plain) and str(error) else one_line(error)


def to_rgb(image):
  """A Pillow image of any mode -> one of mode RGB: transparency on white, deep greys scaled to 8 bits."""
  if image.mode in ('I', 'F') or image.mode.startswith('I;16'):
    grey = np.nan_to_num(np.asarray(image, np.float32), posinf=0, neginf=0)
    # 16 bits say how white white is; for 32-bit numbers it is the nearest usual bound.
    bounds = {'I': (255, 65535), 'F': (1, 255, 65535)}.get(image.mode, (65535,))
    white = next((bound for bound in bounds if grey.max() <= bound), grey.max())
    return Image.fromarray(np.round(np.clip(grey / max(white, 1e-9), 0, 1) * 255).astype(np.uint8)).convert('RGB')
  if image.has_transparency_data:
    image = image.convert('RGBA')
    image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
  return image.convert('RGB')


def fit(image, image_size):
  """The middle square of a Pillow RGB image, resized: -> u8[S,S,3]."""
  width, height = image.size
  side = min(width, height)
  left, top = (width - side) // 2, (height - side) // 2
  square = image.crop((left, top, left + side, top + side))
  return np.asarray(square.resize((image_size, image_size), Image.Resampling.BICUBIC))
