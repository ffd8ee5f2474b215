"""One file -> pixels: each format, mode and orientation that Pillow writes, against the pixels that were written."""
import io
import warnings

import numpy as np
from PIL import Image
from PIL import ImageOps
import pytest

from vit_jax.data import picture


def painted(height=24, width=24, seed=0):
  """A smooth picture u8[h,w,3], so that lossy formats stay close to it."""
  y, x, c = np.mgrid[:height, :width, :3]
  return np.clip(128 + 90 * np.sin(y / 7 + c + seed) * np.cos(x / 9 - c), 0, 255).astype(np.uint8)


def encode(image, kind, **options):
  """A Pillow image as the bytes of a file."""
  out = io.BytesIO()
  image.save(out, kind, **options)
  return out.getvalue()


@pytest.mark.parametrize('kind, tolerance', [
    ('PNG', 0), ('BMP', 0), ('TIFF', 0), ('PPM', 0), ('TGA', 0), ('JPEG', 8), ('WEBP', 14), ('GIF', 60), ('AVIF', 14)])
def test_formats(kind, tolerance):
  pixels = painted()
  options = {'quality': 98} if kind in ('JPEG', 'WEBP', 'AVIF') else {}
  image = Image.fromarray(pixels)
  data = encode(image.quantize(256) if kind == 'GIF' else image, kind, **options)
  got, size = picture.read(data, 24)
  assert (got.shape, got.dtype, size) == ((24, 24, 3), np.uint8, (24, 24))
  assert np.abs(got.astype(int) - pixels).max() <= tolerance


def test_the_middle_square_as_pillow_resizes_it():
  for height, width in ((60, 40), (40, 61), (8, 30)):
    pixels = painted(height, width)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    want = Image.fromarray(pixels[top:top + side, left:left + side]).resize((16, 16), Image.Resampling.BICUBIC)
    got, size = picture.read(encode(Image.fromarray(pixels), 'PNG'), 16)
    assert size == (width, height)
    np.testing.assert_array_equal(got, np.asarray(want))


def test_large_photos_are_read_at_a_fraction_of_the_work_and_look_the_same():
  pixels = painted(1200, 1600)
  data = encode(Image.fromarray(pixels), 'JPEG', quality=95)
  got, size = picture.read(data, 32)
  want = np.asarray(Image.fromarray(pixels[:, 200:1400]).resize((32, 32), Image.Resampling.BICUBIC), int)
  assert size == (1600, 1200)
  assert np.abs(got - want).mean() < 2


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(orientation):
  image = Image.fromarray(painted(20, 32))
  exif = Image.Exif()
  exif[0x0112] = orientation
  got, size = picture.read(encode(image, 'PNG', exif=exif), 20)
  image.getexif()[0x0112] = orientation
  want = ImageOps.exif_transpose(image)  # Pillow's own, on the picture before it was a file.
  assert size == want.size == ((20, 32) if orientation >= 5 else (32, 20))
  np.testing.assert_array_equal(got, picture.fit(want, 20))


def test_grey_bilevel_and_palette():
  grey = painted()[..., 0]
  np.testing.assert_array_equal(picture.read(encode(Image.fromarray(grey), 'PNG'), 24)[0], np.dstack([grey] * 3))
  bits = Image.fromarray(grey).convert('1')
  np.testing.assert_array_equal(picture.read(encode(bits, 'PNG'), 24)[0][..., 1], np.asarray(bits) * np.uint8(255))
  palette = Image.fromarray(painted()).quantize(32)
  np.testing.assert_array_equal(picture.read(encode(palette, 'PNG'), 24)[0], np.asarray(palette.convert('RGB')))


def test_transparent_is_white():
  rgba = np.dstack([painted(), np.zeros((24, 24), np.uint8)])
  rgba[:12, :, 3] = 255
  rgba[12, :, 3] = 128
  got, _ = picture.read(encode(Image.fromarray(rgba), 'PNG'), 24)
  np.testing.assert_array_equal(got[:12], rgba[:12, :, :3])
  np.testing.assert_array_equal(got[13:], 255)
  half = 255 - (255 - rgba[12, :, :3].astype(int)) * 128 / 255
  assert np.abs(got[12] - half).max() <= 1
  keyed = Image.fromarray(painted()).quantize(8)
  got, _ = picture.read(encode(keyed, 'PNG', transparency=3), 24)
  assert np.all(got[np.asarray(keyed) == 3] == 255)


