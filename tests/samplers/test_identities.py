"""Samplers that are one step under several names, and laws they all share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import walks

from framebridge_jax.samplers import (
  ancestral,
  heun,
  implicit,
  loop,
  multistep,
)

SAMPLERS = walks.SAMPLERS | {
  'heun:churn=0.3': heun.Heun(churn=0.3),
  'ddim:eta=0.5': implicit.Implicit(eta=0.5),
}
PROCESSES = ('diffusion edm', 'diffusion flow', 'bridge bridge_gmax')
processes = pytest.mark.parametrize('name', PROCESSES)
samplers = pytest.mark.parametrize('kind', SAMPLERS)
SHAPE = (2, 4, 2, 1, 1)


def _draw(number, shape=SHAPE):
  return jnp.asarray(np.random.default_rng(number).normal(size=shape))


def _bent(zt, t):
  """Any denoiser will do; this one is not affine and mixes the frames."""
  x0 = jnp.tanh(zt) + 0.2 * jnp.roll(zt, 1, axis=1)
  return loop.Answer(x0 + 0.1 * t[..., None, None, None])


@functools.partial(jax.jit, static_argnames=('process', 'sampler', 'denoise'))
def _run(process, sampler, denoise, zt, times, noise):
  return loop.run(
    sampler,
    process,
    denoise,
    zt,
    times,
    prior=jnp.full_like(zt, 0.4),
    noise=lambda k: noise[k],
  )


def _times(case, u):
  """Progress [steps + 1, f] as times [steps + 1, b, f]."""
  times = case.time_of_progress(np.asarray(u, float))
  return jnp.asarray(np.repeat(times[:, None], SHAPE[0], axis=1))


def _even(steps):
  return np.linspace(0, 1, steps + 1)[:, None] * np.ones(SHAPE[1])


def _same_walk(name, one, other, *, u=None, atol=1e-12):
  """Two samplers step for step: walks of every length."""
  case = walks.CASES[name]
  times = _times(case, _even(6) if u is None else u)
  _, b, c = case.marginal(case.T)
  zt = 0.4 * b + c * _draw(0)  # a bridge holds no noise at T
  noise = _draw(1, (6, *SHAPE))
  for end in range(1, len(times)):
    cut = jnp.concatenate(
      [times[: end + 1], times[end : end + 1].repeat(6 - end, 0)]
    )
    got, want = (
      _run(case.process, sampler, _bent, zt, cut, noise)
      for sampler in (one, other)
    )
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=atol)
    assert (np.abs(got - zt) > 1e-3).any()


@processes
def test_ddim_with_eta_one_is_ddpm_and_dbim_with_rho_c_the_pinned_step(name):
  _same_walk(name, implicit.Implicit(eta=1.0), ancestral.Ancestral())


@processes
def test_multistep_of_order_one_is_ddim(name):
  _same_walk(name, multistep.Multistep(order=1), implicit.Implicit())


@processes
def test_hybrid_without_churn_is_heun(name):
  _same_walk(name, heun.HybridHeun(churn=0.0), heun.Heun())


@pytest.mark.parametrize('name', ['diffusion edm', 'bridge fading'])
def test_ddim_with_eta_one_is_ddpm_in_distribution(name):
  """Their moments agree in few steps, where both are far from the truth."""
  case = walks.CASES[name]
  plans = [walks.whole(case, task, 6) for task in ('all', 'i2v')]
  (one, cov1), (other, cov2) = (
    walks.moments(case, sampler, plans)
    for sampler in (implicit.Implicit(eta=1.0), ancestral.Ancestral())
  )
  np.testing.assert_allclose(one, other, atol=1e-12)
  np.testing.assert_allclose(cov1, cov2, atol=1e-12)
  assert np.abs(cov1[0] - walks.COV).max() > 0.1


def _step(case, sampler, denoise, y, s, t, noise):
  s, t = (jnp.full(y.shape[:2], x) for x in (s, t))
  return sampler.step(
    case.process, denoise, sampler.init(y), s=s, t=t, noise=noise
  ).y


@processes
def test_ddim_is_eulers_step_on_y_over_a_with_the_clock_c_over_a(name):
  """d(y / a) / d(c / a) = (y - a x0) / c, the noise."""
  case = walks.CASES[name]
  t, s = 0.6 * case.T, 0.35 * case.T
  (a_t, _, c_t), (a_s, _, c_s) = case.marginal(t), case.marginal(s)
  y = _draw(0) * c_t
  x0 = np.asarray(_bent(y, jnp.full(SHAPE[:2], t)).x0)
  slope = (np.asarray(y) - a_t * x0) / c_t
  want = a_s * (np.asarray(y) / a_t + slope * (c_s / a_s - c_t / a_t))
  for sampler in (implicit.Implicit(), multistep.Multistep(order=1)):
    got = _step(case, sampler, _bent, y, s, t, jnp.full_like(y, 1e3))
    np.testing.assert_allclose(got, want, rtol=1e-8)


@processes
def test_heun_is_exact_where_the_noise_is_linear_in_the_clock(name):
  """With slope p + q clock, y / a is a parabola: a trapezoid's rule."""
  case = walks.CASES[name]
  t, s = 0.6 * case.T, 0.35 * case.T
  p, q = 0.7, -0.3

  def linear(y, time):
    a, _, c = (x[..., None, None, None] for x in case.process.marginal(time))
    return loop.Answer((y - c * (p + q * c / a)) / a)

  (a_t, _, c_t), (a_s, _, c_s) = case.marginal(t), case.marginal(s)
  y, before, after = _draw(0), c_t / a_t, c_s / a_s
  rise = p * (after - before) + q * (after**2 - before**2) / 2
  want = a_s * (np.asarray(y) / a_t + rise)
  got = _step(case, heun.Heun(), linear, y, s, t, jnp.full_like(y, 1e3))
  np.testing.assert_allclose(got, want, rtol=1e-8)


@samplers
def test_equal_frame_times_are_clip_time_to_the_bit(kind):
  """A clip whose frames share a time is its frames, one by one.

  The denoiser here does not mix them.
  """
  case = walks.CASES['bridge bridge_gmax']
  zt, noise = _draw(0), _draw(1, (6, *SHAPE))
  times = _times(case, _even(6))

  def alone(zt, t):
    return loop.Answer(jnp.tanh(zt) + t[..., None, None, None])

  clip = _run(case.process, SAMPLERS[kind], alone, zt, times, noise)
  frames = _run(
    case.process,
    SAMPLERS[kind],
    alone,
    zt.reshape(8, 1, 2, 1, 1),
    times.reshape(7, 8, 1),
    noise.reshape(6, 8, 1, 2, 1, 1),
  )
  np.testing.assert_array_equal(clip, frames.reshape(SHAPE))
