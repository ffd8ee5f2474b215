"""Maps made visible: a picture with its map as a translucent layer, and sheets of them with captions."""
import numpy as np
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont

from vit_jax.errors import BadInput

# Cividis (Nuñez, Anderton & Renslow 2018) at equal steps: dark blue to yellow, even steps of lightness, told apart
# alike by people with and without colour-blindness. Written out, so that no plotting library is needed.
CIVIDIS = np.array([(0, 34, 77), (17, 53, 111), (58, 72, 107), (87, 93, 109), (111, 112, 115), (137, 134, 120),
                    (165, 155, 115), (195, 179, 104), (225, 204, 84), (253, 231, 55)], np.float32)
# How much of the layer is laid over the picture, where the map is lowest and where it is highest.
OPACITY = (0.45, 0.65)


def scale(values):
  """A map of any values, f32[h,w] -> f32[h,w] from 0 at its lowest to 1 at its highest; an even map is 0 all over.

  Each map has its own scale: colours say where it is high in this picture, and nothing about another picture.
  """
  values = np.asarray(values, np.float32)
  low, high = values.min(), values.max()
  # What differs by rounding only must not look like a finding.
  return (values - low) / (high - low) if high - low > 1e-6 * abs(high) else np.zeros_like(values)


def colours(values):
  """Numbers f32[...] in [0,1] -> colours f32[...,3] in [0,255]."""
  place = np.clip(values, 0, 1) * (len(CIVIDIS) - 1)
  return np.stack([np.interp(place, np.arange(len(CIVIDIS)), channel) for channel in CIVIDIS.T], axis=-1)


def enlarge(values, size):
  """A map f32[h,w], smoothly, to (width, height) pixels: -> f32[height,width] in [0,1]."""
  large = Image.fromarray(np.asarray(values, np.float32)).resize(size, Image.Resampling.BICUBIC)
  return np.clip(np.asarray(large), 0, 1)  # Bicubic overshoots a little.


def overlay(image, values, side=None):
  """A picture u8[H,W,3] under its map f32[h,w] -> PIL.Image, `side` pixels wide (as it is, where None).

  The picture is grey, so that all colour is the map's: blue where it is low, yellow where it is high.
  """
  if np.ndim(values) != 2 or not np.isfinite(values).all():
    raise BadInput(f'a map is a table of finite numbers, not of shape {np.shape(values)} or with gaps')
  picture = enlarge_picture(image, side)
  strength = enlarge(scale(values), picture.size)[..., None]
  opacity = OPACITY[0] + (OPACITY[1] - OPACITY[0]) * strength
  grey = np.asarray(picture.convert('L'), np.float32)[..., None]
  mixed = (1 - opacity) * grey + opacity * colours(strength[..., 0])
  return Image.fromarray(np.round(mixed).astype(np.uint8))


def enlarge_picture(image, side=None):
  """u8[H,W,3] -> PIL.Image of `side` pixels width, sides in proportion."""
  picture = Image.fromarray(np.asarray(image, np.uint8)).convert('RGB')
  if not side or side == picture.width:
    return picture
  return picture.resize((side, max(round(side * picture.height / picture.width), 1)), Image.Resampling.BICUBIC)


def sheet(rows, *, side=128, gap=8, text=13):
  """Pictures in rows with a caption under each: [[(u8[H,W,3] or PIL.Image, caption), …], …] -> PIL.Image.

  Each is `side` pixels wide; a caption that is too long for that is cut.
  """
  font = ImageFont.load_default(text)
  cells = [[(enlarge_picture(np.asarray(picture), side), caption) for picture, caption in row] for row in rows]
  heights = [max(picture.height for picture, _ in row) + text + 2 * gap for row in cells]
  width = gap + max(len(row) for row in cells) * (side + gap)
  page = Image.new('RGB', (width, gap + sum(heights)), 'white')
  draw = ImageDraw.Draw(page)
  top = gap
  for row, height in zip(cells, heights, strict=True):
    for column, (picture, caption) in enumerate(row):
      left = gap + column * (side + gap)
      page.paste(picture, (left, top))
      draw.text((left, top + picture.height + gap // 2), cut(caption, font, side), fill='black', font=font)
    top += height
  return page


def cut(caption, font, width):
  """The text, with its end left out where it would be wider than so many pixels."""
  if font.getlength(caption) <= width:
    return caption
  while caption and font.getlength(caption + '…') > width:
    caption = caption[:-1]
  return caption + '…'


def explained(images, look, class_names, *, labels=None, side=128):
  """A sheet with a row for each picture: itself, rollout, relevance for each class of an explainer.Look.

  `labels` i[N] are what the pictures show, if that is known. Colours from low to high are each map's own.
  """
  rows = []
  for i, image in enumerate(images):
    shown = f'label: {class_names[labels[i]]}' if labels is not None else 'picture'
    rows.append([(image, shown), (overlay(image, look.rollout[i], side), 'rollout')])
    for name, values in zip(look.classes[i], look.relevance[i], strict=True):
      rows[-1].append((overlay(image, values, side), f'{class_names[name]} {look.probabilities[i, name]:.0%}'))
  return sheet(rows, side=side)
