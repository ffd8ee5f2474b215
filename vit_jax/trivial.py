"""TrivialAugment on the device: one change of random strength for each picture (Müller & Hutter 2021, the wide space).

The fourteen changes fall into four kinds, and each kind is one computation over the whole batch, which leaves those
pictures alone that drew another kind: nothing is computed fourteen times, and nothing picture by picture.
"""
import jax
import jax.numpy as jnp

GEOMETRIC = ('shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate')
BLENDS = ('brightness', 'color', 'contrast', 'sharpness')
LEVELS = ('posterize', 'solarize', 'autocontrast', 'equalize')
NAMES = ('identity', *GEOMETRIC, *BLENDS, *LEVELS)
# The weights of red, green and blue in Pillow's grey.
GREY = (0.299, 0.587, 0.114)


def trivial_augment(key, images):
  """Changes each picture in one random way: u8[B,H,W,3] -> u8[B,H,W,3].

  What shows from outside the picture is black. Strengths are uniform from nothing to a shear of 0.99, a shift of 32
  pixels, a turn of 135°, a colour blend of 0.99 either way, 2 bits, and the inversion of everything.
  """
  name_key, strength_key, sign_key = jax.random.split(key, 3)
  b = len(images)
  name = jax.random.randint(name_key, (b,), 0, len(NAMES))
  strength = jax.random.uniform(strength_key, (b,))
  sign = jnp.where(jax.random.bernoulli(sign_key, shape=(b,)), 1.0, -1.0)
  return change(images, name, strength, sign)


def change(images, name, strength, sign):
  """Changes each picture in a given way: name i32[B] an index into NAMES, strength f32[B] in [0,1], sign f32[B] ±1."""
  chose = lambda kinds: (name >= NAMES.index(kinds[0])) & (name <= NAMES.index(kinds[-1]))
  pixels = warp(images, name, strength * sign)
  pixels = jnp.where(chose(BLENDS)[:, None, None, None], blend(pixels, name, 1 + 0.99 * strength * sign), pixels)
  return jnp.where(chose(LEVELS)[:, None, None, None], relevel(pixels, name, strength), pixels)


def warp(images, name, amount):
  """Shears, shifts or turns each picture about its middle, to the nearest pixel: u8[B,H,W,3], f32[B] in [-1,1]."""
  b, h, w, _ = images.shape
  is_name = lambda wanted: name == NAMES.index(wanted)
  angle = jnp.where(is_name('rotate'), jnp.deg2rad(135.0) * amount, 0.0)
  shear_x, shear_y = (jnp.where(is_name(wanted), 0.99 * amount, 0.0) for wanted in GEOMETRIC[:2])
  # Whole pixels, as Pillow's users pass them.
  shift_x, shift_y = (jnp.where(is_name(wanted), jnp.trunc(32.0 * amount), 0.0) for wanted in GEOMETRIC[2:4])
  y, x = (axis - (size - 1) / 2 for axis, size in zip(jnp.mgrid[:h, :w], (h, w), strict=True))
  column = lambda values: values[:, None, None]
  cos, sin = column(jnp.cos(angle)), column(jnp.sin(angle))
  # Where each pixel comes from: the inverse of what is done to the picture.
  from_x = cos * x - sin * y + column(shear_x) * y - column(shift_x) + (w - 1) / 2
  from_y = sin * x + cos * y + column(shear_y) * x - column(shift_y) + (h - 1) / 2
  row, col = (jnp.floor(axis + 0.5).astype(jnp.int32) for axis in (from_y, from_x))
  inside = (row >= 0) & (row < h) & (col >= 0) & (col < w)
  at = jnp.clip(row, 0, h - 1) * w + jnp.clip(col, 0, w - 1)
  found = jnp.take_along_axis(images.reshape(b, h * w, 3), at.reshape(b, h * w, 1), axis=1).reshape(images.shape)
  return jnp.where(inside[..., None], found, 0)


def blend(images, name, factor):
  """Moves each picture away from a dull version of itself (factor > 1), or towards it: u8[B,H,W,3], f32[B] -> u8.

  Dull is black, grey, evenly grey, or smoothed by a 3×3 filter, for brightness, color, contrast, sharpness.
  """
  x = images.astype(jnp.float32)
  grey = jnp.round(x @ jnp.array(GREY))[..., None]
  even = jnp.broadcast_to(jnp.floor(grey.mean(axis=(1, 2), keepdims=True) + 0.5), grey.shape)
  near = sum(x[:, dy:x.shape[1] - 2 + dy, dx:x.shape[2] - 2 + dx] for dy in range(3) for dx in range(3))
  smooth = jnp.round((near + 4 * x[:, 1:-1, 1:-1]) / 13)
  smooth = x.at[:, 1:-1, 1:-1].set(smooth)  # Pillow leaves the border as it is.
  dull = jnp.select([name[:, None, None, None] == NAMES.index(wanted) for wanted in BLENDS],
                    [jnp.zeros_like(x), jnp.broadcast_to(grey, x.shape), jnp.broadcast_to(even, x.shape), smooth], x)
  return jnp.clip(dull + factor[:, None, None, None] * (x - dull), 0, 255).astype(jnp.uint8)


def relevel(images, name, strength):
  """Maps the levels of each channel to others: u8[B,H,W,3], f32[B] -> u8[B,H,W,3].

  Bits are taken away, light is inverted from a threshold on, or levels are stretched, or made equally frequent.
  """
  b, h, w, _ = images.shape
  levels = jnp.arange(256)
  bits = 8 - jnp.round(6 * strength).astype(jnp.int32)
  posterize = levels & ~((1 << (8 - bits[:, None])) - 1)
  solarize = jnp.where(levels >= 255 * (1 - strength[:, None]), 255 - levels, levels)
  count = jnp.zeros((b, 3, 256), jnp.int32).at[
      jnp.arange(b)[:, None, None, None], jnp.arange(3), images].add(1)  # i32[B,3,256], the histogram
  low = jnp.argmax(count > 0, axis=-1, keepdims=True)
  high = 255 - jnp.argmax(count[..., ::-1] > 0, axis=-1, keepdims=True)
  stretched = jnp.clip(jnp.floor((levels - low) * (255 / jnp.maximum(high - low, 1)) + 1e-4), 0, 255)
  autocontrast = jnp.where(high > low, stretched, levels)
  last = jnp.take_along_axis(count, high, axis=-1)
  step = (h * w - last) // 255
  before = jnp.cumsum(count, axis=-1) - count
  equalize = jnp.where(step > 0, jnp.clip((step // 2 + before) // jnp.maximum(step, 1), 0, 255), levels)
  every = lambda table: jnp.broadcast_to(table[:, None], (b, 3, 256))
  table = jnp.select([name[:, None, None] == NAMES.index(wanted) for wanted in LEVELS],
                     [every(posterize), every(solarize), autocontrast.astype(jnp.int32), equalize],
                     jnp.broadcast_to(levels, (b, 3, 256))).astype(jnp.uint8)
  flat = images.reshape(b, h * w, 3).transpose(0, 2, 1)
  return jnp.take_along_axis(table, flat, axis=-1).transpose(0, 2, 1).reshape(images.shape)
