"""Reading of a user's picture into plain uint8 RGB."""

import io
import os
import struct
import zlib

import numpy as np
from etils import epath
from PIL import Image, ImageOps

from framebridge_jax import files
from framebridge_jax.data import clips

MAX_PIXELS = 32_000_000
FORMATS = ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP', 'TIFF')


class ImageError(ValueError):
  """A picture that cannot be read; the message names the file and why."""


def read_image(path: str | os.PathLike) -> clips.Picture:
  """Reads the first frame of an image file as it is meant to be seen.

  EXIF rotation is applied, transparency is laid over white, grey, palette and
  CMYK become RGB, and 16-bit grey is scaled to 8 bits.

  Args:
    path: A PNG, JPEG, WEBP, GIF, BMP or TIFF file of at most 32 Mpixel.

  Raises:
    ImageError: The file is missing, is no such image, is damaged, is too large
      (found before decoding), or holds 32-bit samples.
  """
  path = epath.Path(path)
  if not files.is_file(path):
    raise ImageError(f'{path} is no file; give the path of an image')
  try:
    with path.open('rb') as file:
      return decode_image(file, str(path))
  except OSError as e:
    raise ImageError(f'{path} cannot be read: {e.strerror}') from e


def decode_image(file: io.BufferedIOBase, name: str) -> clips.Picture:
  """As `read_image`, of an open file; `name` is for errors.

  Raises:
    ImageError: See `read_image`.
  """
  try:
    with Image.open(file, formats=FORMATS) as image:
      _check_size(name, image.size)
      return _to_rgb(name, image)
  except ImageError:
    raise
  except (Image.UnidentifiedImageError, Image.DecompressionBombError) as e:
    raise ImageError(
      f'{name} is no image that can be read; '
      f'known formats: {", ".join(FORMATS)}'
    ) from e
  except DAMAGE as e:
    raise ImageError(f'{name} is damaged or cannot be read: {e}') from e


def _check_size(name, size):
  width, height = size
  if width * height > MAX_PIXELS:
    raise ImageError(
      f'{name} has {width} x {height} pixels; at most {MAX_PIXELS:,} are '
      'read; make it smaller'
    )


def _to_rgb(name, image):
  """Upright uint8 RGB; 16-bit samples are 257 times 8-bit ones."""
  if image.mode in ('I', 'F'):
    raise ImageError(
      f'{name} holds 32-bit samples; save it with 8 or 16 bits a channel'
    )
  upright = ImageOps.exif_transpose(image)
  if upright.mode.startswith('I;16'):
    grey = np.rint(np.asarray(upright) / 257).astype(np.uint8)
    upright = Image.fromarray(grey)
  if upright.has_transparency_data:
    upright = upright.convert('RGBA')
    white = Image.new('RGBA', upright.size, 'white')
    upright = Image.alpha_composite(white, upright)
  return np.asarray(upright.convert('RGB'))


# What Pillow raises on damaged files of one format or another.
DAMAGE = (
  OSError,
  SyntaxError,
  ValueError,
  TypeError,
  EOFError,
  LookupError,
  OverflowError,
  struct.error,
  zlib.error,
)
