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


def cutmix(key, images, targets, probability):
  """Pastes a box of the next picture into each, and its share into the targets: [B,H,W,C], f32[B,K] -> the same.

  One box for the whole batch, with this probability: its area is uniform in [0,1] and its middle anywhere, so
  that it may hang over the border. Targets are mixed by the area that was really pasted (Yun et al. 2019).
  """
  _, h, w, _ = images.shape
  use_key, area_key, y_key, x_key = jax.random.split(key, 4)
  use = jax.random.bernoulli(use_key, probability)
  half = jnp.sqrt(jax.random.uniform(area_key)) / 2  # Half the side of the box, in sides of the picture.
  inside = lambda key, size: abs(jnp.arange(size) - jax.random.randint(key, (), 0, size)) < half * size
  box = use & inside(y_key, h)[:, None] & inside(x_key, w)[None, :]
  share = box.mean()
  images = jnp.where(box[None, :, :, None], jnp.roll(images, 1, axis=0), images)
  return images, (1 - share) * targets + share * jnp.roll(targets, 1, axis=0)


def augment(key, images, targets, *, flip, crop_padding, cutmix_probability):
  """The training pictures: u8[B,H,W,C], f32[B,K] -> f32[B,H,W,C] in [-1,1], f32[B,K].

  Cropped, flipped and mixed at random; what is off is left out of the program.
  """
  crop_key, flip_key, mix_key = jax.random.split(key, 3)
  if crop_padding:
    images = random_crop(crop_key, images, crop_padding)
  if flip:
    images = random_flip(flip_key, images)
  if cutmix_probability:
    images, targets = cutmix(mix_key, images, targets, cutmix_probability)
  return normalize(images), targets
