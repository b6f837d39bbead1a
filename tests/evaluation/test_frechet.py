"""The Fréchet distance against closed forms and scipy, in float64."""

import numpy as np
import pytest
import scipy.linalg

from framebridge_jax.evaluation import frechet


def _clouds(n, d, seed=0):
  """Two clouds whose covariances do not commute."""
  rng = np.random.default_rng(seed)
  mix = rng.normal(size=(2, d, d)) / np.sqrt(d)
  x, y = rng.normal(size=(2, n, d))
  return x @ mix[0], y @ mix[1] + 0.3


def _by_scipy(x, y):
  """The formula of the field, with scipy's square root of a product."""
  a, b = (np.cov(z.T, bias=True) for z in (x, y))
  shift = np.sum((x.mean(0) - y.mean(0)) ** 2)
  return shift + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)


def _distance(x, y):
  return frechet.distance(frechet.fit(x), frechet.fit(y))


@pytest.mark.parametrize(('n', 'd'), [(50, 3), (400, 40), (300, 200)])
def test_it_is_that_of_scipy_where_there_are_more_clips_than_features(n, d):
  x, y = _clouds(n, d)
  found = _distance(x, y)
  assert found.value == pytest.approx(_by_scipy(x, y), rel=1e-9)
  assert not found.warnings


@pytest.mark.parametrize(
  ('n', 'm', 'd'), [(20, 20, 60), (2, 9, 12), (30, 5, 8)]
)
def test_it_is_the_nuclear_norm_where_covariances_are_rank_deficient(n, m, d):
  """By eigenvalues of the small side: those of Xc Yc' Yc Xc' are the same."""
  x, _ = _clouds(n, d)
  _, y = _clouds(m, d)
  xc, yc = ((z - z.mean(0)) / np.sqrt(len(z)) for z in (x, y))
  shared = np.linalg.norm(xc @ yc.T, ord='nuc')
  want = np.sum((x.mean(0) - y.mean(0)) ** 2) - 2 * shared
  want += np.trace(np.cov(x.T, bias=True)) + np.trace(np.cov(y.T, bias=True))
  assert _distance(x, y).value == pytest.approx(want, rel=1e-12)
  # The field's formula takes roots of rounding errors here, and is coarser.
  assert _distance(x, y).value == pytest.approx(_by_scipy(x, y), rel=1e-4)


def test_gaussians_of_one_dimension_have_their_closed_form():
  """(m - n)^2 + (s - t)^2 for means m, n and standard deviations s, t."""
  x = np.array([[1.0], [3.0]])  # mean 2, std 1
  y = np.array([[-4.0], [6.0]])  # mean 1, std 5
  assert _distance(x, y).value == pytest.approx(1 + 16, rel=1e-14)


def test_points_in_planes_at_right_angles_share_nothing():
  rng = np.random.default_rng(0)
  x, y = np.zeros((2, 30, 4))
  x[:, :2], y[:, 2:] = rng.normal(size=(2, 30, 2))
  want = np.sum((x.mean(0) - y.mean(0)) ** 2) + x.var(0).sum() + y.var(0).sum()
  assert _distance(x, y).value == pytest.approx(want, rel=1e-13)


def test_a_cloud_is_at_no_distance_from_itself_in_any_order():
  x, _ = _clouds(100, 150)
  shuffled = np.random.default_rng(1).permutation(x)
  scale = np.trace(np.cov(x.T))
  assert _distance(x, x).value <= 1e-12 * scale
  assert _distance(x, shuffled).value <= 1e-12 * scale


@pytest.mark.parametrize('change', ['swap', 'turn', 'shift', 'scale', 'order'])
def test_it_knows_no_place_direction_or_order(change):
  x, y = _clouds(120, 30)
  plain = _distance(x, y).value
  rng = np.random.default_rng(2)
  turn, _ = np.linalg.qr(rng.normal(size=(30, 30)))
  both = {
    'swap': (y, x),
    'turn': (x @ turn, y @ turn),
    'shift': (x + 7, y + 7),
    'scale': (3 * x, 3 * y),
    'order': (rng.permutation(x), rng.permutation(y)),
  }[change]
  factor = 9 if change == 'scale' else 1
  assert _distance(*both).value == pytest.approx(factor * plain, rel=1e-10)


def test_float32_features_are_summed_in_float64():
  """A large common value would swallow the rest in float32."""
  x, y = _clouds(200, 10)
  far = [(z + 1000).astype(np.float32) for z in (x, y)]
  near = [z.astype(np.float64) - 1000 for z in far]
  assert _distance(*far).value == pytest.approx(
    _distance(*near).value, rel=1e-9
  )


def test_numbers_that_are_not_finite_are_refused():
  x, y = _clouds(10, 3)
  x[4, 1] = np.nan
  with pytest.raises(frechet.FeatureError, match='real: features of 1 of 10'):
    frechet.fit(x, 'real')
  y[:2, 0] = np.inf
  with pytest.raises(frechet.FeatureError, match='2 of 10 clips'):
    frechet.fit(y)


def test_one_clip_is_refused():
  with pytest.raises(frechet.FeatureError, match='1 clips have no covariance'):
    frechet.fit(np.zeros((1, 3)))


def test_features_of_two_networks_are_refused():
  with pytest.raises(frechet.FeatureError, match='3 features against 4'):
    _distance(np.eye(3), np.eye(4))


def test_too_few_clips_are_flagged_with_the_reason():
  x, y = _clouds(20, 60)
  found = _distance(x, y)
  assert len(found.warnings) == 2
  assert 'real side: 20 clips span at most 19 of 60' in found.warnings[0]


def test_features_that_never_change_are_flagged():
  x, y = _clouds(100, 5)
  y[:, 3] = 2.0
  (warning,) = _distance(x, y).warnings
  assert 'samples: the features of 100 clips have rank 4, not 5' in warning
