"""Velocity, score and h at single points, against their closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

import cases
import oracles
from framebridge_jax.processes import bridge, schedules, sde

every = pytest.mark.parametrize('name', oracles.BRIDGES)
each = pytest.mark.parametrize('kind', cases.CASES)


def _latent(*values):
  return jnp.asarray(values, jnp.float64).reshape(1, -1, 1, 1, 1)


def _like(x, z):
  return jnp.broadcast_to(jnp.asarray(x), z.shape[:2])[..., None, None, None]


def _end(name):
  return np.asarray(oracles.BRIDGES[name].schedule.T)


@each
def test_probability_flow_is_the_velocity_of_the_mean(kind):
  """a' x0 + b' zT + c' eps, by central difference of the closed forms."""
  process, _ = case = cases.CASES[kind]
  T = case.T
  t = np.array([[0.1004, 0.5004, 0.9004]]) * T
  width = 1e-6 * T
  before, now, after = (case.marginal(t + x) for x in (-width, 0, width))
  da, db, dc = (
    (y - x) / (2 * width) for x, y in zip(before, after, strict=True)
  )
  x0, prior, eps = 0.3, np.array([[-0.8, 0.4, 1.1]]), np.array([[0.9, -2, 0.1]])
  z = now[0] * x0 + now[1] * prior + now[2] * eps
  arrays = _latent(*z[0]), jnp.asarray(t), jnp.full((1, 3, 1, 1, 1), x0)
  got = sde.flow(process, *arrays, _latent(*prior[0]))
  want = da * x0 + db * prior + dc * eps
  np.testing.assert_allclose(got.ravel(), want[0], rtol=1e-6, atol=1e-8)


@each
def test_score_is_minus_the_noise_over_its_std(kind):
  process, _ = case = cases.CASES[kind]
  t = np.array([[0.1, 0.5, 0.9]]) * case.T
  a, b, c = case.marginal(t)
  prior, eps = np.array([[-0.8, 0.4, 1.1]]), np.array([[0.9, -2, 0.1]])
  z = _latent(*(a * 0.3 + b * prior + c * eps)[0])
  x0 = jnp.full((1, 3, 1, 1, 1), 0.3)
  got = sde.score(process, z, jnp.asarray(t), x0, _latent(*prior[0]))
  np.testing.assert_allclose(got.ravel(), (-eps / c)[0], rtol=1e-7)


@each
def test_score_reads_zero_where_there_is_no_noise(kind):
  process, _ = case = cases.CASES[kind]
  t = jnp.array([[0.0, case.T if kind.startswith('bridge') else 0.0]])
  z = _latent(0.3, -0.2)
  got = sde.score(process, z, t, z + 1, z - 1)
  np.testing.assert_array_equal(got, np.zeros(z.shape))


def _score_of_psi(process, z, t, psi, prior):
  """By way of x0_hat, as samplers have it (FrameBridge Eq. 20)."""
  schedule = process.schedule
  alpha, sigma = (_like(x, z) for x in (schedule.alpha(t), schedule.sigma(t)))
  return sde.score(process, z, t, (z - sigma * psi) / alpha, prior)


@every
def test_score_of_psi_is_framebridge_equation_16(name):
  """From any psi, as the paper prints it but for Eq. 21's slip."""
  closed = oracles.BRIDGES[name]
  t = np.array([0.2, 0.5, 0.9]) * closed.schedule.T
  z, prior, psi = np.array([[1, -0.3, 2], [0.7, 0.2, -1.5], [0.3, -0.8, 1.7]])
  got = _score_of_psi(
    bridge.Bridge(schedule=closed.schedule),
    _latent(*z),
    jnp.asarray(t)[None],
    _latent(*psi),
    _latent(*prior),
  )
  ratio = closed.snr(_end(name)) / closed.snr(t)
  pull = z - closed.alpha(t) / closed.alpha(_end(name)) * prior
  want = -psi / np.sqrt(closed.sigma2(t))
  want = want - ratio * pull / (closed.sigma2(t) * (1 - ratio))
  np.testing.assert_allclose(got.ravel(), want, rtol=1e-7)


@every
def test_score_matching_is_the_psi_loss_over_sigma_squared(name):
  """FrameBridge Eq. 22 is Eq. 23: lambda on scores, lambda / sigma^2 on psi."""
  closed = oracles.BRIDGES[name]
  t = np.array([0.2, 0.5, 0.9]) * closed.schedule.T
  psi, other = _latent(0.3, -0.8, 1.7), _latent(-0.4, 0.9, 1.1)
  args = bridge.Bridge(schedule=closed.schedule), _latent(1, -0.3, 2)
  true, said = (
    _score_of_psi(*args, jnp.asarray(t)[None], x, _latent(0.7, 0.2, -1.5))
    for x in (psi, other)
  )
  want = (other - psi).ravel() ** 2 / closed.sigma2(t)
  np.testing.assert_allclose((true - said).ravel() ** 2, want, rtol=1e-7)


@pytest.mark.parametrize('b1', [40.0, 80.0])
def test_score_of_psi_becomes_a_diffusion_s_as_the_end_forgets(b1):
  """FrameBridge Eq. 18, with its rate: what is left is alpha_T zT / alpha_t.

  It holds inside (0, T) alone: at T - 1e-12 the pull of the end is all.
  """
  process = bridge.Bridge(schedule=schedules.VP(b1=b1))
  t = np.array([0.1, 0.3, 0.5, 0.7, 1 - 1e-12])
  beta = 0.1 * t + (b1 - 0.1) * t * t / 2
  alpha, alpha_T = np.exp(-beta / 2), np.exp(-(0.1 + b1) / 4)
  sigma = np.sqrt(-np.expm1(-beta))
  z, psi = _latent(1, -0.3, 2, 0.4, 1), _latent(0.3, -0.8, 1.7, 0.2, 0.5)
  prior = np.array([0.7, 0.2, -1.5, 0.6, 0.9])
  score = _score_of_psi(
    process, z, jnp.asarray(t)[None], psi, _latent(*prior)
  ).ravel()
  left = np.asarray(score + psi.ravel() / sigma)
  assert np.abs(left[:4]).max() < 5e-3
  np.testing.assert_allclose(
    left[:4] / alpha_T, prior[:4] / alpha[:4], rtol=0.03
  )
  assert abs(left[4]) > 1


@pytest.mark.parametrize('b1', [40.0, 80.0])
def test_h_vanishes_as_the_end_forgets(b1):
  """FrameBridge A.1 ends on h = -y there, which does not follow."""
  process = bridge.Bridge(schedule=schedules.VP(b1=b1))
  t = jnp.array([[0.1, 0.3, 0.5, 0.7]])
  h = process.h(_latent(1, -0.3, 2, 0.4), t, _latent(0.7, 0.2, -1.5, 0.6))
  assert np.abs(h).max() < 5e-3
