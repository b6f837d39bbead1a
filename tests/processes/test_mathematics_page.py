"""Equations of docs/mathematics.md that no other test holds to the code."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import oracles
from framebridge_jax.processes import bridge, diffusion, schedules, sde
from framebridge_jax.samplers import loop, multistep

SMOOTH = ('bridge_gmax', 'vp', 've', 'cosine', 'flow_shift_3', 'fading')
some = pytest.mark.parametrize('name', ['bridge_gmax', 'vp', 'fading'])


def _frames(x):
  """Numbers as the pixels of a clip's frames."""
  return jnp.asarray(x, jnp.float64).reshape(1, -1, 1, 1, 1)


def _bridge(name):
  return bridge.Bridge(schedule=oracles.BRIDGES[name].schedule)


def _pairs(closed):
  t = np.linspace(0.1, 0.9, 7) * closed.schedule.T
  return t * np.linspace(0.9, 0.1, 7), t


def _end(closed):
  return np.asarray(closed.schedule.T)


@pytest.mark.parametrize('name', SMOOTH)
def test_v_is_the_noise_added_on_the_way_and_shrunk_to_its_end(name):
  closed = oracles.CLOSED[name]
  for s, t in zip(*_pairs(closed), strict=True):
    want, _ = integrate.quad(
      lambda u, t=t: (closed.alpha(t) / closed.alpha(u)) ** 2 * closed.g2(u),
      s,
      t,
      epsrel=1e-10,
    )
    _, v = closed.schedule.transition(jnp.full((1, 1), s), jnp.full((1, 1), t))
    np.testing.assert_allclose(v, [[want]], rtol=1e-7)


@some
def test_a_bridge_less_its_prior_steps_as_the_diffusion_of_a_and_c(name):
  """Gaussian conditioning with a for alpha and c for sigma."""
  closed = oracles.BRIDGES[name]
  s, t = _pairs(closed)
  (a_s, _, c_s), (a_t, _, c_t) = (
    closed.marginal(x, np.full_like(x, _end(closed))) for x in (s, t)
  )
  r = a_t / a_s
  v = c_t**2 - (r * c_s) ** 2
  got = closed.schedule.pinned(jnp.asarray(s)[None], jnp.asarray(t)[None])
  np.testing.assert_allclose(got.a[0], a_s * v / c_t**2, rtol=1e-7)
  np.testing.assert_allclose(got.b[0], r * c_s**2 / c_t**2, rtol=1e-7)
  np.testing.assert_allclose(got.c[0], np.sqrt(v) * c_s / c_t, rtol=1e-7)


@some
def test_steps_on_the_clock_are_those_of_the_ornstein_uhlenbeck_process(name):
  """y / c relaxes by e^-h on the clock log(a / c)."""
  closed = oracles.BRIDGES[name]
  s, t = _pairs(closed)
  (a_s, _, c_s), (a_t, _, c_t) = (
    closed.marginal(x, np.full_like(x, _end(closed))) for x in (s, t)
  )
  h = np.log(a_s / c_s) - np.log(a_t / c_t)
  got = closed.schedule.pinned(jnp.asarray(s)[None], jnp.asarray(t)[None])
  np.testing.assert_allclose(got.b[0], c_s / c_t * np.exp(-h), rtol=1e-7)
  np.testing.assert_allclose(got.a[0], -a_s * np.expm1(-2 * h), rtol=1e-7)
  np.testing.assert_allclose(
    got.c[0] ** 2, -(c_s**2) * np.expm1(-2 * h), rtol=1e-7
  )


def _psi(closed, zt, z0, t):
  return (zt - closed.alpha(t) * z0) / np.sqrt(closed.sigma2(t))


@some
def test_psi_is_finite_at_the_clean_end_and_is_its_three_parts(name):
  closed, process = oracles.BRIDGES[name], _bridge(name)
  t = np.array([1e-4, 0.01, 0.3, 0.8]) * closed.schedule.T
  ratio = closed.snr(_end(closed)) / closed.snr(t)
  alpha, sigma = closed.alpha(t), np.sqrt(closed.sigma2(t))

  def psi(z0, prior, eps):
    z0, prior, eps = (np.full(4, float(x)) for x in (z0, prior, eps))
    zt = sde.perturb(
      process,
      *(_frames(x) for x in (z0, prior)),
      jnp.asarray(t)[None],
      _frames(eps),
    )
    return _psi(closed, np.ravel(zt), z0, t)

  share = alpha * ratio / sigma
  np.testing.assert_allclose(psi(1, 0, 0), -share, rtol=1e-6)
  np.testing.assert_allclose(
    psi(0, 1, 0), share / closed.alpha(_end(closed)), rtol=1e-6
  )
  np.testing.assert_allclose(psi(0, 0, 1), np.sqrt(1 - ratio), rtol=1e-6)
  vanishing = closed.snr(_end(closed)) * sigma / alpha**2
  np.testing.assert_allclose(ratio / sigma, vanishing, rtol=1e-7)
  assert vanishing[0] < 0.1 * vanishing[2]


