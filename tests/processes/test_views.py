"""What the network is shown: z = alpha (z0 - origin) + sigma eps.

Aligned views are in test_saf.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import cases
import oracles
from framebridge_jax.processes import bridge, sde, views

SHAPE = (2, 4, 3, 3, 2)
each = pytest.mark.parametrize('name', cases.CASES)
every_view = pytest.mark.parametrize('view', views.VIEWS)


def _draw(seed, shape=SHAPE):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def _times(T=1.0):
  t = [[0.05, 0.3, 0.61, 0.95], [0.5, 0.5, 0.2, 0.99]]
  return np.asarray(t) * T


def _expand(x):
  return np.asarray(x)[:, :, None, None, None]


def _shown(view, name, t):
  """The view of a latent, and what the latent is made of."""
  process = cases.CASES[name].process
  z0, prior, eps = (_draw(seed) for seed in range(3))
  a, b, c = (_expand(x) for x in cases.CASES[name].marginal(t))
  zt = a * z0 + b * prior + c * eps
  unread = jnp.full_like(zt, jnp.nan)
  seen = views.VIEWS[view](process, zt, jnp.asarray(t), prior, unread)
  return seen, z0, prior, eps, zt


@each
def test_the_plain_view_is_the_latent_at_the_schedule_s_alpha_and_sigma(name):
  closed = cases.CASES[name].closed
  t = _times(closed.schedule.T)
  seen, _, _, _, zt = _shown('plain', name, t)
  np.testing.assert_array_equal(seen.z, zt)
  np.testing.assert_array_equal(seen.t, t)
  np.testing.assert_allclose(seen.alpha, closed.alpha(t), rtol=1e-9)
  np.testing.assert_allclose(seen.sigma, np.sqrt(closed.sigma2(t)), rtol=1e-9)
  np.testing.assert_array_equal(seen.origin, np.zeros(SHAPE))


@pytest.mark.parametrize('name', oracles.BRIDGES)
def test_the_plain_view_of_a_bridge_is_z0_and_psi(name):
  """z = alpha z0 + sigma psi (Eq. 6), psi made of both ends and eps."""
  closed = oracles.BRIDGES[name]
  T = closed.schedule.T
  t, end = _times(T), np.full((2, 4), T)
  seen, z0, prior, eps, _ = _shown('plain', f'bridge-{name}', t)
  alpha, sigma = closed.alpha(t), np.sqrt(closed.sigma2(t))
  ratio = closed.snr(end) / closed.snr(t)
  psi = (
    -_expand(alpha * ratio / sigma) * z0
    + _expand(ratio * alpha / (sigma * closed.alpha(end))) * prior
    + _expand(np.sqrt(1 - ratio)) * eps
  )
  want = _expand(seen.alpha) * z0 + _expand(seen.sigma) * psi
  np.testing.assert_allclose(seen.z, want, rtol=1e-9, atol=1e-9)


@each
def test_the_residual_view_is_the_motion_under_the_process_s_noise(name):
  """a (z0 - prior) + c eps over k = sqrt(a^2 + c^2) (Eq. 12 and 7)."""
  T = cases.CASES[name].T
  t = _times(T)
  seen, z0, prior, eps, _ = _shown('residual', name, t)
  a, _, c = cases.CASES[name].marginal(t)
  a, c = a / np.hypot(a, c), c / np.hypot(a, c)
  want = _expand(a) * (z0 - prior) + _expand(c) * eps
  np.testing.assert_allclose(seen.alpha, a, rtol=1e-6)
  np.testing.assert_allclose(seen.sigma, c, rtol=1e-6)
  np.testing.assert_allclose(seen.z, want, rtol=1e-6, atol=1e-8)
  np.testing.assert_array_equal(seen.t, t)
  np.testing.assert_array_equal(seen.origin, prior)


@each
def test_the_residual_view_at_the_ends_is_the_motion_and_pure_noise(name):
  """At 0 the latent less the prior; at T of a bridge nothing, and no NaN."""
  T = cases.CASES[name].T
  t = np.array([[0.0, T, 0.0, T]] * 2)
  process = cases.CASES[name].process
  z0, prior, eps = (_draw(seed) for seed in range(3))
  zt = sde.perturb(process, z0, prior, jnp.asarray(t), eps)
  seen = views.residual(process, zt, jnp.asarray(t), prior, eps)
  start, end = [0, 2], [1, 3]
  np.testing.assert_allclose(seen.z[:, start], (z0 - prior)[:, start])
  np.testing.assert_array_equal(seen.alpha[:, start], np.ones((2, 2)))
  np.testing.assert_array_equal(seen.sigma[:, start], np.zeros((2, 2)))
  if isinstance(process, bridge.Bridge):
    np.testing.assert_array_equal(seen.z[:, end], np.zeros((2, 2, 3, 3, 2)))
    np.testing.assert_array_equal(seen.alpha[:, end], np.zeros((2, 2)))
    np.testing.assert_array_equal(seen.sigma[:, end], np.ones((2, 2)))


@every_view
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16], ids=str)
@pytest.mark.parametrize(
  'name',
  ['bridge-bridge_gmax', 'bridge-vp', 'diffusion-flow', 'diffusion-edm'],
)
def test_views_and_their_gradients_are_finite_at_any_time(name, dtype, view):
  process = cases.CASES[name].process
  small = np.concatenate([[0.0], np.geomspace(1e-37, 0.5, 500)])
  t = np.concatenate([small, np.linspace(0, 1, 501), 1 - 2.0 ** -np.arange(25)])
  t = jnp.asarray(t[None] * process.schedule.T, dtype)
  zt, prior = (_draw(i, (*t.shape, 1, 1, 1)).astype(dtype) for i in range(2))

  @tiny.quick_jit
  def shown(zt, t, prior):
    def show(*xs):
      return views.VIEWS[view](process, *xs, zt)

    seen, pull = jax.vjp(show, zt, t, prior)
    return seen, pull(jax.tree.map(jnp.ones_like, seen))

  for leaf in jax.tree.leaves(shown(zt, t, prior)):
    assert leaf.dtype == dtype
    assert np.isfinite(np.asarray(leaf, np.float64)).all()
