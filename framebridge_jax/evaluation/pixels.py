"""Small scores of pixels, in grey levels of 0 to 255 and float64.

They need no network and no training.  Most mean little alone: they are given
beside the same score of real clips.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from framebridge_jax.evaluation import measures

Video = UInt8[np.ndarray, 'f h w 3']
Frames = Float[np.ndarray, 'f']

_VERSION = 'pixels 1'
# A pixel has moved if it differs so much from the first frame, and a clip is
# dynamic if so large a share of its pixels has, in any one frame.
MOVED, DYNAMIC = 16.0, 0.02


def alone() -> measures.Measure:
  """What a clip says by itself; see `look`."""
  return _measure('pixels', ALONE, lambda clip: look(clip.video))


def against_image() -> measures.Measure:
  """How well the given image is kept; see `keep`."""
  return _measure(
    'given_image', KEPT, lambda clip: keep(clip.video, clip.image), 'image'
  )


def against_truth() -> measures.Measure:
  """PSNR and SSIM against the true clip."""
  return _measure(
    'true_clip',
    ('psnr', 'ssim'),
    lambda clip: [psnr(clip.truth, clip.video), ssim(clip.truth, clip.video)],
    'truth',
  )


def look(video: Video) -> list[float]:
  """The numbers of ALONE.

  motion: root mean square of the change from frame to frame.
  flicker: the same of the change of that change; steady motion has little.
  dynamic: 1 where a share DYNAMIC of the pixels moves by more than MOVED.
  level_drift: change of the mean colour from the first frame to the last, mean
    over channels of its size.
  contrast_drift: how often the last frame's contrast (standard deviation) has
    doubled since the first.
  sharpness_drift: the same of its edges (root mean square of the differences of
    neighbouring pixels).
  """
  x = video.astype(np.float64)
  first, last = x[0], x[-1]
  moved = np.abs(x - first).max(axis=-1) > MOVED
  return [
    _rms(np.diff(x, axis=0)),
    _rms(np.diff(x, 2, axis=0)),
    float(moved.mean(axis=(1, 2)).max() > DYNAMIC),
    float(np.abs((last - first).mean(axis=(0, 1))).mean()),
    _doublings(last.std(), first.std()),
    _doublings(_edges(last), _edges(first)),
  ]


def keep(video: Video, image: UInt8[np.ndarray, 'h w 3']) -> list[float]:
  """The numbers of KEPT.

  first_frame_psnr: of the first frame, in dB; equal frames have `psnr`'s most.
  first_frame_error: the largest difference of a pixel, in grey levels.
  """
  difference = np.abs(video[0].astype(np.float64) - image)
  return [psnr(image[None], video[:1]), float(difference.max())]


def psnr(truth: Video, ours: Video) -> float:
  """Peak signal-to-noise ratio of a clip in dB, over all frames.

  Equal clips score as if one byte in them were off by one.
  """
  error = truth.astype(np.float64) - ours
  mse = max(np.mean(error**2), 1 / error.size)
  return float(10 * np.log10(255**2 / mse))


def ssim(truth: Video, ours: Video) -> float:
  """Structural similarity (Wang et al. 2004), mean over frames and channels.

  Its Gaussian window of standard deviation 1.5 is cut off at 11 pixels and
  stays inside the frame; K1 = 0.01, K2 = 0.03 and L = 255.
  """
  a, b = truth.astype(np.float64), ours.astype(np.float64)
  mean_a, mean_b = _blurred(a), _blurred(b)
  var_a = _blurred(a**2) - mean_a**2
  var_b = _blurred(b**2) - mean_b**2
  shared = _blurred(a * b) - mean_a * mean_b
  c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
  found = (2 * mean_a * mean_b + c1) * (2 * shared + c2)
  found /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
  return float(found.mean())


def _measure(name, columns, numbers, *needs):
  def run(clips: Sequence[measures.Clip]) -> measures.Numbers:
    return np.array([numbers(clip) for clip in clips], np.float32)

  return measures.Measure(
    name=name,
    digest=hashlib.sha256(f'{_VERSION} {name}'.encode()).hexdigest(),
    columns={x: slice(i, i + 1) for i, x in enumerate(columns)},
    run=run,
    needs=needs,
    least_frames=3,
    weights='none',
  )


def _rms(x):
  return float(np.sqrt(np.mean(x**2)))


def _edges(frame):
  down, across = np.diff(frame, axis=0), np.diff(frame, axis=1)
  return np.sqrt((np.mean(down**2) + np.mean(across**2)) / 2)


def _doublings(later, earlier):
  return float(np.log2((later + 1) / (earlier + 1)))


def _blurred(x):
  """The window's weighted mean wherever all of it fits."""
  for axis in (1, 2):
    parts = np.lib.stride_tricks.sliding_window_view(x, len(_WINDOW), axis)
    x = parts @ _WINDOW
  return x


_REACH = np.arange(-5, 6)
_WINDOW = np.exp(-(_REACH**2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()

ALONE = (
  'motion',
  'flicker',
  'dynamic',
  'level_drift',
  'contrast_drift',
  'sharpness_drift',
)
KEPT = ('first_frame_psnr', 'first_frame_error')
