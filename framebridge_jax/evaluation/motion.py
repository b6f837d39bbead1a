"""Scores of animated clips against the true clip of the same first frame."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from framebridge_jax.evaluation import pixels

Clips = UInt8[np.ndarray, 'n f h w c']
Futures = UInt8[np.ndarray, 'n k f h w c']


class MotionScores(NamedTuple):
  """How much moves, and how near the best of k futures comes to the truth.

  Attributes:
    change_ratio: energy of change from frame to frame, ours over the truth's;
      1 is right, 0 is a frozen picture.
    best_psnr: mean over clips of the best future's PSNR, in dB.
    copy_psnr: the same for repeating the first frame.
  """

  change_ratio: float
  best_psnr: float
  copy_psnr: float


def score_motion(truth: Clips, futures: Futures) -> MotionScores:
  """Scores k futures of each of n clips."""
  copies = np.repeat(truth[:, :1], truth.shape[1], axis=1)
  best = np.max(
    [psnr(truth, futures[:, k]) for k in range(futures.shape[1])], axis=0
  )
  return MotionScores(
    change_ratio=float(_change_energy(futures) / _change_energy(truth)),
    best_psnr=float(best.mean()),
    copy_psnr=float(psnr(truth, copies).mean()),
  )


class Likeness(NamedTuple):
  """How like the truth, and the given frame, clips are.

  Attributes:
    best_ssim: mean over clips of the best future's structural similarity.
    copy_ssim: the same for repeating the first frame.
    first_frame_error: the largest difference of a first frame's pixel from the
      given one, in grey levels.
  """

  best_ssim: float
  copy_ssim: float
  first_frame_error: float


def score_likeness(truth: Clips, futures: Futures) -> Likeness:
  """Scores k futures of each of n clips."""
  best = [
    max(pixels.ssim(clip, future) for future in own)
    for clip, own in zip(truth, futures, strict=True)
  ]
  copies = [
    pixels.ssim(clip, np.repeat(clip[:1], len(clip), axis=0)) for clip in truth
  ]
  first = futures[:, :, 0].astype(np.float64) - truth[:, None, 0]
  return Likeness(
    best_ssim=float(np.mean(best)),
    copy_ssim=float(np.mean(copies)),
    first_frame_error=float(np.abs(first).max()),
  )


def psnr(truth: Clips, ours: Clips) -> Float[np.ndarray, 'n']:
  """Peak signal-to-noise ratio of each clip in dB, over all frames.

  Equal clips score as if one byte in the clip were off by one.
  """
  error = truth.astype(np.float64) - ours
  mse = np.mean(error**2, axis=(1, 2, 3, 4))
  least = 1 / error[0].size
  return 10 * np.log10(255**2 / np.maximum(mse, least))


def _change_energy(clips):
  """Mean squared difference of neighbouring frames; frames are axis -4."""
  step = np.diff(clips.astype(np.float64), axis=-4)
  return np.mean(step**2)
