"""The bridge's marginal and the pull of its end."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import oracles
from framebridge_jax.processes import bridge, sde

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden/framebridge_schedule.npz'
every = pytest.mark.parametrize('name', oracles.BRIDGES)


def _latent(*values):
  return jnp.asarray(values, jnp.float64).reshape(1, -1, 1, 1, 1)


def _golden(*names):
  with np.load(GOLDEN) as golden:
    return [golden[name] for name in names]


def _bridge(name):
  return bridge.Bridge(schedule=oracles.BRIDGES[name].schedule)


@pytest.mark.parametrize(
  ('dtype', 'relative', 'rounding'),
  [('float64', 1e-5, 1.2e-7), ('float32', 5e-5, 3e-7)],
)
def test_marginal_is_the_table_of_the_public_code(dtype, relative, rounding):
  """The tables are float32, by subtraction; 1 - t in float32 has 6e-5."""
  grid, *want, sigmas = _golden(
    't_grid',
    'bridge_coef_x0',
    'bridge_coef_x1',
    'bridge_sqrt_var',
    'bridge_sigmas',
  )
  process, t = _bridge('bridge_gmax'), jnp.asarray(grid, dtype)[None]
  for have, table in zip(process.marginal(t), want, strict=True):
    np.testing.assert_allclose(have[0], table, rtol=relative, atol=rounding)
  sigma = process.schedule.sigma(t)
  np.testing.assert_allclose(sigma[0], sigmas, rtol=1e-6)


def test_perturb_draws_the_pairs_of_the_public_code():
  z0, prior, eps, index, want = _golden('z0', 'zT', 'eps', 't_index', 'zt')
  t = jnp.broadcast_to((index[:, None] + 1) / 1001, z0.shape[:2])
  pair = (jnp.asarray(x, jnp.float64) for x in (z0, prior))
  zt = sde.perturb(
    _bridge('bridge_gmax'), *pair, t, jnp.asarray(eps, jnp.float64)
  )
  np.testing.assert_allclose(zt, want, atol=2e-6)


@pytest.mark.parametrize(
  'name', sorted(set(oracles.CLOSED) - set(oracles.BRIDGES))
)
def test_a_bridge_without_signal_at_its_end_is_refused(name):
  with pytest.raises(ValueError, match='alpha = 0 at T.* ignore its prior;'):
    bridge.Bridge(schedule=oracles.CLOSED[name].schedule)


@every
def test_marginal_is_framebridge_equation_12(name):
  closed = oracles.BRIDGES[name]
  T = closed.schedule.T
  t = np.array([[0.1, 0.5, 0.9]]) * T
  want = closed.marginal(t, np.full_like(t, T))
  got = _bridge(name).marginal(jnp.asarray(t))
  for have, wanted in zip(got, want, strict=True):
    np.testing.assert_allclose(have, wanted, rtol=1e-8)


@every
def test_perturb_gives_data_at_zero_and_the_prior_at_T_to_the_bit(name):
  process = _bridge(name)
  keys = jax.random.split(jax.random.key(0), 3)
  z0, prior, eps = (jax.random.normal(k, (2, 3, 2, 2, 1)) for k in keys)
  T = process.schedule.T
  t = jnp.array([[0.0, T, 0.4 * T], [T, 0.0, 0.0]])
  zt = jax.jit(sde.perturb, static_argnums=0)(process, z0, prior, t, eps)
  np.testing.assert_array_equal(zt[0, 0], z0[0, 0])
  np.testing.assert_array_equal(zt[1, 1:], z0[1, 1:])
  np.testing.assert_array_equal(zt[0, 1], prior[0, 1])
  np.testing.assert_array_equal(zt[1, 0], prior[1, 0])


@every
def test_perturb_stands_every_frame_at_its_own_time(name):
  closed = oracles.BRIDGES[name]
  t = np.array([0.2, 0.5, 0.9]) * closed.schedule.T
  a, b, c = closed.marginal(t, np.full_like(t, closed.schedule.T))
  z0, prior, eps = [1.0, -2.0, 3.0], [0.5, 0.25, -4.0], [-1.0, 2.0, 0.3]
  pair = _latent(*z0), _latent(*prior)
  zt = sde.perturb(_bridge(name), *pair, jnp.asarray(t)[None], _latent(*eps))
  want = a * z0 + b * prior + c * eps
  np.testing.assert_allclose(zt.ravel(), want, rtol=1e-8)


@every
def test_a_bridge_less_its_prior_holds_its_snr_less_that_of_its_end(name):
  """a^2 / c^2 = SNR_t - SNR_T, and its inverse (FrameBridge A.3)."""
  closed = oracles.BRIDGES[name]
  T = closed.schedule.T
  t = np.array([[0.1, 0.4567, 0.9]]) * T
  a, _, c = closed.marginal(t, np.full_like(t, T))
  np.testing.assert_allclose(
    a**2 / c**2, closed.snr(t) - closed.snr(np.array(T)), rtol=1e-8
  )
  if name != 'fading':
    got = _bridge(name).time_of_snr(jnp.asarray(a**2 / c**2))
    np.testing.assert_allclose(got, t, rtol=1e-8)
    ends = _bridge(name).time_of_snr(jnp.array([[0.0, jnp.inf]]))
    np.testing.assert_array_equal(ends, [[T, 0.0]])


@every
def test_h_is_the_gradient_of_the_log_transition_to_the_prior(name):
  """By central difference of scipy's Gaussian log density."""
  closed = oracles.BRIDGES[name]
  end = np.asarray(closed.schedule.T)
  t = np.array([0.1, 0.5, 0.9]) * end
  z, prior = np.array([0.4, -1.3, 0.2]), np.array([-0.7, 0.5, 1.1])
  r = closed.alpha(end) / closed.alpha(t)
  std = np.sqrt(closed.sigma2(end) - r**2 * closed.sigma2(t))

  def log_p(z):
    return stats.norm.logpdf(prior, r * z, std)

  width = 1e-4 * std / r
  want = (log_p(z + width) - log_p(z - width)) / (2 * width)
  got = _bridge(name).h(_latent(*z), jnp.asarray(t)[None], _latent(*prior))
  np.testing.assert_allclose(got.ravel(), want, rtol=1e-6)


@every
def test_h_reads_zero_at_T_where_it_is_singular(name):
  process = _bridge(name)
  end = jnp.full((1, 1), process.schedule.T)
  assert process.h(_latent(0.4), end, _latent(-0.7)).item() == 0
