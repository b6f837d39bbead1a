"""All scores of samples of first frames with several true futures."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from framebridge_jax.evaluation import bootstrap, futures, pixels


class Several(NamedTuple):
  """Clips of the same first frames: scenes, and futures of each."""

  features: Float[np.ndarray, 's k d']
  clips: UInt8[np.ndarray, 's k f h w 3']

  def part(self, part: slice) -> 'Several':
    """Some of the futures of each scene."""
    return Several(self.features[:, part], self.clips[:, part])


class Kind(NamedTuple):
  """A score: its title, which way is better, and what it says."""

  title: str
  better: str
  meaning: str


def scores(
  truth: Several,
  ours: Several,
  copy: Several | None = None,
  *,
  draws: int,
  seed: int,
) -> dict[str, dict[str, Any]]:
  """Every score of KINDS, with what must stand beside it.

  The interval is over scenes.  The floor is one half of the true futures scored
  against the other, and `scenes` holds one value for each scene, by which two
  systems are compared in pairs.

  Args:
    truth: an even number of true futures of each scene.
    ours: at least half as many samples of each.
    copy: the first frame of each scene, repeated; None: is not scored.
    draws: of the bootstrap.
    seed: of the draws.

  Raises:
    ValueError: there are too few futures or samples.
  """
  half = futures.judge(truth.clips.shape[1], ours.clips.shape[1])
  halves = truth.part(slice(half)), truth.part(slice(half, None))
  found = _against_both(truth, halves, ours.part(slice(half)))
  floor = _mean_of(
    {**_compare(one, other), **_kept(truth, other)}
    for one, other in (halves, halves[::-1])
  )
  copied = copy and _against_both(truth, halves, copy.part(slice(half)))
  count, futures_each = truth.clips.shape[:2]
  made = {}
  for name, kind in KINDS.items():
    values = found[name]
    interval = bootstrap.interval(
      _mean, [values], value=_mean(values), draws=draws, seed=seed
    )
    made[name] = {
      'value': _mean(values),
      'low': interval and interval.low,
      'high': interval and interval.high,
      'floor': _mean(floor[name]),
      'better': kind.better,
      'samples': count * half,
      'real': count * futures_each,
      'scenes': values.tolist(),
      'warnings': [],
    }
    if copied:
      made[name]['copy'] = _mean(copied[name])
  return made


def _against_both(truth, halves, ours):
  found = _mean_of(_compare(half, ours) for half in halves)
  return {**found, **_kept(truth, ours)}


def _mean_of(found):
  found = list(found)
  return {name: np.mean([x[name] for x in found], axis=0) for name in found[0]}


def _kept(truth, ours):
  return {'background_psnr': futures.keeping(truth.clips, ours.clips)}


def _compare(truth: Several, ours: Several) -> dict[str, np.ndarray]:
  """One value a scene for each score of samples against as many truths."""
  return {
    **futures.compare(truth.features, ours.features)._asdict(),
    'best_psnr': futures.best_of(truth.clips, ours.clips),
    'best_ssim': futures.best_of(truth.clips, ours.clips, pixels.ssim),
  }


def _mean(values) -> float:
  """Mean over the scenes that have a value."""
  return float(np.nanmean(values))


KINDS = {
  'recall': Kind(
    'recall distance',
    'lower',
    'From a true future to the nearest sample: are all of them reached?',
  ),
  'precision': Kind(
    'precision distance',
    'lower',
    'From a sample to the nearest true future: is it one of them?',
  ),
  'energy': Kind(
    'energy distance',
    'lower',
    'Between the samples and the true futures of a scene; 0 where alike.',
  ),
  'diversity': Kind(
    'diversity ratio',
    'one',
    'How far samples are apart, over how far true futures are; 1 is right.',
  ),
  'best_psnr': Kind(
    'best-of-K PSNR, dB',
    'higher',
    'Of the nearest sample to each true future.',
  ),
  'best_ssim': Kind(
    'best-of-K SSIM',
    'higher',
    'Structural similarity of the nearest sample to each true future.',
  ),
  'background_psnr': Kind(
    'background kept, dB',
    'higher',
    'PSNR where no true future changes anything.',
  ),
}
