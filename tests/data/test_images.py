import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from framebridge_jax.data import images

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def corners(picture):
  """Top left, top right, bottom right, bottom left."""
  return [tuple(picture[i].tolist()) for i in ((0, 0), (0, -1), (-1, -1))] + [
    tuple(picture[-1, 0].tolist())
  ]


def coloured_corners():
  image = Image.new('RGB', (6, 4))
  for place, colour in {
    (0, 0): RED,
    (5, 0): GREEN,
    (5, 3): BLUE,
    (0, 3): WHITE,
  }.items():
    image.putpixel(place, colour)
  return image


def header_only_png(width, height):
  """A PNG that promises pixels and has none."""
  header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
  check = struct.pack('>I', zlib.crc32(b'IHDR' + header))
  start = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13)
  return start + b'IHDR' + header + check + struct.pack('>I', 0) + b'IDAT'


@pytest.mark.parametrize('format', ['PNG', 'WEBP', 'GIF', 'BMP', 'TIFF'])
def test_lossless_formats_give_the_pixels_back(tmp_path, format):
  path = tmp_path / 'picture'
  options = {'lossless': True} if format == 'WEBP' else {}
  coloured_corners().save(path, format, **options)
  picture = images.read_image(path)
  assert (picture.shape, picture.dtype) == ((4, 6, 3), np.uint8)
  assert corners(picture) == [RED, GREEN, BLUE, WHITE]


# The Exif standard: where row 0 and column 0 of the stored image belong.
@pytest.mark.parametrize(
  ('orientation', 'seen'),
  [
    (1, [RED, GREEN, BLUE, WHITE]),
    (2, [GREEN, RED, WHITE, BLUE]),
    (3, [BLUE, WHITE, RED, GREEN]),
    (4, [WHITE, BLUE, GREEN, RED]),
    (5, [RED, WHITE, BLUE, GREEN]),
    (6, [WHITE, RED, GREEN, BLUE]),
    (7, [BLUE, GREEN, RED, WHITE]),
    (8, [GREEN, BLUE, WHITE, RED]),
  ],
)
def test_exif_rotation_is_applied(tmp_path, orientation, seen):
  path = tmp_path / 'picture.png'
  exif = Image.Exif()
  exif[0x0112] = orientation
  coloured_corners().save(path, exif=exif)
  assert corners(images.read_image(path)) == seen


@pytest.mark.parametrize(
  ('mode', 'value', 'seen'),
  [
    ('RGBA', (255, 0, 0, 0), WHITE),
    ('RGBA', (255, 0, 0, 255), RED),
    ('RGBA', (0, 0, 0, 51), (204, 204, 204)),
    ('LA', (0, 51), (204, 204, 204)),
    ('L', 7, (7, 7, 7)),
    ('1', 1, WHITE),
    ('I;16', 0, BLACK),
    ('I;16', 257 * 100, (100, 100, 100)),
    ('I;16', 257 * 100 + 200, (101, 101, 101)),
    ('I;16', 65535, WHITE),
  ],
)
def test_every_mode_becomes_what_is_seen(tmp_path, mode, value, seen):
  path = tmp_path / 'picture.png'
  Image.new(mode, (2, 2), value).save(path)
  assert corners(images.read_image(path)) == [seen] * 4


def test_a_palette_with_a_transparent_colour(tmp_path):
  path = tmp_path / 'picture.png'
  image = Image.new('P', (2, 1))
  image.putpalette([*RED, *BLUE])
  image.putpixel((1, 0), 1)
  image.save(path, transparency=1)
  assert corners(images.read_image(path)) == [RED, WHITE, WHITE, RED]


@pytest.mark.parametrize('format', ['JPEG', 'TIFF'])
def test_cmyk_ink_is_subtracted_from_white(tmp_path, format):
  path = tmp_path / 'picture'
  Image.new('CMYK', (16, 16), (0, 255, 255, 0)).save(path, format)
  np.testing.assert_allclose(images.read_image(path)[8, 8], RED, atol=3)


def test_an_animation_gives_its_first_frame(tmp_path):
  path = tmp_path / 'picture.gif'
  first, second = (Image.new('RGB', (2, 2), c) for c in (RED, BLUE))
  first.save(path, save_all=True, append_images=[second])
  assert corners(images.read_image(path)) == [RED] * 4


@pytest.mark.parametrize(
  ('size', 'says'),
  [((5657, 5657), 'has 5657 x 5657'), ((5656, 5656), 'is damaged')],
)
def test_the_limit_is_checked_before_decoding(tmp_path, size, says):
  path = tmp_path / 'picture.png'
  path.write_bytes(header_only_png(*size))
  with pytest.raises(images.ImageError, match=f'^{path} {says}'):
    images.read_image(path)


def test_what_cannot_be_read_is_one_error_with_the_path(tmp_path):
  png = tmp_path / 'whole.png'
  noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
  Image.fromarray(noise).save(png)
  contents = {
    'empty.png': b'',
    'text.png': b'not a picture',
    'cut.png': png.read_bytes()[:4000],
    'unknown.png': b'P6 1 1 255\n\0\0\0',  # PPM
    'bomb.png': header_only_png(60000, 60000),
  }
  for name, data in contents.items():
    (tmp_path / name).write_bytes(data)
  for name in (*contents, 'missing.png', '.'):
    path = tmp_path / name
    with pytest.raises(images.ImageError) as caught:
      images.read_image(path)
    assert str(path) in str(caught.value)


def test_32_bit_samples_are_refused(tmp_path):
  path = tmp_path / 'picture.tiff'
  Image.new('F', (2, 2), 0.5).save(path)
  with pytest.raises(images.ImageError, match='tiff holds 32-bit'):
    images.read_image(path)
