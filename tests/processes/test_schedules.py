"""Schedules and their pinned step, against closed forms in numpy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oracles
from framebridge_jax.processes import fading, schedules, table

every = pytest.mark.parametrize('name', oracles.CLOSED)
tabled = pytest.mark.parametrize(
  'name', [name for name in oracles.CLOSED if name != 'fading']
)


def _pairs(closed):
  """Times s < t [1, 7], unequal gaps, inside (0, T)."""
  t = np.linspace(0.02, 0.98, 7)[None] * closed.schedule.T
  s = t * np.linspace(0.9, 0.1, 7)
  return s, t


def _jnp(*arrays, dtype=np.float64):
  return tuple(jnp.asarray(x, dtype) for x in arrays)


def _end(schedule, dtype=np.float64):
  return jnp.full((1, 1), schedule.T, dtype)


def test_every_schedule_of_the_table_has_a_closed_form_here():
  for name, make in table.SCHEDULES.items():
    assert oracles.CLOSED[name].schedule == make()


@every
def test_signal_and_noise_are_the_closed_forms(name):
  closed = oracles.CLOSED[name]
  _, t = _pairs(closed)
  (time,) = _jnp(t)
  schedule = closed.schedule
  np.testing.assert_allclose(schedule.alpha(time), closed.alpha(t), rtol=1e-12)
  np.testing.assert_allclose(
    schedule.log_alpha(time), np.log(closed.alpha(t)), rtol=1e-9, atol=1e-15
  )
  np.testing.assert_allclose(schedule.sigma2(time), closed.sigma2(t), rtol=1e-9)
  np.testing.assert_allclose(
    schedule.sigma(time), np.sqrt(closed.sigma2(t)), rtol=1e-9
  )
  np.testing.assert_allclose(schedule.snr(time), closed.snr(t), rtol=1e-9)


@every
@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_time_zero_is_exactly_clean(name, dtype):
  schedule, zero = oracles.CLOSED[name].schedule, jnp.zeros((1, 1), dtype)
  assert schedule.alpha(zero) == 1
  assert schedule.log_alpha(zero) == 0
  assert schedule.sigma2(zero) == schedule.sigma(zero) == 0
  assert schedule.snr(zero) == np.inf


@every
def test_drift_and_diffusion_are_the_closed_forms(name):
  closed = oracles.CLOSED[name]
  t = np.linspace(0.0, 0.9995, 9)[None] * closed.schedule.T
  (time,) = _jnp(t)
  np.testing.assert_allclose(closed.schedule.f(time), closed.f(t), rtol=1e-9)
  np.testing.assert_allclose(closed.schedule.g2(time), closed.g2(t), rtol=1e-9)


@every
@pytest.mark.parametrize('until', [0.3, 0.9])
def test_drift_and_diffusion_integrate_to_signal_and_noise(name, until):
  """log alpha = int f; sigma^2 = alpha^2 int g2 / alpha^2: vp among them."""
  closed = oracles.CLOSED[name]
  end = until * closed.schedule.T
  edges = np.linspace(0, end, round(1000 * until) + 1)
  nodes, weights = np.polynomial.legendre.leggauss(4)
  width = np.diff(edges)[:, None]
  t = edges[:-1, None] + width * (nodes + 1) / 2
  (time,) = _jnp(t)
  part = width * weights / 2
  f, g2 = (np.asarray(x) * part for x in _rates(closed.schedule, time))
  end = np.array(end)
  alpha = np.exp(f.sum())
  np.testing.assert_allclose(alpha, closed.alpha(end), rtol=1e-8)
  sigma2 = alpha**2 * (g2 / closed.alpha(t) ** 2).sum()
  np.testing.assert_allclose(sigma2, closed.sigma2(end), rtol=1e-8)


def _rates(schedule, t):
  return jax.jit(lambda t: (schedule.f(t), schedule.g2(t)))(t)


@every
@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_schedule_fades_out_where_no_signal_is_left_at_T(name, dtype):
  """There, and only there, three of its numbers are infinite at T."""
  closed = oracles.CLOSED[name]
  schedule, T = closed.schedule, _end(closed.schedule, dtype)
  fades = closed.alpha(np.array(schedule.T)) == 0
  assert schedule.fades_out == fades
  assert (schedule.alpha(T) == 0) == fades
  assert (schedule.snr(T) == 0) == fades
  for value in (schedule.log_alpha(T), schedule.f(T), schedule.g2(T)):
    assert np.isinf(value) == fades


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
  whole = pinned(jnp.zeros_like(t), t.at[0, 0].set(schedule.T))
  for have, want in zip(whole, (1, 0, 0), strict=True):
    np.testing.assert_array_equal(have, np.full(t.shape, want))


@tabled
def test_pinned_keeps_float32_precision_beside_the_end(name):
  """By subtraction, a loses all but two digits at T (1 - 1e-6)."""
  closed = oracles.CLOSED[name]
  t = np.full((1, 4), closed.schedule.T, np.float32)
  _compare_float32(
    closed, t * np.float32([[0.999, 1 - 1e-5, 1 - 1e-6, 0.99]]), t
  )


@tabled
def test_pinned_keeps_float32_precision_everywhere(name):
  """Within a table's segment, over one edge, and over many."""
  closed = oracles.CLOSED[name]
  t = np.float32(np.linspace(0.003, 1, 400)[:, None] * closed.schedule.T)
  _compare_float32(closed, t * np.float32([[1 - 1e-4, 0.5, 0.001]]), t)