@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
def test_sixteen_bits(kind):
  deep = (np.arange(576).reshape(24, 24) * 113).astype(np.uint16)
  got, _ = picture.read(encode(Image.fromarray(deep), kind), 24)
  assert np.abs(got[..., 0] - deep / 257).max() <= .51
  assert np.all(got[..., 0] == got[..., 2])


@pytest.mark.parametrize('values, white', [((0, .5, 1), 1), ((0, 100, 255), 255), ((0, 1000, 65535), 65535),
                                           ((0, 1e5, 2e5), 2e5)])
def test_floating_point(values, white):
  deep = np.resize(np.array(values, np.float32), (6, 6))
  got, _ = picture.read(encode(Image.fromarray(deep), 'TIFF'), 6)
  np.testing.assert_array_equal(got[..., 0], np.round(deep / white * 255))


def test_not_a_number_is_black():
  got, _ = picture.read(encode(Image.fromarray(np.full((4, 4), np.nan, np.float32)), 'TIFF'), 4)
  assert np.all(got == 0)


def test_cmyk():
  image = Image.fromarray(painted()).convert('CMYK')
  got, _ = picture.read(encode(image, 'TIFF'), 24)
  assert np.abs(got.astype(int) - painted()).max() <= 1  # No black was split off, so that it is exact but for rounding.
  got, _ = picture.read(encode(image, 'JPEG', quality=98), 24)
  assert np.abs(got.astype(int) - painted()).max() <= 12


def test_first_frame_of_an_animation():
  frames = [Image.fromarray(painted(seed=i)).quantize(256) for i in range(3)]
  data = encode(frames[0], 'GIF', save_all=True, append_images=frames[1:])
  np.testing.assert_array_equal(picture.read(data, 24)[0], np.asarray(frames[0].convert('RGB')))


def test_a_bomb_is_refused_before_it_is_decoded():
  huge = encode(Image.new('1', (20_000, 6_000)), 'PNG')
  assert len(huge) < 100_000
  with warnings.catch_warnings(), pytest.raises(picture.Unreadable, match=r'20000×6000 are more than [\d,]+ pixels'):
    warnings.simplefilter('ignore')  # Pillow's own, which comes first.
    picture.read(huge, 8)
  with pytest.raises(picture.Unreadable, match='exceeds limit'):  # Pillow's own refusal, of twice as many.
    picture.read(encode(Image.new('1', (30_000, 20_000)), 'PNG'), 8)


@pytest.mark.parametrize('data, reason', [
    (b'', 'not a picture that Pillow knows'), (b'I am no picture', 'not a picture that Pillow knows'),
    (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'not a picture that Pillow knows'),
    (encode(Image.fromarray(painted()), 'JPEG')[:-200], 'truncated'),
    (encode(Image.fromarray(painted()), 'PNG')[:-200], 'truncated')])
def test_unreadable(data, reason):
  with pytest.raises(picture.Unreadable, match=f'(?i){reason}'):
    picture.read(data, 8)


def test_heic_where_it_is_not_installed_names_the_package(monkeypatch):
  monkeypatch.delitem(Image.OPEN, 'HEIF', raising=False)
  with pytest.raises(picture.Unreadable, match=r"pip install 'vit_jax\[heic\]'"):
    picture.read(b'\0\0\0\x18ftypheic' + bytes(100), 8)


def test_heic_where_it_is_installed():
  heif = pytest.importorskip('pillow_heif', reason='the heic extra is not installed')
  heif.register_heif_opener()
  got, size = picture.read(encode(Image.fromarray(painted(64, 64)), 'HEIF', quality=95), 64)
  assert size == (64, 64)
  assert np.abs(got.astype(int) - painted(64, 64)).mean() < 4


@pytest.mark.parametrize('kind', ['TIFF', 'JPEG', 'WEBP'])
@pytest.mark.parametrize('orientation', [1, 6])
def test_the_size_is_that_of_the_upright_picture_in_every_format(kind, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  got, size = picture.read(encode(Image.fromarray(painted(300, 480)), kind, exif=exif), 10)
  assert size == ((480, 300) if orientation == 1 else (300, 480)) and got.shape == (10, 10, 3)


class Bounded(io.FileIO):
  """A file that is not to be read whole."""

  def read(self, size=-1):
    """At most a MiB."""
    assert 0 <= size < 2**20
    return super().read(size)


def test_a_film_is_not_read_whole_to_see_that_it_is_no_picture(tmp_path):
  with open(tmp_path / 'film.mov', 'wb') as file:
    file.truncate(2**33)
  with Bounded(tmp_path / 'film.mov') as file, pytest.raises(picture.Unreadable, match='not a picture'):
    picture.read(file, 8)