def test_the_score_of_framebridge_s_own_bridge_is_not_in_that_limit():
  process, closed = _bridge('bridge_gmax'), oracles.CLOSED['bridge_gmax']
  t = np.array([0.5])
  zt, z0, prior = np.array([[0.7], [-1.1], [1.3]])
  score = sde.score(
    process, _frames(zt), jnp.asarray(t)[None], _frames(z0), _frames(prior)
  ).item()
  whole = _psi(closed, zt, z0, t) / np.sqrt(closed.sigma2(t))
  ratio = closed.snr(_end(closed)) / closed.snr(t)
  np.testing.assert_allclose(ratio, 0.25, rtol=1e-3)
  assert abs(score + whole.item()) > 0.1 * abs(score)


MEAN, STD, PRIOR = 0.6, 0.8, -1.3


def _walk_back(name, w, drift_of):
  """Moments at 0.1 T from exact ones at 0.9 T, over what they should be.

  With the exact answer for N(MEAN, STD) all drifts are affine.
  """
  closed, process = oracles.CLOSED[name], _bridge(name)
  t = np.linspace(0.9, 0.1, 16001) * closed.schedule.T
  a, b, c = closed.marginal(t, np.full_like(t, _end(closed)))
  gain = STD**2 * a / ((a * STD) ** 2 + c**2)
  prior = _frames(np.full_like(t, PRIOR))

  @jax.jit
  def drift(z):
    x0_hat = MEAN + _frames(gain) * (z - _frames(a * MEAN + b * PRIOR))
    at = (process, z, jnp.asarray(t)[None], x0_hat, prior)
    return drift_of(sde.flow(*at), sde.reverse_drift(*at)).ravel()

  offset = np.asarray(drift(_frames(np.zeros_like(t))))
  slope = np.asarray(drift(_frames(np.ones_like(t)))) - offset
  log = integrate.cumulative_trapezoid(slope, t, initial=0)
  means = a * MEAN + b * PRIOR
  variances = (a * STD) ** 2 + c**2
  mean = means[0] + np.trapezoid(np.exp(-log) * offset, t)
  noise = w**2 * closed.g2(t)
  variance = variances[0] - np.trapezoid(np.exp(-2 * log) * noise, t)
  grown = np.exp(log[-1])
  return mean * grown / means[-1], variance * grown**2 / variances[-1]


@pytest.mark.parametrize('name', ['bridge_gmax', 'fading'])
@pytest.mark.parametrize('w', [0.5, 1.7])
def test_every_noise_scale_keeps_the_marginals_if_its_square_interpolates(
  name, w
):
  ratio = _walk_back(name, w, lambda flow, sde: flow + w**2 * (sde - flow))
  np.testing.assert_allclose(ratio, 1, atol=1e-4)
  plain = _walk_back(name, w, lambda flow, sde: flow + w * (sde - flow))
  assert abs(plain[1] - 1) > 0.02


@pytest.mark.parametrize('name', ['vp', 'fading'])
def test_rates_on_a_frame_s_own_clock_take_the_clock_s_pace(name):
  """FVDM Eq. 5 without d tau / dt noises a frame that stands at 0."""
  closed = oracles.CLOSED[name]

  t = np.linspace(0, 1, 8001)

  def moments(tau, pace):
    """Mean's factor and variance at t = 1 of rates at tau, times pace."""
    at = jnp.asarray(tau)[None]
    f, g2 = (
      np.asarray(fn(at))[0] for fn in (closed.schedule.f, closed.schedule.g2)
    )
    log_mean = integrate.cumulative_trapezoid(pace * f, t, initial=0)
    shrunk = np.exp(2 * (log_mean[-1] - log_mean))
    return np.exp(log_mean[-1]), np.trapezoid(shrunk * pace * g2, t)

  one, tau = np.ones_like(t), 0.5 * t**2
  mean, variance = moments(tau, t)
  np.testing.assert_allclose(mean, closed.alpha(np.array(0.5)), rtol=1e-6)
  np.testing.assert_allclose(variance, closed.sigma2(np.array(0.5)), rtol=1e-6)
  _, printed = moments(tau, one)
  assert abs(printed / variance - 1) > 0.03
  _, printed = moments(0 * t, one)
  assert printed > 0.05


PROCESSES = {
  'bridge_gmax': _bridge('bridge_gmax'),
  'bridge_fading': _bridge('fading'),
  'vp': diffusion.Diffusion(schedule=schedules.VP()),
}


