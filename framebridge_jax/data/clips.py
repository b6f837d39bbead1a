"""Operations on one clip: size, temporal window, lossless bytes.

A clip is uint8 `[f, h, w, 3]`.  The user's image takes the same way to the
network's size as the training clips do: through `resize_crop`.
"""

import io

import einops
import jaxtyping
import numpy as np
from PIL import Image

Video = jaxtyping.UInt8[np.ndarray, 'f h w 3']
Picture = jaxtyping.UInt8[np.ndarray, 'h w 3']
Pixels = jaxtyping.UInt8[np.ndarray, '*lead h w 3']
SquarePixels = jaxtyping.UInt8[np.ndarray, '*lead {size} {size} 3']
Window = jaxtyping.UInt8[np.ndarray, '{frames} h w 3']


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


def span(*, frames: int, stride: int) -> int:
  """Consecutive frames that a window of every `stride`-th frame covers."""
  return (frames - 1) * stride + 1


def window(
  video: Video, *, frames: int, stride: int, rng: np.random.Generator
) -> Window:
  """Takes every `stride`-th frame from a random start; all starts are equal.

  Raises:
    ValueError: The video is shorter than the window.
  """
  length = span(frames=frames, stride=stride)
  if len(video) < length:
    raise ValueError(
      f'video has {len(video)} frames; {frames} frames at stride {stride} '
      f'span {length}; lower frames or stride, or use longer videos'
    )
  start = rng.integers(len(video) - length + 1)
  return np.ascontiguousarray(video[start : start + length : stride])


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
