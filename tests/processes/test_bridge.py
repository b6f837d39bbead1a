"""The bridge's marginal and forward SDE."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import oracles
from framebridge_jax.processes import bridge

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
every = pytest.mark.parametrize('name', oracles.CLOSED)


def _latent(*values):
  return jnp.asarray(values, jnp.float64).reshape(1, -1, 1, 1, 1)


def test_marginal_is_the_table_of_the_public_code():
  """The tables are float32: 1e-7 is their own rounding."""
  with np.load(GOLDEN / 'framebridge_bridge.npz') as golden:
    process = bridge.Bridge(schedule=oracles.CLOSED['bridge_gmax'].schedule)
    a, b, c = process.marginal(jnp.asarray(golden['t_grid'])[None])
    want = [golden[f'bridge_{x}'] for x in ('coef_x0', 'coef_x1', 'sqrt_var')]
  for have, table in zip((a, b, c), want, strict=True):
    np.testing.assert_allclose(have[0], table, rtol=1e-5, atol=1.2e-7)


@every
def test_h_is_the_gradient_of_the_log_transition_to_the_prior(name):
  """By central difference of scipy's Gaussian log density."""
  closed = oracles.CLOSED[name]
  end = np.asarray(closed.schedule.T)
  t = np.array([0.1, 0.5, 0.9]) * end
  z, prior = np.array([0.4, -1.3, 0.2]), np.array([-0.7, 0.5, 1.1])
  r = closed.alpha(end) / closed.alpha(t)
  std = np.sqrt(closed.sigma2(end) - r**2 * closed.sigma2(t))

  def log_p(z):
    return stats.norm.logpdf(prior, r * z, std)

  want = (log_p(z + 1e-5) - log_p(z - 1e-5)) / 2e-5
  process = bridge.Bridge(schedule=closed.schedule)
  got = process.h(_latent(*z), jnp.asarray(t)[None], _latent(*prior))
  np.testing.assert_allclose(got.ravel(), want, rtol=1e-6)


def _euler_maruyama(drift, closed, *, z0, until, steps=8000):
  """Mean and std of the scheme's own path: the drift is affine in z."""
  dt = closed.schedule.T / steps
  count = round(until * steps)
  times = np.arange(count) * dt

  def step(moments, x):
    t, g2 = x
    mean, variance = moments
    move, slope = jax.jvp(
      lambda z: drift(z, t[None, None]), (mean,), (jnp.ones_like(mean),)
    )
    grown = variance * (1 + slope * dt) ** 2 + g2 * dt
    return (mean + move * dt, grown), None

  start = _latent(z0), _latent(0.0)
  (mean, variance), _ = jax.lax.scan(
    step, start, (jnp.asarray(times), jnp.asarray(closed.g2(times)))
  )
  return mean.item(), np.sqrt(variance.item())


@every
@pytest.mark.parametrize('until', [0.25, 0.5, 1.0])
def test_forward_sde_has_the_marginal_on_its_way_to_the_prior(name, until):
  closed = oracles.CLOSED[name]
  process = bridge.Bridge(schedule=closed.schedule)
  prior = _latent(-0.9)
  mean, std = _euler_maruyama(
    lambda z, t: process.drift(z, t, prior), closed, z0=1.4, until=until
  )
  end = np.asarray(closed.schedule.T)
  a, b, c = closed.marginal(until * end, end)
  assert mean == pytest.approx(a * 1.4 - b * 0.9, abs=5e-3)
  assert std == pytest.approx(c, abs=3e-3 if until < 1 else 0.1)


@every
def test_forward_sde_with_the_printed_h_misses_both(name):
  """FrameBridge Eq. 15 as printed: the sign turned and r left out."""
  closed = oracles.CLOSED[name]
  process = bridge.Bridge(schedule=closed.schedule)
  prior = _latent(-0.9)

  def printed(z, t):
    r, _ = process.schedule.transition(t, jnp.full_like(t, process.schedule.T))
    f, g2 = process.schedule.f(t), process.schedule.g2(t)
    h = -process.h(z, t, prior) / r[..., None, None, None]
    return f[..., None, None, None] * z + g2[..., None, None, None] * h

  mean, std = _euler_maruyama(printed, closed, z0=1.4, until=0.9)
  end = np.asarray(closed.schedule.T)
  a, b, c = closed.marginal(0.9 * end, end)
  assert abs(mean - (a * 1.4 - b * 0.9)) > 0.2
  assert std > 1.2 * c


@every
def test_perturb_gives_data_at_zero_and_the_prior_at_T_to_the_bit(name):
  schedule = oracles.CLOSED[name].schedule
  process = bridge.Bridge(schedule=schedule)
  keys = jax.random.split(jax.random.key(0), 3)
  z0, prior, eps = (jax.random.normal(k, (2, 3, 2, 2, 1)) for k in keys)
  T = schedule.T
  t = jnp.array([[0.0, T, 0.4 * T], [T, 0.0, 0.0]])
  zt = jax.jit(bridge.perturb, static_argnums=0)(process, z0, prior, t, eps)
  np.testing.assert_array_equal(zt[0, 0], z0[0, 0])
  np.testing.assert_array_equal(zt[1, 1:], z0[1, 1:])
  np.testing.assert_array_equal(zt[0, 1], prior[0, 1])
  np.testing.assert_array_equal(zt[1, 0], prior[1, 0])


@every
def test_perturb_stands_every_frame_at_its_own_time(name):
  closed = oracles.CLOSED[name]
  process = bridge.Bridge(schedule=closed.schedule)
  t = np.array([0.2, 0.5, 0.9]) * closed.schedule.T
  a, b, c = closed.marginal(t, np.full_like(t, closed.schedule.T))
  z0, prior, eps = [1.0, -2.0, 3.0], [0.5, 0.25, -4.0], [-1.0, 2.0, 0.3]
  zt = bridge.perturb(
    process,
    _latent(*z0),
    _latent(*prior),
    jnp.asarray(t)[None],
    _latent(*eps),
  )
  want = a * z0 + b * prior + c * eps
  np.testing.assert_allclose(zt.ravel(), want, rtol=1e-8)
