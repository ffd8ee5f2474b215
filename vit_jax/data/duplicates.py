"""The same picture twice: perceptual hashes find the candidates, pixels decide.

A hash (pHash: the signs of a picture's 64 lowest frequencies) survives another JPEG quality, brightness or size. But
all skies are blue above and white below, and have nearly the same one. So each pair whose hashes are close is laid
one over the other, without its lowest frequencies, and counts only where the rest, the texture, agrees.
"""
import concurrent.futures
import hashlib
import itertools

import numpy as np

from vit_jax import machine
from vit_jax import progress

# Bits of 64 in which the hashes of a candidate pair may differ; their number is even. Of pictures of 32×32 pixels that
# are shifted by one, 98 in 100 stay within 12. (How all of these were chosen: experiments/data_report.)
MAX_DISTANCE = 12
# Pixels a side of the grey thumbnails that are laid one over the other, and by how many they are shifted to fit.
THUMBNAIL = 32
SHIFT = 1
# Cosine waves of so few half periods over the picture, across and down together, are left out of the comparison:
# the brightness, its slope, and its bulge, which many pictures share.
SMOOTH = 2
# What is left must be there, in grey levels (root mean square over the picture), and must correlate by so much. Of 60
# pairs of CIFAR-10 between 0.85 and 0.9, 59 show the same thing; between 0.75 and 0.8, half are two of one kind.
MIN_TEXTURE = 4.0
MIN_CORRELATION = 0.85
# Pictures smaller than a thumbnail say too little for that: handwritten digits of 8×8 pixels would be all alike.
MIN_CORRELATION_SMALL = 0.97
# The mean colours may be so many levels apart, in each channel: brighter is the same picture, red for green is not.
MAX_COLOUR_CHANGE = 50
# Pictures that are hashed in one piece, and from how many of one hash on the flat ones are left out first.
CHUNK, CROWD = 500, 100


def perceptual_hashes(images):
  """The 64 bits of imagehash's `phash`: u8[N,S,S,3] (in memory or in a file) -> u64[N].

  Source: Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions".
  """
  hashes = [np.zeros(0, np.uint64)]
  # One after the other, 0.2 ms each: threads wait for each other's Python and are slower, two processes hardly faster,
  # and they break programs whose main module cannot be imported again.
  with progress.bar(total=len(images), desc='hashing', unit='pictures') as bar:
    for start in range(0, len(images), CHUNK):
      hashes.append(hash_chunk(images[start:start + CHUNK]))
      bar.update(len(hashes[-1]))
  return np.concatenate(hashes)


def hash_chunk(images):
  """u8[B,S,S,3] -> u64[B], the first bit of each hash highest."""
  import imagehash  # Here, not above: with scipy it takes half a second that `--help` need not pay.
  from PIL import Image

  bits = np.array([imagehash.phash(Image.fromarray(image)).hash.ravel() for image in images])
  return np.packbits(bits, axis=1).view('>u8')[:, 0].astype(np.uint64)


def near_duplicates(images, hashes):
  """Pairs of the same picture: u8[N,S,S,3], its `perceptual_hashes` u64[N] -> i64[P,2], i < j in each, sorted.

  Of pictures with equal pixels, the first is paired with each of the others and stands for them in all other pairs,
  so that a thousand white pages are 999 pairs; `groups` puts them together. Mirror images are not looked for: a
  mirrored arrow, or a mirrored 2, is another picture.
  """
  twins = equal_pairs(images, hashes)
  firsts = np.setdiff1d(np.arange(len(hashes)), twins[:, 1])
  firsts = np.setdiff1d(firsts, flat_crowds(images, hashes, firsts))
  candidates = firsts[close_pairs(hashes[firsts], MAX_DISTANCE)]
  near = candidates[same_picture(images, candidates)]
  return np.unique(np.concatenate([twins, near]), axis=0)


def groups(count, pairs):
  """Puts together what pairs connect, over others too: N, i64[P,2] -> i64[N], the smallest index of each group."""
  from scipy import sparse
  from scipy.sparse import csgraph

  ones = np.ones(len(pairs), bool)
  graph = sparse.coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
  group = csgraph.connected_components(graph, directed=False)[1]
  _, first = np.unique(group, return_index=True)
  return first[group].astype(np.int64)


def equal_pairs(images, hashes):
  """Pairs (first, later) of pictures with equal pixels, which have equal hashes: -> i64[P,2]."""
  _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
  seen, pairs = {}, []
  for i in np.flatnonzero(counts[inverse] > 1).tolist():
    # A digest, as the pixels of all pictures of video frames, say, would not fit into memory.
    first = seen.setdefault(hashlib.blake2b(np.ascontiguousarray(images[i]), digest_size=16).digest(), i)
    if first != i:
      pairs.append((first, i))
  return np.array(pairs, np.int64).reshape(-1, 2)


