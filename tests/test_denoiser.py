"""From a network's output to x0_hat, and what the network is shown."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import oracles
from framebridge_jax import denoiser
from framebridge_jax.processes import bridge, predictions, schedules

SHAPE = (2, 4, 3, 3, 2)
BRIDGE = bridge.Bridge(schedule=schedules.BridgeGmax())
closed = pytest.mark.parametrize('name', oracles.CLOSED)
views = pytest.mark.parametrize('view', denoiser.VIEWS)
# At T the residual view has no signal: eps says nothing about z0 there.
SOUND = [('plain', 'psi'), ('plain', 'x0'), ('residual', 'x0')]


class Constant(nn.Module):
  """Answers with its parameter, whatever it is shown."""

  @nn.compact
  def __call__(self, z, t, cond):
    return self.param('raw', nn.initializers.zeros_init(), z.shape, z.dtype)


class Nan(nn.Module):
  """A network that is broken everywhere."""

  @nn.compact
  def __call__(self, z, t, cond):
    return jnp.full_like(z, jnp.nan)


class Shown(nn.Module):
  """Answers with something that it is shown: z, t or cond."""

  what: str

  @nn.compact
  def __call__(self, z, t, cond):
    times = jnp.broadcast_to(t[:, :, None, None, None], z.shape)
    return {'z': z, 't': times, 'cond': cond}[self.what]


class Scaled(nn.Module):
  """Answers with its one weight times what it is shown, bent."""

  @nn.compact
  def __call__(self, z, t, cond):
    weight = self.param('weight', nn.initializers.ones_init(), (1,) * z.ndim)
    return jnp.tanh(weight * z)


def _draw(seed):
  values = np.random.default_rng(seed).normal(size=SHAPE)
  return jnp.asarray(values, jnp.float32)


def _times(T=1.0):
  t = [[0.05, 0.3, 0.61, 0.95], [0.5, 0.5, 0.2, 0.99]]
  return jnp.asarray(t, jnp.float32) * T


def _make(network, view='plain', prediction='x0', process=BRIDGE, **more):
  return denoiser.Denoiser(
    network=network,
    process=process,
    prediction=predictions.PREDICTIONS[prediction],
    view=denoiser.VIEWS[view],
    **more,
  )


def _given(prior, cond: Any = None):
  return denoiser.Given(prior=prior, cond=cond)


def _expand(x):
  return np.asarray(x, np.float64)[:, :, None, None, None]


@views
@pytest.mark.parametrize('prediction', predictions.PREDICTIONS)
def test_known_frames_come_back_to_the_bit_from_a_broken_network(
  view, prediction
):
  model = _make(Nan(), view, prediction)
  t = _times().at[:, 1].set(0.0)
  zt = _draw(0)
  out = model({}, zt, t, _given(_draw(1))).x0
  np.testing.assert_array_equal(out[:, 1], zt[:, 1])
  assert np.isnan(out[:, [0, 2, 3]]).all()


def test_a_network_that_says_nothing_answers_with_the_prior():
  model = _make(Constant(), 'residual', 'x0')
  prior = _draw(1)
  variables = {'params': {'raw': jnp.zeros(SHAPE)}}
  t = _times().at[0, 0].set(1.0)
  out = model(variables, _draw(0), t, _given(prior)).x0
  np.testing.assert_array_equal(out, prior)


@closed
def test_the_plain_view_is_z0_and_psi(name):
  """math.md 3: z = alpha z0 + sigma psi, with psi from both ends and eps."""
  exact = oracles.CLOSED[name]
  T = exact.schedule.T
  process = bridge.Bridge(schedule=exact.schedule)
  z0, prior, eps, t = _draw(0), _draw(1), _draw(2), _times(T)
  zt = bridge.perturb(process, z0, prior, t, eps)
  view = denoiser.plain(process, zt, t, prior)
  time, end = np.asarray(t, np.float64), np.full(t.shape, T)
  alpha, sigma = exact.alpha(time), np.sqrt(exact.sigma2(time))
  ratio = (exact.alpha(end) ** 2 / exact.sigma2(end)) / (alpha / sigma) ** 2
  psi = (
    -_expand(alpha * ratio / sigma) * z0
    + _expand(ratio * alpha / (sigma * exact.alpha(end))) * prior
    + _expand(np.sqrt(1 - ratio)) * eps
  )
  want = _expand(alpha) * z0 + _expand(sigma) * psi
  np.testing.assert_allclose(view.z, want, atol=2e-5)
  np.testing.assert_allclose(view.alpha, alpha, rtol=1e-5)
  np.testing.assert_allclose(view.sigma, sigma, rtol=1e-5)
  np.testing.assert_array_equal(view.origin, np.zeros(SHAPE))


@closed
def test_the_residual_view_is_the_motion_under_the_bridge_s_noise(name):
  """a (z0 - prior) + c eps (Eq. 12) over k = sqrt(a^2 + c^2) (Eq. 7)."""
  exact = oracles.CLOSED[name]
  T = exact.schedule.T
  process = bridge.Bridge(schedule=exact.schedule)
  z0, prior, eps, t = _draw(0), _draw(1), _draw(2), _times(T)
  zt = bridge.perturb(process, z0, prior, t, eps)
  view = denoiser.residual(process, zt, t, prior)
  time = np.asarray(t, np.float64)
  a, _, c = exact.marginal(time, np.full(t.shape, T))
  a, c = a / np.hypot(a, c), c / np.hypot(a, c)
  want = _expand(a) * (z0 - prior) + _expand(c) * eps
  np.testing.assert_allclose(view.z, want, atol=5e-5)
  np.testing.assert_allclose(view.alpha, a, rtol=2e-4)
  np.testing.assert_allclose(view.sigma, c, rtol=2e-4)
  np.testing.assert_array_equal(view.origin, prior)


def test_the_residual_view_at_the_ends_is_the_motion_and_pure_noise():
  """At 0 the latent less the prior; at T nothing, and no NaN."""
  z0, prior = _draw(0), _draw(1)
  t = jnp.asarray([[0.0, 1.0, 0.0, 1.0]] * 2)
  zt = bridge.perturb(BRIDGE, z0, prior, t, _draw(2))
  view = denoiser.residual(BRIDGE, zt, t, prior)
  want = _expand(1 - t) * (z0 - prior)
  np.testing.assert_allclose(view.z, want, atol=1e-6)
  np.testing.assert_array_equal(view.alpha, 1 - t)
  np.testing.assert_array_equal(view.sigma, t)


@closed
def test_a_network_that_says_psi_answers_with_z0(name):
  """FrameBridge Eq. 6: psi = (zt - alpha z0) / sigma."""
  exact = oracles.CLOSED[name]
  T = exact.schedule.T
  process = bridge.Bridge(schedule=exact.schedule)
  z0, prior, t = _draw(0), _draw(1), 0.4 * _times(T)
  zt = bridge.perturb(process, z0, prior, t, _draw(2))
  time = np.asarray(t, np.float64)
  alpha, sigma = exact.alpha(time), np.sqrt(exact.sigma2(time))
  psi = (zt - _expand(alpha) * z0) / _expand(sigma)
  model = _make(Constant(), 'plain', 'psi', process)
  variables = {'params': {'raw': jnp.asarray(psi, jnp.float32)}}
  out = model(variables, zt, t, _given(prior)).x0
  np.testing.assert_allclose(out, z0, atol=5e-5)


def test_a_network_that_says_the_motion_answers_with_z0():
  z0, prior = _draw(0), _draw(1)
  model = _make(Constant(), 'residual', 'x0')
  variables = {'params': {'raw': z0 - prior}}
  out = model(variables, _draw(2), _times(), _given(prior)).x0
  np.testing.assert_allclose(out, z0, atol=1e-6)


@views
def test_the_network_is_fed_the_view_and_the_clock_s_time(view):
  zt, prior, t = _draw(0), _draw(1), _times()
  given = _given(prior, cond=_draw(3))
  seen = denoiser.VIEWS[view](BRIDGE, zt, t, prior)
  for what, want in {
    'z': seen.z,
    't': np.broadcast_to(250.0 * t[:, :, None, None, None], SHAPE),
    'cond': given.cond,
  }.items():
    model = _make(Shown(what), view, 'x0', clock_scale=250.0)
    out = model({}, zt, t, given).x0
    np.testing.assert_allclose(out, seen.origin + want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(('view', 'prediction'), SOUND)
def test_answers_and_gradients_are_finite_at_both_ends_of_time(
  view, prediction
):
  """At t = 0, at the least numbers above it, at T and just below."""
  model = _make(Scaled(), view, prediction)
  ends = [[0.0, 1e-30, 1e-12, 1e-6], [1.0, 1 - 2**-24, 1e-3, 0.0]]
  t = jnp.asarray(ends, jnp.float32)
  variables = {'params': {'weight': jnp.ones((1,) * 5)}}

  @tiny.quick_jit
  @functools.partial(jax.value_and_grad, argnums=(0, 1, 2, 3), has_aux=True)
  def total(variables, zt, t, prior):
    answer = model(variables, zt, t, _given(prior)).x0
    return jnp.sum(answer**2), answer

  (_, answer), grads = total(variables, _draw(0), t, _draw(1))
  assert np.isfinite(answer).all()
  for leaf in jax.tree.leaves(grads):
    assert np.isfinite(leaf).all()


def test_the_bound_denoiser_is_the_denoiser():
  model = _make(Scaled(), 'residual')
  variables, given = (
    {'params': {'weight': jnp.ones((1,) * 5)}},
    _given(_draw(1)),
  )
  bound = model.bind(variables, given)
  np.testing.assert_array_equal(
    bound(_draw(0), _times()).x0, model(variables, _draw(0), _times(), given).x0
  )


def test_the_condition_names_each_frame_s_nearest_known_frame():
  known = jnp.array([[True, False, False, False], [True, False, False, True]])
  label, prior = jnp.array([3, 1]), _draw(0)
  cond = denoiser.condition(label, prior, known)
  np.testing.assert_array_equal(cond.anchor, [[0, 0, 0, 0], [0, 0, 3, 3]])
  np.testing.assert_array_equal(cond.label, label)
  np.testing.assert_array_equal(cond.image, prior)


def test_denoisers_of_equal_parts_are_equal():
  """What makes a denoiser a static argument that compiles once."""
  one, two = (tiny.make_denoiser(tiny.make_latte()) for _ in range(2))
  assert one == two
  assert hash(one) == hash(two)
  assert one != tiny.make_denoiser(tiny.make_latte(stem=4))