def _compare_float32(closed, s, t):
  s, t = np.broadcast_arrays(s, t)
  got = jax.jit(closed.schedule.pinned)(s, t)
  with np.errstate(divide='ignore'):
    wide = closed.marginal(*(x.astype(np.longdouble) for x in (s, t)))
  for have, want in zip(got, wide, strict=True):
    assert have.dtype == np.float32
    np.testing.assert_allclose(have, want.astype(float), rtol=3e-6)


@tabled
@pytest.mark.parametrize(
  ('dtype', 'tolerance'), [('float64', 1e-13), ('float32', 3e-7)]
)
def test_inverse_snr_gives_the_time_of_an_snr_back(name, dtype, tolerance):
  """Tables between and at their entries, from the first one on."""
  closed = oracles.CLOSED[name]
  share = np.sort([*np.linspace(0.001, 0.999, 40), 0.0011, 0.9991, 1.0])
  t = (share[None] * closed.schedule.T).astype(dtype)
  (snr,) = _jnp(closed.snr(t.astype(np.longdouble)), dtype=dtype)
  got = jax.jit(closed.schedule.inverse_snr)(snr)
  assert got.dtype == dtype
  np.testing.assert_allclose(got, t, rtol=0, atol=tolerance * closed.schedule.T)


@tabled
@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_inverse_snr_is_clamped_to_the_schedule(name, dtype):
  """At T and below its SNR exactly T; at infinity exactly 0; no NaN."""
  schedule = oracles.CLOSED[name].schedule
  snr = jnp.asarray([[0.0, 1e-30, 1e30, jnp.inf]], dtype)
  got = jax.jit(schedule.inverse_snr)(snr)
  np.testing.assert_array_equal(got, [[schedule.T, schedule.T, 0, 0]])
  last = schedule.inverse_snr(schedule.snr(_end(schedule, dtype)))
  np.testing.assert_array_equal(last, [[schedule.T]])


@pytest.mark.parametrize(
  'name', [n for n in table.SCHEDULES if not n.startswith('table')]
)
def test_a_continuous_teacher_is_asked_at_the_time_of_the_snr(name):
  schedule = oracles.CLOSED[name].schedule
  snr = jnp.asarray([[0.0, 0.02, 0.9, 40.0, jnp.inf]])
  np.testing.assert_array_equal(
    schedule.teacher_time(snr), schedule.inverse_snr(snr)
  )


@pytest.mark.parametrize('name', table.SCHEDULES)
@pytest.mark.parametrize('value', [0, -0.5, float('nan')])
def test_numbers_that_are_not_positive_are_refused_by_name(name, value):
  make = table.SCHEDULES[name]
  fields = [
    field.name
    for field in dataclasses.fields(make())
    if field.type is float and field.init
  ]
  assert fields
  for field in fields:
    with pytest.raises(ValueError, match=f'{field} of .* want above 0'):
      make(**{field: value})


def test_the_rate_of_a_brownian_bridge_is_its_diffusion():
  """At rate 1, its default, a lost rate would not show."""
  schedule, t = schedules.BridgeGconst(rate=4.0), jnp.array([[0.25, 0.75]])
  np.testing.assert_array_equal(schedule.g2(t), [[4, 4]])
  np.testing.assert_array_equal(schedule.sigma2(t), [[1, 3]])
  np.testing.assert_array_equal(schedule.inverse_snr(1 / (4 * t)), t)
  _, v = schedule.transition(t[:, :1], t[:, 1:])
  np.testing.assert_array_equal(v, [[2]])


def test_noise_that_does_not_grow_is_refused():
  with pytest.raises(
    ValueError, match='sigma_max 0.1 .* above its sigma_min 0.2'
  ):
    schedules.VE(sigma_min=0.2, sigma_max=0.1)


def test_schedules_that_end_in_noise_end_at_time_one():
  for make in (fading.Flow, fading.Cosine):
    with pytest.raises(TypeError, match='T'):
      make(T=2.0)
