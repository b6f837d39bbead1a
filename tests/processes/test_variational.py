"""Learned variances and their bound, against Latte's numbers and scipy."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scipy import integrate, stats

import oracles
from framebridge_jax.processes import diffusion, discrete, sde, variational

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden/latte_diffusion.npz'
LATTE = discrete.Discrete()
BOUND = tiny.quick_jit(variational.bound, static_argnums=0)
LOG_VARIANCE = tiny.quick_jit(variational.log_variance, static_argnums=0)


def _latent(*values):
  return jnp.asarray(values, jnp.float64).reshape(1, -1, 1, 1, 1)


@functools.cache
def _latte_loss():
  """The recorded loss of Latte's analytic network, at its own steps."""
  with np.load(GOLDEN) as golden:
    want = {k: golden[f'loss_{k}'] for k in ('vb', 'mse', 'loss')}
    n, z0, eps = (golden[k] for k in ('loss_t', 'x_init', 'loss_noise'))
  z0, eps, n = (jnp.asarray(x, jnp.float64) for x in (z0, eps, n))
  frames = jnp.ones(z0.shape[:2])
  s, t = frames * n[:, None] / 1000, frames * (n[:, None] + 1) / 1000
  process = diffusion.Diffusion(schedule=LATTE)
  zt = sde.perturb(process, z0, jnp.zeros_like(z0), t, eps)
  index = n[:, None, None, None, None]
  said = 0.6 * zt + 0.3 * jnp.sin(3 * zt) * index / 1000
  spread = (0.5 * jnp.cos(zt) + 1) / 2
  alpha, sigma = (
    x[..., None, None, None] for x in (LATTE.alpha(t), LATTE.sigma(t))
  )
  terms = BOUND(
    LATTE, s, t, z0=z0, x0_hat=(zt - sigma * said) / alpha, spread=spread
  )
  bits = np.asarray(terms).reshape(len(n), -1).mean(1) / np.log(2)
  mse = np.asarray((said - eps) ** 2).reshape(len(n), -1).mean(1)
  return want, {'vb': bits, 'mse': mse, 'loss': bits + mse}


@pytest.mark.parametrize('term', ['mse', 'vb', 'loss'])
def test_bound_is_latte_s_recorded_loss(term):
  """In bits an entry, averaged: learned range, MSE plus the bound."""
  want, got = _latte_loss()
  np.testing.assert_allclose(got[term], want[term], rtol=1e-5)


@pytest.mark.parametrize('name', oracles.CLOSED)
def test_log_variance_lies_between_the_posterior_s_and_the_transition_s(name):
  """Nichol & Dhariwal 2021, Eq. 15: beta-tilde at 0, beta at 1."""
  closed = oracles.CLOSED[name]
  t = np.array([[0.3, 0.6, 0.9]]) * closed.schedule.T
  s = t * [[0.5, 0.9, 0.99]]
  v = closed.sigma2(t) - (closed.alpha(t) / closed.alpha(s)) ** 2 * (
    closed.sigma2(s)
  )
  low, high = np.log(v * closed.sigma2(s) / closed.sigma2(t)), np.log(v)
  for spread in (0.0, 0.25, 1.0):
    got = LOG_VARIANCE(
      closed.schedule,
      jnp.asarray(s),
      jnp.asarray(t),
      jnp.full((1, 3, 1, 1, 1), spread),
    )
    want = spread * high + (1 - spread) * low
    np.testing.assert_allclose(got.ravel(), want[0], rtol=1e-8, atol=1e-9)


def test_log_variance_of_the_last_step_borrows_the_next_entry_s_posterior():
  """Latte clips beta-tilde of index 0 to index 1's."""
  alpha2 = oracles.CLOSED['table_linear'].alpha(np.array([1e-3, 2e-3])) ** 2
  beta = 1 - alpha2[1] / alpha2[0]
  low = np.log(beta * (1 - alpha2[0]) / (1 - alpha2[1]))
  high = np.log(1 - alpha2[0])
  for spread in (0.0, 0.7, 1.0):
    got = LOG_VARIANCE(
      LATTE,
      jnp.zeros((1, 1)),
      jnp.full((1, 1), 1e-3),
      jnp.full((1, 1, 1, 1, 1), spread),
    )
    want = spread * high + (1 - spread) * low
    np.testing.assert_allclose(got.item(), want, rtol=1e-9)


