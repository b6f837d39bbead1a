"""Pixels as CLIP's image towers were trained to see them.

Two ways lead there, and they give other numbers.  OpenAI's, for pictures, works
on bytes: `data.clips.shrink_crop`, then `from_bytes`.  VideoCrafter's and
DynamiCrafter's, `from_frames`, works on frames in [-1, 1]: both sides are
resized alone, so a frame loses its aspect and nothing is cut away.  It is
kornia 0.6.12's resize (bicubic, align_corners, antialias): where a side
shrinks, a Gaussian blur goes before cubic interpolation between grids whose
corners are aligned.  All of that is linear, so a side is resized by one matrix.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

Images = Float[Array, 'b h w 3']
Square = Float[Array, 'b {side} {side} 3']


def from_bytes(pixels: UInt8[Array, 'b h w 3']) -> Images:
  """Normalises uint8 pixels, channel by channel."""
  return _normalised(pixels.astype(jnp.float32) / 255)


def from_frames(frames: Images, side: int) -> Square:
  """Resizes frames in [-1, 1] to side x side and normalises them."""
  return _normalised((resize(frames, side) + 1) / 2)


def resize(frames: Images, side: int) -> Square:
  """Resizes each side alone; values may leave their range a little."""
  height, width = frames.shape[1:3]
  shrinks = max(height, width) > side
  return jnp.einsum(
    'rh,bhwc,kw->brkc',
    jnp.asarray(_matrix(height, side, shrinks), frames.dtype),
    frames,
    jnp.asarray(_matrix(width, side, shrinks), frames.dtype),
    precision=jax.lax.Precision.HIGHEST,
  )


def _normalised(pixels):
  mean, std = (jnp.asarray(x, jnp.float32) for x in (_MEAN, _STD))
  return (pixels - mean[None, None, None]) / std[None, None, None]


def _matrix(size, side, shrinks):
  """Resizes a row of `size` pixels to `side`; float64."""
  cubic = _cubic(size, side)
  return cubic @ _blur(size, size / side) if shrinks else cubic


def _cubic(size, side):
  """Keys' cubic convolution with a = -3/4; borders are repeated."""
  step = (size - 1) / (side - 1) if side > 1 else 0.0
  place = np.arange(side) * step
  matrix = np.zeros((side, size))
  for tap in range(-1, 3):
    pixel = np.floor(place) + tap
    column = np.clip(pixel, 0, size - 1).astype(int)
    np.add.at(matrix, (np.arange(side), column), _keys(np.abs(place - pixel)))
  return matrix


def _keys(x):
  near = ((_A + 2) * x - (_A + 3)) * x * x + 1
  far = ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
  return np.where(x <= 1, near, far)


def _blur(size, factor):
  """kornia's: about two standard deviations on each side, borders mirrored."""
  std = max((factor - 1) / 2, 0.001)
  reach = int(max(4 * std, 3)) // 2
  taps = np.arange(-reach, reach + 1)
  weights = np.exp(-(taps**2) / (2 * std**2))
  matrix = np.zeros((size, size))
  for tap, weight in zip(taps, weights / weights.sum(), strict=True):
    column = np.abs(np.arange(size) + tap)
    column = np.where(column < size, column, 2 * (size - 1) - column)
    np.add.at(matrix, (np.arange(size), column), weight)
  return matrix


_A = -0.75
_MEAN = 0.48145466, 0.4578275, 0.40821073
_STD = 0.26862954, 0.26130258, 0.27577711
