"""The noise that steps add: churn, noise scales, learned variances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import walks

from framebridge_jax.samplers import ancestral, euler_maruyama, heun, loop

PROCESSES = ('diffusion edm', 'diffusion flow', 'bridge bridge_gmax')
processes = pytest.mark.parametrize('name', PROCESSES)
SHAPE = (2, 4, 2, 1, 1)


def _draw(number):
  return jnp.asarray(np.random.default_rng(number).normal(size=SHAPE))


def _tanh(zt, t):
  return loop.Answer(jnp.tanh(zt))


def _step(case, sampler, denoise, y, s, t, noise):
  s, t = (jnp.full(y.shape[:2], x) for x in (s, t))
  return sampler.step(
    case.process, denoise, sampler.init(y), s=s, t=t, noise=noise
  ).y


def _point_moments(case, sampler, times, point=1.7):
  """Mean and variance of one frame of point data, from an exact draw."""
  a, b, c = case.marginal(times[0])

  def sample(noise):
    out = loop.run(
      sampler,
      case.process,
      lambda zt, t: loop.Answer(jnp.full_like(zt, point)),
      (a * point + b * 0.4 + c * noise[0]).reshape(1, 1, 1, 1, 1),
      jnp.asarray(times)[:, None, None],
      prior=jnp.full((1, 1, 1, 1, 1), 0.4),
      noise=lambda k: noise[k + 1].reshape(1, 1, 1, 1, 1),
    )
    return out.ravel()[0]

  silent = jnp.zeros(len(times))
  mean, slope = jax.jit(jax.value_and_grad(sample))(silent)
  return float(mean), float((slope**2).sum())


@processes
@pytest.mark.parametrize(
  'sampler',
  [
    heun.Heun(churn=0.3),
    heun.Heun(churn=0.3, churn_from=0.1, churn_to=0.7),
    heun.HybridHeun(),
  ],
  ids=['churned', 'partly', 'hybrid'],
)
def test_churn_keeps_the_marginal_exactly_on_point_data(name, sampler):
  case = walks.CASES[name]
  times = np.array([0.9, 0.5, 0.3, 0.1]) * case.T
  a, b, c = case.marginal(times[-1])
  mean, variance = _point_moments(case, sampler, times)
  np.testing.assert_allclose(mean, a * 1.7 + b * 0.4, rtol=1e-9)
  np.testing.assert_allclose(variance, c**2, rtol=1e-7)


def test_churn_noise_scales_what_churn_adds():
  """EDM (t = sigma): a step from 2 churned by 1/2 begins at sigma = 3."""
  case = walks.CASES['diffusion edm']
  sampler = heun.Heun(churn=0.5, churn_noise=1.1)
  _, variance = _point_moments(case, sampler, np.array([2.0, 1.0]))
  added = 1.1**2 * (3.0**2 - 2.0**2)
  np.testing.assert_allclose(variance, (2.0**2 + added) / 3.0**2, rtol=1e-8)


@pytest.mark.parametrize('outside', [{'churn_from': 2.1}, {'churn_to': 1.9}])
def test_steps_outside_the_churned_times_do_not_churn(outside):
  case = walks.CASES['diffusion edm']
  sampler = heun.Heun(churn=0.5, churn_noise=2.0, **outside)
  _, variance = _point_moments(case, sampler, np.array([2.0, 1.0]))
  np.testing.assert_allclose(variance, 1.0, rtol=1e-9)


@processes
@pytest.mark.parametrize('scale', [0.0, 0.5, 1.0, 1.5])
def test_euler_maruyama_takes_noise_of_its_scale(name, scale):
  """w^2 g2 dt, from the schedule's closed form."""
  case = walks.CASES[name]
  t, s = 0.6 * case.T, 0.55 * case.T
  sampler = euler_maruyama.EulerMaruyama(noise_scale=scale)
  y = _draw(0)
  loud, silent = (
    _step(case, sampler, _tanh, y, s, t, jnp.full_like(y, x))
    for x in (1.0, 0.0)
  )
  want = scale * np.sqrt(case.closed.g2(np.array(t)) * (t - s))
  np.testing.assert_allclose(
    loud - silent, np.full(SHAPE, want), rtol=1e-9, atol=1e-12
  )


@processes
def test_learned_variance_of_ddpm_stands_between_the_pinned_c2_and_v(name):
  """0 is c, 1 is sqrt(v), and between them the logs are mixed."""
  case = walks.CASES[name]
  t, s = 0.6 * case.T, 0.35 * case.T
  closed = case.closed
  ratio = closed.alpha(np.array(t)) / closed.alpha(np.array(s))
  v = closed.sigma2(np.array(t)) - ratio**2 * closed.sigma2(np.array(s))
  c2 = v * closed.sigma2(np.array(s)) / closed.sigma2(np.array(t))
  for share in (0.0, 0.3, 1.0):

    def learned(y, time, share=share):
      return loop.Answer(jnp.tanh(y), jnp.full_like(y, share))

    loud, silent = (
      _step(case, ancestral.Ancestral(), learned, _draw(0), s, t, x)
      for x in (jnp.ones(SHAPE), jnp.zeros(SHAPE))
    )
    want = np.exp(0.5 * (share * np.log(v) + (1 - share) * np.log(c2)))
    np.testing.assert_allclose(loud - silent, np.full(SHAPE, want), rtol=1e-7)


@processes
def test_learned_variance_adds_nothing_to_the_last_step(name):
  case = walks.CASES[name]

  def learned(y, t):
    return loop.Answer(jnp.tanh(y), jnp.ones_like(y))

  y = _draw(0)
  out = _step(
    case, ancestral.Ancestral(), learned, y, 0.0, 0.4 * case.T, 1e3 * y
  )
  np.testing.assert_allclose(out, np.tanh(y), rtol=1e-12)
