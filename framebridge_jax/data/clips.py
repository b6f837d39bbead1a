"""Operations on one clip: size, temporal window, lossless bytes.

A clip is uint8 `[f, h, w, 3]`.  The user's image takes the same way to the
network's size as the training clips do: through `resize_crop`.
"""

import dataclasses
import io
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import einops
import jaxtyping
import numpy as np
from PIL import Image

Video = jaxtyping.UInt8[np.ndarray, 'f h w 3']
Picture = jaxtyping.UInt8[np.ndarray, 'h w 3']
Pixels = jaxtyping.UInt8[np.ndarray, '*lead h w 3']
SquarePixels = jaxtyping.UInt8[np.ndarray, '*lead {size} {size} 3']
Square = jaxtyping.UInt8[np.ndarray, 'f {size} {size} 3']


@runtime_checkable
class Frames(Protocol):
  """The frames of a clip, which may still have to be decoded."""

  def __len__(self) -> int:
    """Counts the frames."""
    ...

  def read(self, indices: Sequence[int], size: int) -> Square:
    """Those frames, in the order asked for, cropped and resized as one.

    Raises:
      video_io.VideoError: They cannot be decoded.
    """
    ...


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
  """Frames that are at hand."""

  pixels: Video

  def __len__(self) -> int:
    return len(self.pixels)

  def read(self, indices: Sequence[int], size: int) -> Square:
    """Those frames, see `Frames`."""
    return resize_crop(self.pixels[np.asarray(indices)], size)


def resize_crop(pixels: Pixels, size: int) -> SquarePixels:
  """Cuts the central square out and resizes it to `size`.

  The filter is bicubic and as wide as the reduction asks for (antialiased).
  Pixels that already are `size` x `size` come back unchanged.
  """
  square = _centre_square(pixels)
  if square.shape[-2] == size:
    return square
  frames = square.reshape(-1, *square.shape[-3:])
  resized = np.stack([_resize(frame, size) for frame in frames])
  return resized.reshape(*pixels.shape[:-3], size, size, 3)


def shrink_crop(picture: Picture, size: int) -> SquarePixels:
  """Resizes the shorter side to `size`, then cuts the centre out, as CLIP does.

  The filter is Pillow's bicubic one, also where the picture becomes larger.
  An odd margin is halved and rounded to even, as in torchvision; transformers
  rounds down instead, so that every other odd margin is cut a pixel away.
  """
  height, width = picture.shape[:2]
  short = min(height, width)
  rows, columns = (size * side // short for side in (height, width))
  image = Image.fromarray(np.ascontiguousarray(picture))
  image = image.resize((columns, rows), Image.Resampling.BICUBIC)
  top, left = (round((side - size) / 2) for side in (rows, columns))
  return np.asarray(image)[top : top + size, left : left + size]


def span(*, frames: int, stride: int) -> int:
  """Consecutive frames that a window of every `stride`-th frame covers."""
  return (frames - 1) * stride + 1


def window(
  length: int, *, frames: int, stride: int, rng: np.random.Generator
) -> range:
  """Numbers every `stride`-th frame from a random start; all are equal.

  Raises:
    ValueError: The video, of `length` frames, is shorter than the window.
  """
  spanned = span(frames=frames, stride=stride)
  if length < spanned:
    raise ValueError(
      f'video has {length} frames; {frames} frames at stride {stride} '
      f'span {spanned}; lower frames or stride, or use longer videos'
    )
  start = int(rng.integers(length - spanned + 1))
  return range(start, start + spanned, stride)


def encode_strip(video: Video) -> bytes:
  """Packs a clip into one PNG, frames from top to bottom; loses nothing."""
  strip = einops.rearrange(video, 'f h w c -> (f h) w c')
  buffer = io.BytesIO()
  Image.fromarray(strip).save(buffer, 'png')
  return buffer.getvalue()


def decode_strip(data: bytes, *, frames: int) -> Video:
  """Unpacks what `encode_strip` packed."""
  with Image.open(io.BytesIO(data), formats=('PNG',)) as image:
    strip = np.asarray(image)
  return einops.rearrange(strip, '(f h) w c -> f h w c', f=frames)


def _centre_square(pixels):
  height, width = pixels.shape[-3:-1]
  side = min(height, width)
  top, left = (height - side) // 2, (width - side) // 2
  return pixels[..., top : top + side, left : left + side, :]


def _resize(frame, size):
  image = Image.fromarray(np.ascontiguousarray(frame))
  return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
