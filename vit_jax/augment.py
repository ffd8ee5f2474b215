"""Everything random or arithmetic about a picture, on the device: one key in, pictures out."""
import jax
import jax.numpy as jnp

from vit_jax import trivial as trivial_lib

# The middle of [0,255], 0 after `normalize`, to the precision of bytes.
GREY = 128


def normalize(images):
  """Pictures of values in [0,255], [B,H,W,C] -> f32[B,H,W,C] in [-1,1], as the published ViTs expect them."""
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


def mix_boxes(key, images, targets, probability):
  """CutMix: pastes a box of the picture before into each, and its share into the targets (Yun et al. 2019).

  [B,H,W,C], f32[B,K] -> the same. One box for the whole batch, with this probability: its area is uniform in [0,1] and
  its middle anywhere, so that it may hang over the border. Targets are mixed by the area that was really pasted.
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


def mix_pictures(key, images, targets, probability):
  """Mixup: blends each picture and its targets with those of the one before (Zhang et al. 2018).

  [B,H,W,C], f32[B,K] -> f32, the same. One share for the whole batch, uniform in [0,1], with this probability.
  """
  use_key, share_key = jax.random.split(key)
  share = jax.random.bernoulli(use_key, probability) * jax.random.uniform(share_key)
  blend = lambda x: (1 - share) * x + share * jnp.roll(x, 1, axis=0)
  return blend(images.astype(jnp.float32)), blend(targets)


def erase_boxes(key, images, probability):
  """Random erasing: a box of a picture becomes grey, with this probability (Zhong et al. 2020): [B,H,W,C] -> the same.

  Its area is uniform in 2 to 33 % of the picture's, the logarithm of the ratio of its sides uniform in ±ln(10/3), and
  its place any; a side longer than the picture's is cut to it.
  """
  b, h, w, _ = images.shape
  use_key, area_key, ratio_key, place_key = jax.random.split(key, 4)
  area = jax.random.uniform(area_key, (b, 1), minval=0.02, maxval=0.33)
  ratio = (10 / 3) ** jax.random.uniform(ratio_key, (b, 1), minval=-1.0, maxval=1.0)
  pixels = jnp.array([h, w])
  sides = jnp.clip(jnp.round(jnp.sqrt(area * ratio ** jnp.array([-1.0, 1.0])) * pixels), 1, pixels)
  corner = jnp.floor(jax.random.uniform(place_key, (b, 2)) * (pixels - sides + 1))
  inside = lambda axis, size: ((jnp.arange(size) >= corner[:, axis, None])
                               & (jnp.arange(size) < (corner + sides)[:, axis, None]))
  use = jax.random.bernoulli(use_key, probability, (b, 1, 1))
  box = use & inside(0, h)[:, :, None] & inside(1, w)[:, None, :]
  return jnp.where(box[..., None], jnp.asarray(GREY, images.dtype), images)


def random_boxes(key, count, scale):
  """Boxes in a picture: -> (corner f32[B,2], sides f32[B,2]), down and across, in parts of the picture's sides.

  The area is uniform in [`scale`, 1] of the picture's, the logarithm of the ratio of the sides uniform in ±ln(4/3),
  and the place any (Szegedy et al. 2015); a side longer than the picture's is cut to it.
  """
  area_key, ratio_key, place_key = jax.random.split(key, 3)
  area = jax.random.uniform(area_key, (count, 1), minval=scale, maxval=1.0)
  ratio = (4 / 3) ** jax.random.uniform(ratio_key, (count, 1), minval=-1.0, maxval=1.0)
  sides = jnp.minimum(jnp.sqrt(area * ratio ** jnp.array([-1.0, 1.0])), 1.0)
  return jax.random.uniform(place_key, (count, 2)) * (1 - sides), sides


def resize_boxes(images, corner, sides, size):
  """Resizes a box of each picture, linearly and with antialiasing: u8[B,H,W,C] -> f32[B,S,S,C], values in [0,255]."""
  pixels = jnp.array(images.shape[1:3], jnp.float32)
  zoom = size / (sides * pixels)
  resize = lambda image, zoom, shift: jax.image.scale_and_translate(
      image, (size, size, image.shape[-1]), (0, 1), zoom, shift, 'linear', antialias=True)
  return jax.vmap(resize)(images.astype(jnp.float32), zoom, -corner * pixels * zoom)


def augment(key, images, targets, *, size, flip, crop_padding, crop_scale, trivial, cutmix, mixup=0.0, erasing=0.0):
  """The training pictures: u8[B,H,W,C], f32[B,K] -> f32[B,S,S,C] in [-1,1], f32[B,K].

  Changed by TrivialAugment where `trivial`, moved by up to `crop_padding` pixels, a box of at least `crop_scale` of the
  area resized to S, flipped, erased in part with probability `erasing`, and mixed with probabilities `cutmix` and
  `mixup`; what is off is left out of the program.
  """
  crop_key, flip_key, mix_key = jax.random.split(key, 3)
  box_key = jax.random.fold_in(key, 3)
  if trivial:
    images = trivial_lib.trivial_augment(jax.random.fold_in(key, 4), images)
  if crop_padding:
    images = random_crop(crop_key, images, crop_padding)
  if crop_scale < 1:
    images = resize_boxes(images, *random_boxes(box_key, len(images), crop_scale), size)
  elif size != images.shape[1]:
    images = resize_boxes(images, jnp.zeros((len(images), 2)), jnp.ones((len(images), 2)), size)
  if flip:
    images = random_flip(flip_key, images)
  if erasing:
    images = erase_boxes(jax.random.fold_in(key, 5), images, erasing)
  if cutmix:
    images, targets = mix_boxes(mix_key, images, targets, cutmix)
  if mixup:
    images, targets = mix_pictures(jax.random.fold_in(key, 6), images, targets, mixup)
  return normalize(images), targets