def flat_crowds(images, hashes, indices):
  """Those of the pictures i[M] whose hash more than CROWD of them have and that are too flat to be told apart: -> i[F].

  Thousands of blank pages would be millions of pairs, of which `same_picture` takes none.
  """
  _, inverse, counts = np.unique(hashes[indices], return_inverse=True, return_counts=True)
  crowd = indices[counts[inverse] > CROWD]
  pieces = np.array_split(crowd, max(len(crowd) // CHUNK, 1))
  return np.concatenate([piece[~is_textured(look(images[piece])[0])] for piece in pieces])


def is_textured(texture):
  """Whether there is enough in a texture to tell it from another: f[B,T,T] -> bool[B]."""
  return np.sqrt(np.square(texture, dtype=np.float32).mean(axis=(1, 2))) >= MIN_TEXTURE


def close_pairs(hashes, max_distance, *, rows=64, columns=4096):
  """All pairs i < j whose hashes differ in at most so many bits: u64[N] -> i64[P,2].

  Each hash is compared with each: 6 thousand million pairs for 110,000 pictures, about 3 ns each on one core. A
  block of rows × columns fits the cache; numpy lets go of Python's lock meanwhile, so that threads share the work.
  """
  def row_of_blocks(top):
    found = []
    for left in range(top, len(hashes), columns):
      other = hashes[left:left + columns]
      near = np.bitwise_count(hashes[top:top + rows, None] ^ other) <= max_distance
      i, j = np.divmod(np.flatnonzero(near), len(other))
      i, j = i + top, j + left
      found.append(np.stack([i, j], axis=1)[i < j])
    return np.concatenate(found)

  tops = range(0, len(hashes), rows)
  with concurrent.futures.ThreadPoolExecutor(machine.num_cores()) as pool:
    found = list(progress.track(pool.map(row_of_blocks, tops), total=len(tops), desc='comparing', unit='blocks'))
  return np.concatenate([np.zeros((0, 2), np.int64), *found])


def same_picture(images, pairs, *, batch=1000):
  """Lays pairs one over the other: u8[N,S,S,3], i64[P,2] -> bool[P], whether both are the same picture."""
  # Once for each picture, and without the flat ones: there may be thousands of those, all with one hash.
  used = np.unique(pairs)
  texture = np.zeros((len(used), THUMBNAIL, THUMBNAIL), np.float16)
  colour = np.zeros((len(used), 3), np.float32)
  for start in range(0, len(used), batch):
    of_batch = slice(start, start + batch)
    texture[of_batch], colour[of_batch] = look(images[used[of_batch]])
  enough = is_textured(texture)
  left, right = np.searchsorted(used, pairs).T
  same = enough[left] & enough[right] & (np.abs(colour[left] - colour[right]).max(axis=1) <= MAX_COLOUR_CHANGE)
  least = MIN_CORRELATION if images.shape[1] >= THUMBNAIL else MIN_CORRELATION_SMALL
  rest = np.flatnonzero(same)
  for start in range(0, len(rest), batch):
    of_batch = rest[start:start + batch]
    same[of_batch] = correlation(texture[left[of_batch]], texture[right[of_batch]]) >= least
  return same


def look(images):
  """u8[B,S,S,3] -> (texture f32[B,T,T] in grey levels, without the smooth waves; mean colours f32[B,3])."""
  from scipy import fft

  colour = images.mean(axis=(1, 2), dtype=np.float32)
  grey = images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
  weights = area_weights(images.shape[1])
  waves = fft.dctn(weights @ grey @ weights.T, axes=(1, 2), norm='ortho')
  down, across = np.indices((THUMBNAIL, THUMBNAIL))
  waves[:, down + across <= SMOOTH] = 0
  return fft.idctn(waves, axes=(1, 2), norm='ortho'), colour


def area_weights(size):
  """f32[T,S]: each row takes the mean over its T-th share of S pixels, parts of pixels too."""
  edges = np.linspace(0, size, THUMBNAIL + 1)
  low, high = edges[:-1, None], edges[1:, None]
  pixel = np.arange(size)
  overlap = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None)
  return (overlap / (high - low)).astype(np.float32)


def correlation(a, b):
  """Of pairs of textures, at the best of the small shifts: f[B,T,T], f[B,T,T] -> f32[B] in [-1,1]."""
  inner = lambda x, down, across: x[:, SHIFT + down:THUMBNAIL - SHIFT + down, SHIFT + across:THUMBNAIL - SHIFT + across]
  unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=(1, 2), keepdims=True), 1e-9)
  a, b = a.astype(np.float32), b.astype(np.float32)
  middle = unit(inner(a, 0, 0))
  shifts = itertools.product(range(-SHIFT, SHIFT + 1), repeat=2)
  return np.max([(middle * unit(inner(b, *shift))).sum(axis=(1, 2)) for shift in shifts], axis=0)
