"""Scores by name: which numbers of a clip, and what is made of them.

Table METRICS.  A score is a statistic of a table of `measures`; those of one
measure share one pass over the clips.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from framebridge_jax.evaluation import bootstrap, frechet, inception
from framebridge_jax.evaluation.measures import Table

Column = np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
  """A score.

  Attributes:
    title: as it is printed.
    measure: which numbers, a name of a measure.
    column: which of them.
    statistic: `of(ours, real)` for scores with a real side, else `of(ours)`.
    real: whether it compares with the real side.
    better: `lower`, `higher`, or `real` where the real clips' own is best.
    meaning: one sentence.
  """

  title: str
  measure: str
  column: str
  statistic: Callable[..., float]
  real: bool = False
  better: str = 'lower'
  meaning: str


class Sides(NamedTuple):
  """Tables of one measure.

  Attributes:
    ours: of the samples.
    real: of the real side; None where the metric does not want it.
    floor: of real clips that are not on the real side, as many as samples if
      there are.
    against: what the floor is held against; None: the real side.
    copy: of the floor's first frames, repeated.
  """

  ours: Table
  real: Table | None = None
  floor: Table | None = None
  against: Table | None = None
  copy: Table | None = None


def score(
  metric: Metric, sides: Sides, *, draws: int, seed: int
) -> dict[str, Any]:
  """The score with all that must stand beside it.

  Args:
    metric: a row of METRICS.
    sides: the tables.
    draws: of the bootstrap; 0: no interval.
    seed: of the draws.
  """
  ours = _numbers(metric, sides.ours)
  real = [_numbers(metric, sides.real)] if metric.real else []
  value = metric.statistic(ours, *real)
  interval = bootstrap.interval(
    metric.statistic, [ours, *real], value=value, draws=draws, seed=seed
  )
  found = {
    'value': value,
    'low': interval and interval.low,
    'high': interval and interval.high,
    'better': metric.better,
    'samples': len(ours),
    'weights': sides.ours.measure.weights,
    'warnings': list(_warnings(metric, ours, *real)),
  }
  if metric.real:
    found['real'] = len(real[0])
  if sides.floor is not None:
    against = sides.against or sides.real
    other = [_numbers(metric, against)] if metric.real else []
    floor = _numbers(metric, sides.floor)
    found['floor'] = metric.statistic(floor, *other)
    found['floor_clips'] = [len(floor), *map(len, other)]
  if sides.copy is not None:
    found['copy'] = metric.statistic(_numbers(metric, sides.copy), *real)
  return found


def _numbers(metric, table):
  values = table.column(metric.column)
  if metric.statistic is accuracy:
    labels = np.array(table.labels)[:, None].astype(values.dtype)
    return np.concatenate([values, labels], axis=1)
  return values


def _warnings(metric, ours, real=None):
  if real is None:
    return
  yield from frechet.distance(frechet.fit(real), frechet.fit(ours)).warnings
  if len(ours) < CLAIM:
    yield (
      f'{len(ours)} samples: the distance is biased upwards; make no claim '
      f'below {CLAIM}'
    )


def distance(ours: Column, real: Column) -> float:
  """Fréchet distance of two clouds."""
  return frechet.value(
    frechet.fit(real, 'the real side'), frechet.fit(ours, 'the samples')
  )


def mean(ours: Column) -> float:
  """Mean over clips."""
  return float(ours.astype(np.float64).mean())


def accuracy(ours: Column) -> float:
  """Share of clips whose largest logit is that of their label."""
  logits, labels = ours[:, :-1], ours[:, -1]
  return float((logits.argmax(axis=1) == labels).mean())


CLAIM = 1000  # samples

METRICS = {
  'fvd': Metric(
    title='FVD',
    measure='i3d',
    column='features',
    statistic=distance,
    real=True,
    meaning='Fréchet distance of I3D logits from the real clips.',
  ),
  'cd_fvd': Metric(
    title='CD-FVD',
    measure='videomae',
    column='features',
    statistic=distance,
    real=True,
    meaning='Fréchet distance of VideoMAE-v2 features, which see motion more.',
  ),
  'fd_phys': Metric(
    title='FD-phys',
    measure='motion_reader',
    column='features',
    statistic=distance,
    real=True,
    meaning='Fréchet distance of the features of a classifier of motion.',
  ),
  'class_accuracy': Metric(
    title='motion class read right',
    measure='motion_reader',
    column='logits',
    statistic=accuracy,
    better='higher',
    meaning='Share of samples that move as the class that was asked for.',
  ),
  'is': Metric(
    title='IS',
    measure='c3d',
    column='probabilities',
    statistic=inception.score,
    better='higher',
    meaning='Inception score of C3D: sure of each clip, and many classes.',
  ),
  'clipsim': Metric(
    title='CLIPSIM',
    measure='clip',
    column='similarity',
    statistic=mean,
    better='higher',
    meaning='Cosine of frames and caption in CLIP ViT-B/32, mean of frames.',
  ),
  'pic': Metric(
    title='PIC',
    measure='dreamsim',
    column='similarity',
    statistic=mean,
    better='higher',
    meaning='1 - DreamSim distance of frames from the given image.',
  ),
  'lpips': Metric(
    title='LPIPS',
    measure='lpips',
    column='distance',
    statistic=mean,
    meaning='Perceptual distance from the true clip, frame by frame.',
  ),
  'psnr': Metric(
    title='PSNR, dB',
    measure='true_clip',
    column='psnr',
    statistic=mean,
    better='higher',
    meaning='Against the true clip, over all frames.',
  ),
  'ssim': Metric(
    title='SSIM',
    measure='true_clip',
    column='ssim',
    statistic=mean,
    better='higher',
    meaning='Structural similarity to the true clip.',
  ),
  'first_frame_psnr': Metric(
    title='first frame kept, dB',
    measure='given_image',
    column='first_frame_psnr',
    statistic=mean,
    better='higher',
    meaning='PSNR of the first frame against the given image.',
  ),
  **{
    name: Metric(
      title=name.replace('_', ' '),
      measure='pixels',
      column=name,
      statistic=mean,
      better='real',
      meaning=meaning,
    )
    for name, meaning in {
      'motion': 'Root mean square of the change from frame to frame.',
      'flicker': 'Root mean square of how that change itself changes.',
      'dynamic': 'Share of clips in which 2 % of the pixels move.',
      'level_drift': 'Change of the mean colour from first to last frame.',
      'contrast_drift': 'Doublings of contrast from first to last frame.',
      'sharpness_drift': 'Doublings of edges from first to last frame.',
    }.items()
  },
}
