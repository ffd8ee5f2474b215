"""Everything random or arithmetic about a picture, on the device: one key in, pictures out."""
import jax
import jax.numpy as jnp


def normalize(images):
  """Pictures u8[B,H,W,C] -> f32[B,H,W,C] in [-1,1], as the published ViTs expect them."""
  return images.astype(jnp.float32) / 127.5 - 1.0


def random_flip(key, images):
  """Mirrors each picture left to right with probability one half: [B,H,W,C] -> the same."""
  flip = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
  return jnp.where(flip, images[:, :, ::-1], images)


def random_crop(key, images, padding):
  """Moves each picture by up to `padding` pixels each way, borders reflected: [B,H,W,C] -> the same.

  The reflect-pad crop of the CIFAR literature (He et al. 2016, with reflection in place of zeros).
  """
  b, h, w, c = images.shape
  padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)), 'reflect')
  offsets = jax.random.randint(key, (b, 2), 0, 2 * padding + 1)
  crop = lambda image, offset: jax.lax.dynamic_slice(image, (offset[0], offset[1], 0), (h, w, c))
  return jax.vmap(crop)(padded, offsets)


def augment(key, images, *, flip, crop_padding):
  """The training picture: u8[B,H,W,C] -> f32[B,H,W,C] in [-1,1], cropped and flipped at random."""
  crop_key, flip_key = jax.random.split(key)
  if crop_padding:
    images = random_crop(crop_key, images, crop_padding)
  if flip:
    images = random_flip(flip_key, images)
  return normalize(images)
