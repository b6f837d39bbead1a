"""Schedules and their pinned step, against closed forms in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oracles
from framebridge_jax.processes import schedules

every = pytest.mark.parametrize('name', oracles.CLOSED)


def _pairs(closed):
  """Times s < t [1, 7], unequal gaps, inside (0, T)."""
  t = np.linspace(0.02, 0.98, 7)[None] * closed.schedule.T
  s = t * np.linspace(0.9, 0.1, 7)
  return s, t


def _jnp(*arrays, dtype=np.float64):
  return tuple(jnp.asarray(x, dtype) for x in arrays)


def test_every_schedule_of_the_table_has_a_closed_form_here():
  assert set(schedules.SCHEDULES) <= set(oracles.CLOSED)
  for name, cls in schedules.SCHEDULES.items():
    assert oracles.CLOSED[name].schedule == cls()


@every
def test_signal_and_noise_are_the_closed_forms(name):
  closed = oracles.CLOSED[name]
  _, t = _pairs(closed)
  (time,) = _jnp(t)
  schedule = closed.schedule
  np.testing.assert_allclose(schedule.alpha(time), closed.alpha(t), rtol=1e-12)
  np.testing.assert_allclose(schedule.sigma2(time), closed.sigma2(t), rtol=1e-9)
  np.testing.assert_allclose(
    schedule.sigma(time), np.sqrt(closed.sigma2(t)), rtol=1e-9
  )


@every
def test_drift_and_diffusion_are_the_closed_forms(name):
  closed = oracles.CLOSED[name]
  t = np.linspace(0.0, 1.0, 7)[None] * closed.schedule.T
  (time,) = _jnp(t)
  np.testing.assert_allclose(closed.schedule.f(time), closed.f(t), rtol=1e-12)
  np.testing.assert_allclose(closed.schedule.g2(time), closed.g2(t), rtol=1e-9)


@every
def test_transition_is_its_definition(name):
  closed = oracles.CLOSED[name]
  s, t = _pairs(closed)
  r, v = closed.schedule.transition(*_jnp(s, t))
  want = closed.alpha(t) / closed.alpha(s)
  np.testing.assert_allclose(r, want, rtol=1e-12)
  want = closed.sigma2(t) - want**2 * closed.sigma2(s)
  np.testing.assert_allclose(v, want, rtol=1e-9)


@every
def test_pinned_is_framebridge_equation_12_in_snrs(name):
  closed = oracles.CLOSED[name]
  s, t = _pairs(closed)
  got = closed.schedule.pinned(*_jnp(s, t))
  for have, want in zip(got, closed.marginal(s, t), strict=True):
    np.testing.assert_allclose(have, want, rtol=1e-8)


@every
def test_pinned_is_gaussian_conditioning_on_both_ends(name):
  """By precisions: z_s is seen from z0 and, through the transition, z_t."""
  closed = oracles.CLOSED[name]
  s, t = _pairs(closed)
  r = closed.alpha(t) / closed.alpha(s)
  v = closed.sigma2(t) - r**2 * closed.sigma2(s)
  precision = 1 / closed.sigma2(s) + r**2 / v
  a, b, c = closed.schedule.pinned(*_jnp(s, t))
  want = closed.alpha(s) / closed.sigma2(s) / precision
  np.testing.assert_allclose(a, want, rtol=1e-8)
  np.testing.assert_allclose(b, r / v / precision, rtol=1e-8)
  np.testing.assert_allclose(c, precision**-0.5, rtol=1e-8)


@every
def test_pinned_steps_compose(name):
  """From u to t, then to s, is from u to s: what lets samplers drop zT."""
  schedule = oracles.CLOSED[name].schedule
  s, t = _jnp(*_pairs(oracles.CLOSED[name]))
  end = jnp.full_like(t, schedule.T)
  a, b, c = schedule.pinned(s, t)
  at, bt, ct = schedule.pinned(t, end)
  want_a, want_b, want_c = schedule.pinned(s, end)
  np.testing.assert_allclose(b * bt, want_b, rtol=1e-8)
  np.testing.assert_allclose(a + b * at, want_a, rtol=1e-8)
  np.testing.assert_allclose(c**2 + (b * ct) ** 2, want_c**2, rtol=1e-8)


@every
@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_pinned_ends_are_exact_under_jit(name, dtype):
  schedule = oracles.CLOSED[name].schedule
  pinned = jax.jit(schedule.pinned)
  t = jnp.asarray(np.linspace(0, 1, 9)[None] * schedule.T, dtype)
  still = pinned(t, t)
  for have, want in zip(still, (0, 1, 0), strict=True):
    assert have.dtype == dtype
    np.testing.assert_array_equal(have, np.full(t.shape, want))
  whole = pinned(jnp.zeros_like(t), jnp.full_like(t, schedule.T))
  for have, want in zip(whole, (1, 0, 0), strict=True):
    np.testing.assert_array_equal(have, np.full(t.shape, want))


@pytest.mark.parametrize('name', schedules.SCHEDULES)
@pytest.mark.parametrize('gap', [1e-6, 1e-5, 1e-3])
def test_pinned_keeps_float32_precision_beside_the_end(name, gap):
  """By subtraction, a loses all but two digits at T - 1e-6."""
  closed = oracles.CLOSED[name]
  end = np.float32(closed.schedule.T)
  near = np.full((1, 1), end - np.float32(gap), np.float32)
  got = jax.jit(closed.schedule.pinned)(
    *_jnp(near, np.full_like(near, end), dtype=np.float32)
  )
  wide = near.astype(np.longdouble), np.full_like(near, end, np.longdouble)
  for have, want in zip(got, closed.marginal(*wide), strict=True):
    assert have.dtype == np.float32
    np.testing.assert_allclose(have, want.astype(float), rtol=1e-6)


@every
def test_gradients_are_finite_at_the_ends(name):
  schedule = oracles.CLOSED[name].schedule
  T = schedule.T
  s = jnp.array([[0.0, 0.0, T, 0.5 * T, 0.0]], jnp.float32)
  t = jnp.array([[0.0, T, T, 0.5 * T, 0.5 * T]], jnp.float32)

  def total(s, t):
    used = (*schedule.pinned(s, t), schedule.sigma(s), schedule.alpha(s))
    return sum(x.sum() for x in used)

  for grad in jax.jit(jax.grad(total, (0, 1)))(s, t):
    assert np.isfinite(grad).all()
