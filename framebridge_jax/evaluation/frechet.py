"""The Fréchet distance between two clouds of features, in float64.

Between Gaussians of means m, n and covariances A, B (Dowson & Landau 1982)

    d = |m - n|^2 + tr A + tr B - 2 tr (A^{1/2} B A^{1/2})^{1/2}            (1)

With A = R'R and B = S'S the last trace is the nuclear norm of R S', the sum of
its singular values:

    tr (A^{1/2} B A^{1/2})^{1/2} = | R S' |_*                               (2)

R comes from the features themselves.  No covariance is ever multiplied by
another and no root of rounding errors is taken, so that (1) is as precise where
there are fewer clips than features as elsewhere, and is never below zero by
more than rounding.

Covariances are divided by n, as in StyleGAN-V, whose protocol the field uses.
The distance is biased upwards, about as 1/n: only numbers of the same n may be
compared, and the distance of real clips from others of the same n, the floor,
stands beside each.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Cloud = Float[np.ndarray, 'n d']


class Gaussian(NamedTuple):
  """Mean, and R of a covariance R'R.

  Attributes:
    mean: of the features.
    root: R; has as many rows as there are clips or features, whichever are
      fewer.
    count: clips that it was fitted to.
  """

  mean: Float[np.ndarray, 'd']
  root: Float[np.ndarray, 'r d']
  count: int


class Distance(NamedTuple):
  """A distance, and what must be known to read it.

  Attributes:
    value: the squared Fréchet distance, at least 0.
    warnings: a sentence for each reason to doubt it.
  """

  value: float
  warnings: tuple[str, ...] = ()


class FeatureError(ValueError):
  """Features that have no Fréchet distance."""


def fit(features: Cloud, name: str = 'features') -> Gaussian:
  """The Gaussian of a cloud.

  Args:
    features: one row a clip.
    name: of the cloud, for messages.

  Raises:
    FeatureError: there are fewer than two clips, or numbers that are not
      finite.
  """
  count, size = features.shape
  if count < 2:
    raise FeatureError(
      f'{name}: {count} clips have no covariance; give at least 2, and 1,000 '
      f'for any claim'
    )
  bad = int((~np.isfinite(features).all(axis=1)).sum())
  if bad:
    raise FeatureError(
      f'{name}: features of {bad} of {count} clips are not finite; look at '
      f'these clips and at the weights of the network'
    )
  x = features.astype(np.float64)
  mean = x.mean(axis=0)
  root = np.asarray(np.linalg.qr((x - mean) / np.sqrt(count), mode='r'))
  return Gaussian(mean, root, count)


def distance(real: Gaussian, ours: Gaussian) -> Distance:
  """The distance, and what makes it doubtful.

  Raises:
    FeatureError: the clouds have different features.
  """
  return Distance(value(real, ours), tuple(_warnings(real, ours)))


def value(real: Gaussian, ours: Gaussian) -> float:
  """Equation (1) by (2), without a look at the ranks.

  Raises:
    FeatureError: the clouds have different features.
  """
  if real.mean.shape != ours.mean.shape:
    raise FeatureError(
      f'{real.mean.size} features against {ours.mean.size}; both sides must go '
      f'through the same network'
    )
  shift = np.sum((real.mean - ours.mean) ** 2)
  spread = np.sum(real.root**2) + np.sum(ours.root**2)
  shared = np.linalg.svd(real.root @ ours.root.T, compute_uv=False).sum()
  found = float(shift + spread - 2 * shared)
  slack = _SLACK * _EPSILON * (shift + spread) * real.mean.size
  assert found >= -slack, f'{found} is below zero by more than rounding'
  return max(found, 0.0)


def _warnings(real, ours):
  size = real.mean.size
  for name, side in (('the real side', real), ('the samples', ours)):
    most = min(side.count - 1, size)
    if side.count <= size:
      yield (
        f'{name}: {side.count} clips span at most {most} of {size} features; '
        f'the covariance is rank-deficient and the distance biased upwards'
      )
    rank = int(np.linalg.matrix_rank(side.root))
    if rank < most:
      yield (
        f'{name}: the features of {side.count} clips have rank {rank}, not '
        f'{most}; some features never change, or clips are alike'
      )


_EPSILON = float(np.finfo(np.float64).eps)
_SLACK = 16
