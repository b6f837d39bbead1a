"""Scores against several true futures of one first frame.

Real data show one future of a first frame; a generated bed shows many, and then
a model can be asked what one future cannot answer: does it reach all of them
(recall), and is each of its answers one of them (precision)?  A frozen or an
average answer fails the first, a noisy one the second.

The nearest of many is nearer than the nearest of few, so that sets of one size
are compared: the true futures of a scene are halved, and as many samples as a
half holds are held against each half.  What one half scores against the other
is the floor: nothing true scores better, up to chance.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from framebridge_jax.evaluation import pixels

Points = Float[np.ndarray, 's k d']  # scenes, futures of each, features
Scores = Float[np.ndarray, 's']
Clips = UInt8[np.ndarray, 's k f h w 3']
Ours = UInt8[np.ndarray, 's n f h w 3']  # as many of each as there are

# A pixel that no true future changes by more than this is background.
STILL = 8.0


class Coverage(NamedTuple):
  """Distances in feature space, one for each scene; less is better.

  Attributes:
    recall: from a true future to the nearest sample, mean over futures.
    precision: from a sample to the nearest true future, mean over samples.
    energy: energy distance of the two sets (Szekely & Rizzo 2013), without
      bias: 0 on average where both are drawn alike, and then as often below.
    diversity: mean distance between two samples, over that between two true
      futures; 1 is right.
  """

  recall: Scores
  precision: Scores
  energy: Scores
  diversity: Scores


def compare(truth: Points, ours: Points) -> Coverage:
  """Scores samples against as many true futures.

  A set is never compared with itself: that would find every future in itself.

  Args:
    truth: true futures of each scene, two or more.
    ours: as many samples.
  """
  assert truth.shape == ours.shape, (truth.shape, ours.shape)
  between = _distances(truth, ours)
  within_truth, within_ours = _distances(truth, truth), _distances(ours, ours)
  # Of two different ones: the distance from itself, 0, would say too little.
  others = 1 - 1 / truth.shape[1]
  spread_truth = within_truth.mean(axis=(1, 2)) / others
  spread_ours = within_ours.mean(axis=(1, 2)) / others
  return Coverage(
    recall=between.min(axis=2).mean(axis=1),
    precision=between.min(axis=1).mean(axis=1),
    energy=2 * between.mean(axis=(1, 2)) - spread_truth - spread_ours,
    diversity=spread_ours / spread_truth,
  )


def judge(futures: int, samples: int) -> int:
  """Futures of a half, of which there must be as many samples.

  Raises:
    ValueError: there are too few of either.
  """
  if futures < 4 or futures % 2:
    raise ValueError(
      f'{futures} true futures of a scene cannot be halved; want an even '
      f'number of at least 4'
    )
  if samples < futures // 2:
    raise ValueError(
      f'{samples} samples of a scene against halves of {futures // 2} true '
      f'futures; set num_futures to {futures // 2} or more'
    )
  return futures // 2


def best_of(
  truth: Clips,
  ours: Ours,
  score: Callable[[np.ndarray, np.ndarray], float] = pixels.psnr,
) -> Scores:
  """The best sample's score for a true future, mean over those of a scene."""
  return np.array(
    [
      np.mean([max(score(t, o) for o in samples) for t in futures])
      for futures, samples in zip(truth, ours, strict=True)
    ]
  )


def keeping(truth: Clips, ours: Ours) -> Scores:
  """PSNR of the background that no true future changes, mean over samples.

  A scene whose true futures change every pixel has none: NaN.
  """
  return np.array(
    [
      _kept(futures, samples)
      for futures, samples in zip(truth, ours, strict=True)
    ]
  )


def _distances(a, b):
  """Euclidean distances [s, k, l]."""
  apart = a[:, :, None].astype(np.float64) - b[:, None]
  return np.sqrt(np.sum(apart**2, axis=-1))


def _kept(futures, samples):
  change = np.abs(futures.astype(np.float64) - futures[:1, :1])
  still = change.max(axis=(0, 1, 4)) <= STILL  # [h, w]
  if not still.any():
    return np.nan
  error = samples[..., still, :].astype(np.float64) - futures[0, 0][still]
  mse = np.mean(error**2, axis=(1, 2, 3))
  least = 1 / error[0].size
  return np.mean(10 * np.log10(255**2 / np.maximum(mse, least)))
