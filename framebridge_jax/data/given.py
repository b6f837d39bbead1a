"""Pictures and clips as users give them: a file, an array, an image object."""

import hashlib
import os
from typing import Any

import numpy as np
from etils import epath
from PIL import Image

from framebridge_jax.data import clips, images, video_io

PICTURES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff')


def read_picture(given: Any, size: int) -> clips.SquarePixels:
  """One frame of the model's size, cropped to the central square.

  Args:
    given: a path, a uint8 array [h, w, 3], or a PIL image.
    size: side of the frame.

  Raises:
    ValueError: it is none of these, or cannot be read.
  """
  if isinstance(given, str | os.PathLike):
    given = images.read_image(given)
  elif isinstance(given, Image.Image):
    given = np.asarray(given.convert('RGB'))
  given = _pixels(given, 'a picture', ('h', 'w', 3))
  return clips.resize_crop(given, size)


def read_clip(given: Any, size: int) -> clips.SquarePixels:
  """Frames of the model's size [f, size, size, 3].

  Args:
    given: a path of a video or a picture, a uint8 array [f, h, w, 3], or what
      `read_picture` takes: a clip of one frame.
    size: side of the frames.

  Raises:
    ValueError: it is none of these, or cannot be read.
  """
  if isinstance(given, str | os.PathLike):
    if epath.Path(given).suffix.lower() not in video_io.SUFFIXES:
      return read_picture(given, size)[None]
    given = video_io.read_video(given)
  if isinstance(given, Image.Image) or getattr(given, 'ndim', 4) == 3:
    return read_picture(given, size)[None]
  given = _pixels(given, 'a clip', ('f', 'h', 'w', 3))
  return clips.resize_crop(given, size)


def files_in(folder: str | os.PathLike, suffixes: tuple[str, ...]) -> list[str]:
  """Paths of a folder's files of some kinds, by name.

  Raises:
    ValueError: there are none.
  """
  found = sorted(
    os.fspath(path)
    for path in epath.Path(folder).iterdir()
    if path.suffix.lower() in suffixes
  )
  if not found:
    raise ValueError(
      f'{folder} holds no file that ends in {" ".join(suffixes)}'
    )
  return found


def fingerprint(frames: np.ndarray) -> str:
  """SHA-256 of frames as the model gets them."""
  return hashlib.sha256(np.ascontiguousarray(frames).data).hexdigest()


def _pixels(given, what, shape):
  fits = (
    isinstance(given, np.ndarray)
    and given.dtype == np.uint8
    and given.ndim == len(shape)
    and given.shape[-1] == 3
    and min(given.shape) > 0
  )
  if fits:
    return given
  came = type(given).__name__
  if hasattr(given, 'shape') and hasattr(given, 'dtype'):
    came = f'{given.dtype}{list(given.shape)}'
  sides = ', '.join(map(str, shape))
  raise ValueError(
    f'{what} is {came}, want a path or uint8[{sides}], values from 0 to 255'
  )