@pytest.mark.parametrize('process', PROCESSES.values(), ids=PROCESSES)
def test_on_its_clocks_the_flow_of_the_centred_latent_is_its_answer_alone(
  process,
):
  """d(y / c) / d log(a / c) = (a / c) x0, and d(y / a) / d(c / a) = eps."""
  t = jnp.asarray([[0.2, 0.5, 0.8]]) * process.schedule.T
  y, x0 = (jnp.asarray(x).reshape(1, 3) for x in ([0.4, -1, 2], [1, 0.3, -0.7]))
  at = (x.reshape(1, 3, 1, 1, 1) for x in (x0, jnp.zeros_like(x0)))
  move = sde.flow(process, y.reshape(1, 3, 1, 1, 1), t, *at).reshape(1, 3)

  def clocks(t, y):
    a, _, c = process.marginal(t)
    return y / c, jnp.log(a / c), y / a, c / a

  _, pace = jax.jvp(clocks, (t, y), (jnp.ones_like(t), move))
  a, _, c = process.marginal(t)
  np.testing.assert_allclose(pace[0] / pace[1], a / c * x0, rtol=1e-8)
  np.testing.assert_allclose(pace[2] / pace[3], (y - a * x0) / c, rtol=1e-8)


@pytest.mark.parametrize('h', [1e-3, 0.2, 1.0, 4.0])
def test_the_weights_of_slope_and_curvature_are_their_integrals(h):
  slope, _ = integrate.quad(lambda u: u * np.exp(u - h), 0, h, epsrel=1e-12)
  curve, _ = integrate.quad(
    lambda u: u * u / 2 * np.exp(u - h), 0, h, epsrel=1e-12
  )
  p2 = multistep.taylor(jnp.full((1, 1), h)).item()
  np.testing.assert_allclose(p2, slope, rtol=1e-9)
  np.testing.assert_allclose(h * h / 2 - p2, curve, rtol=1e-6)
  middle = multistep.midpoint(jnp.full((1, 1), h)).item()
  assert abs(middle / slope - 1) < h / 5 + 1e-9


@pytest.mark.parametrize('name', ['bridge_gmax', 'fading'])
@pytest.mark.parametrize('order', [1, 2, 3])
def test_a_step_is_exact_for_answers_of_its_degree_in_the_clock(name, order):
  """The last step of a walk, against the integral by quadrature."""
  closed, process = oracles.BRIDGES[name], _bridge(name)
  answer = np.polynomial.Polynomial([0.7, -0.4, 0.3][:order])
  times = np.array([0.9, 0.7, 0.62, 0.35]) * closed.schedule.T

  def at(time):
    a, _, c = closed.marginal(np.array(time), _end(closed))
    return float(a), float(c), float(np.log(a / c))

  def denoise(y, t):
    return loop.Answer(jnp.full_like(y, answer(at(t.item())[2])))

  sampler = multistep.Multistep(order=order)
  state = sampler.init(_frames([1.3]))
  for t, s in itertools.pairwise(times):
    start = state.y.item()
    state = sampler.step(
      process,
      denoise,
      state,
      s=jnp.full((1, 1), s),
      t=jnp.full((1, 1), t),
      noise=_frames([np.nan]),
    )
  (_, c_t, clock), (a_s, c_s, later) = at(times[-2]), at(times[-1])
  h = later - clock
  integral, _ = integrate.quad(
    lambda u: np.exp(u - h) * answer(clock + u), 0, h, epsrel=1e-12
  )
  want = c_s / c_t * start + a_s * integral
  np.testing.assert_allclose(state.y.item(), want, rtol=1e-9)


def test_the_best_prior_by_squares_is_the_conditional_mean_and_not_half_of_it():
  """Proposition 3; FrameBridge Eq. 30 as printed has its minimum at half."""
  mean, count = np.array([0.5, -1.0, 0.3]), 20000
  cov = 0.7 ** np.abs(np.subtract.outer(np.arange(3), np.arange(3)))
  rng = np.random.default_rng(0)
  z0 = rng.multivariate_normal(mean, cov, size=count)
  seen = np.stack([np.ones(count), z0[:, 0]], axis=1)
  fit, *_ = np.linalg.lstsq(seen, z0, rcond=None)
  value = 1.7
  best, _ = oracles.conditional(mean, cov, (0,), np.array([value, 0.0, 0.0]))
  np.testing.assert_allclose(np.array([1, value]) @ fit, best, atol=0.03)

  def square(prior):
    return np.mean(np.sum((prior - z0) ** 2, axis=1))

  best = np.stack(
    [
      oracles.conditional(mean, cov, (0,), np.array([x, 0.0, 0.0]))[0]
      for x in z0[:500, 0]
    ]
  )
  z0 = z0[:500]
  other = best + rng.normal(size=best.shape)
  apart = np.mean(np.sum((other - best) ** 2, axis=1))
  np.testing.assert_allclose(square(other), square(best) + apart, rtol=0.1)
  assert square(best) < square(best / 2)