def _divergence(mean, std, other_mean, other_std):
  """KL of two Gaussians by numeric integration."""
  p, q = stats.norm(mean, std), stats.norm(other_mean, other_std)
  low, high = mean - 12 * std, mean + 12 * std
  return integrate.quad(
    lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), low, high, limit=200
  )[0]


@pytest.mark.parametrize(
  'name', ['vp', 'edm', 'flow', 'fading', 'table_cosine']
)
def test_bound_is_the_divergence_of_the_two_steps(name):
  """Both are pinned at z_t, one at z0 and one at x0_hat, by integration."""
  closed = oracles.CLOSED[name]
  t = np.array([0.3, 0.6, 0.9]) * closed.schedule.T
  s = t * [0.5, 0.9, 0.8]
  a, _, c = closed.marginal(s, t)
  z0, x0_hat = np.array([0.4, -0.9, 1.2]), np.array([0.1, -0.6, 1.2])
  spread = np.array([0.0, 0.6, 1.0])
  v = c**2 * closed.sigma2(t) / closed.sigma2(s)
  std = np.sqrt(v**spread * (c**2) ** (1 - spread))
  want = [_divergence(*x) for x in zip(a * z0, c, a * x0_hat, std, strict=True)]
  got = BOUND(
    closed.schedule,
    jnp.asarray(s)[None],
    jnp.asarray(t)[None],
    z0=_latent(*z0),
    x0_hat=_latent(*x0_hat),
    spread=_latent(*spread),
  )
  np.testing.assert_allclose(got.ravel(), want, rtol=1e-5, atol=1e-10)


def test_last_step_is_scored_by_the_likelihood_of_the_bin():
  """Ho et al. 2020, Eq. 13, by scipy; the outer bins reach to infinity."""
  t, width = 0.02, 2 / 255
  z0 = np.array([-1.0, -1 + width, 0.1, 1 - width, 1.0, 0.1])
  x0_hat = np.array([-1.1, -0.99, 0.15, 0.99, 0.95, 0.9])
  args = jnp.zeros((1, 6)), jnp.full((1, 6), t)
  spread = _latent(0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
  std = np.exp(LOG_VARIANCE(LATTE, *args, spread).ravel() / 2)
  low = np.where(z0 == -1, -np.inf, z0 - width / 2)
  high = np.where(z0 == 1, np.inf, z0 + width / 2)
  inside = stats.norm.cdf(high, x0_hat, std) - stats.norm.cdf(low, x0_hat, std)
  got = BOUND(
    LATTE, *args, z0=_latent(*z0), x0_hat=_latent(*x0_hat), spread=spread
  )
  assert inside[-1] < 1e-12
  want = -np.log(np.maximum(inside, 1e-12))
  np.testing.assert_allclose(got.ravel(), want, rtol=1e-6)


def test_bins_of_another_width_share_the_same_density():
  """Narrow bins: half the width, half the probability."""
  args = jnp.zeros((1, 1)), jnp.full((1, 1), 0.05)
  latents = {
    'z0': _latent(0.1),
    'x0_hat': _latent(0.12),
    'spread': _latent(1.0),
  }
  wide, narrow = (
    variational.bound(LATTE, *args, width=w, **latents).item()
    for w in (1e-3, 5e-4)
  )
  assert narrow - wide == pytest.approx(np.log(2), abs=1e-5)


@pytest.mark.parametrize('name', oracles.CLOSED)
def test_bound_and_its_gradients_are_finite_at_every_step(name):
  """From T, to 0, the shortest and the longest; far answers too."""
  schedule = oracles.CLOSED[name].schedule
  s = jnp.array([[0.0, 0.0, 0.5, 0.999, 0.001]], jnp.float32) * schedule.T
  t = jnp.array([[0.001, 1.0, 1.0, 1.0, 0.5]], jnp.float32) * schedule.T

  @tiny.quick_jit
  @functools.partial(jax.value_and_grad, argnums=(0, 1, 2))
  def total(z0, x0_hat, spread):
    return variational.bound(
      schedule, s, t, z0=z0, x0_hat=x0_hat, spread=spread
    ).sum()

  z0 = jnp.asarray([-1.0, 1.0, 0.3, 0.1, 0.0], jnp.float32)
  z0 = z0.reshape(1, 5, 1, 1, 1)
  for far in (0.0, 0.3, 5.0):
    for spread in (0.0, 1.0):
      x0_hat = z0 + jnp.float32(far)
      value, grads = total(z0, x0_hat, jnp.full_like(z0, spread))
      assert np.isfinite(value)
      for grad in grads:
        assert np.isfinite(grad).all()
