"""Every sampler on correlated Gaussian videos, whose moments are known.

With the exact denoiser a sampler's output is affine in its noise, so its mean
and covariance come from a Jacobian, without a single random draw.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oracles
from framebridge_jax.processes import bridge
from framebridge_jax.samplers import ancestral, implicit, loop, table
from framebridge_jax.tasks import plans

F, ROWS = 4, 160
MEAN = np.array([0.3, -0.2, 0.5, 0.1])
COV = 0.8 ** np.abs(np.subtract.outer(np.arange(F), np.arange(F)))
VALUES = np.array([1.0, -0.5, 0.2, 0.8])
PRIOR = np.array([0.7, 0.7, 0.2, -1.0])
PROCESSES = {
  name: bridge.Bridge(schedule=oracles.CLOSED[name].schedule)
  for name in ('bridge_gmax', 'fading')
}
# Two names for one sampler are one case.
SAMPLERS = {repr(make()): make() for make in table.SAMPLERS.values()} | {
  'Implicit(eta=0.5)': implicit.Implicit(eta=0.5)
}
KNOWN = {'all': (), 'image_to_video': (0,), 'interpolate': (0, F - 1)}


def _video(x):
  return jnp.asarray(x).reshape(1, F, 1, 1, 1)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _moments(process, sampler, start, spread, times):
  """Of the output, when the start is `start + spread @ unit noise`."""
  denoise = oracles.gaussian_denoiser(process, MEAN, COV, _video(PRIOR))

  def sample(noise):
    first, rest = noise[:2].ravel(), noise[2:]
    out = loop.run(
      sampler,
      process,
      denoise,
      _video(start + spread @ first),
      times,
      prior=_video(PRIOR),
      noise=lambda k: _video(rest[k]),
    )
    return out.ravel()

  return oracles.affine_moments(sample, jnp.zeros((len(times) + 1, F)))


def _padded(times):
  """Per-frame times [steps + 1, f] -> [ROWS + 1, 1, f], one compilation."""
  rest = np.repeat(times[-1:], ROWS + 1 - len(times), axis=0)
  return jnp.asarray(np.concatenate([times, rest])[:, None])


def _task_moments(process, sampler, task, steps):
  known = KNOWN[task]
  u = (plans.TASKS | {'all': plans.progress})[task](steps, F)
  start = np.where(np.isin(np.arange(F), known), VALUES, PRIOR)
  times = _padded(process.schedule.T * (1 - u))
  return _moments(process, sampler, start, np.zeros((F, 2 * F)), times)


@pytest.mark.parametrize('name', PROCESSES)
@pytest.mark.parametrize('kind', SAMPLERS)
@pytest.mark.parametrize('task', KNOWN)
def test_samples_converge_to_the_true_conditional(task, kind, name):
  """Errors fall as 1 / steps, so `2 cov(2n) - cov(n)` is almost the limit.

  The mean is exact in any number of steps: the exact denoiser, asked at the
  mean, answers with the conditional mean.
  """
  known = KNOWN[task]
  true_mean, true_cov = oracles.conditional(MEAN, COV, known, VALUES)
  (_, rough), (mean, cov) = (
    _task_moments(PROCESSES[name], SAMPLERS[kind], task, steps)
    for steps in (ROWS // 2, ROWS)
  )
  np.testing.assert_allclose(mean, true_mean, atol=1e-10)
  np.testing.assert_allclose(cov, true_cov, atol=0.07)
  np.testing.assert_allclose(2 * cov - rough, true_cov, atol=0.013)
  held = np.isin(np.arange(F), known)
  np.testing.assert_array_equal(mean[held], VALUES[held])
  assert not cov[held].any()


def test_frames_that_set_out_one_after_another_converge_to_the_joint():
  """Any plan will do: here frame i + 1 leaves when i is 30 % of its way."""

  def covariance(steps):
    u = np.linspace(0, 1 + 0.3 * (F - 1), steps + 1)[:, None]
    u = np.clip(u - 0.3 * np.arange(F), 0.0, 1.0)
    start = PRIOR, np.zeros((F, 2 * F)), _padded(1 - u)
    return _moments(PROCESSES['bridge_gmax'], implicit.Implicit(), *start)[1]

  rough, fine = covariance(ROWS // 2), covariance(ROWS)
  np.testing.assert_allclose(2 * fine - rough, COV, atol=0.01)


@pytest.mark.parametrize('kind', SAMPLERS)
def test_order_is_one_inside_the_ends(kind):
  """From an exact draw at times above to times below, per frame."""
  closed, process = oracles.CLOSED['fading'], PROCESSES['fading']
  late, early = np.array([1.6, 1.5, 1.3, 1.2]), np.array([0.5, 0.8, 0.4, 0.6])
  a, b, c = closed.marginal(late, np.full(F, 2.0))
  root = a[:, None] * np.linalg.cholesky(COV)
  start = a * MEAN + b * PRIOR, np.concatenate([root, np.diag(c)], axis=1)
  a, b, c = closed.marginal(early, np.full(F, 2.0))
  want = a[:, None] * COV * a + np.diag(c**2)
  errors = []
  for steps in (20, 40, 80, 160):
    times = _padded(np.linspace(late, early, steps + 1))
    mean, cov = _moments(process, SAMPLERS[kind], *start, times)
    np.testing.assert_allclose(mean, a * MEAN + b * PRIOR, atol=1e-10)
    errors.append(np.abs(cov - want).max())
  orders = np.log2(np.divide(errors[:-1], errors[1:]))
  np.testing.assert_allclose(orders[-1], 1.0, atol=0.06)
  assert errors[-1] < 0.01


@pytest.mark.parametrize('name', PROCESSES)
def test_dbim_with_eta_one_is_the_ancestral_step(name):
  """Step by step, for an arbitrary answer, at every kind of frame time."""
  process, T = PROCESSES[name], PROCESSES[name].schedule.T
  t = jnp.array([[1.0, 1.0, 0.7, 0.2, 0.999]]) * T
  s = jnp.array([[0.8, 0.0, 0.3, 0.0, 0.001]]) * T
  rng = np.random.default_rng(0)
  y, noise = (jnp.asarray(rng.normal(size=(1, 5, 2, 2, 1))) for _ in range(2))
  y = jnp.where(t[..., None, None, None] == T, 0.0, y)  # no noise at T

  def answer(y, t):
    return loop.Answer(jnp.sin(3 * y) + 0.4)

  one, other = (
    sampler.step(process, answer, sampler.init(y), s=s, t=t, noise=noise).y
    for sampler in (implicit.Implicit(eta=1.0), ancestral.Ancestral())
  )
  np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize('name', PROCESSES)
@pytest.mark.parametrize('kind', SAMPLERS)
def test_first_step_from_T_has_the_noise_of_the_marginal(kind, name):
  """Whatever eta: the bridge holds no noise there that could be kept."""
  closed, sampler = oracles.CLOSED[name], SAMPLERS[kind]
  T = closed.schedule.T
  s = np.array([[0.3, 0.6, 0.95, 0.0]]) * T
  zero = jnp.zeros((1, 4, 1, 1, 1))

  def step(noise):
    return sampler.step(
      PROCESSES[name],
      lambda y, t: loop.Answer(jnp.full_like(y, 0.7)),
      sampler.init(zero),
      s=jnp.asarray(s),
      t=jnp.full((1, 4), T),
      noise=noise,
    ).y

  inside = np.maximum(s, 1e-15)  # the closed form divides by sigma
  a, _, c = closed.marginal(inside, np.full_like(s, T))
  np.testing.assert_allclose(step(zero)[..., 0, 0, 0], 0.7 * a, rtol=1e-8)
  spread = step(jnp.ones_like(zero)) - step(zero)
  np.testing.assert_allclose(spread[..., 0, 0, 0], c, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize('name', PROCESSES)
@pytest.mark.parametrize('kind', SAMPLERS)
def test_point_data_keeps_the_marginal_in_any_number_of_steps(kind, name):
  """kept^2 + fresh^2 = c_s^2, whatever eta; checked to rounding."""
  closed, process = oracles.CLOSED[name], PROCESSES[name]
  T, sampler = closed.schedule.T, SAMPLERS[kind]
  times = np.array([1.0, 0.8, 0.35, 0.3, 0.1]) * T
  point = 1.7

  def sample(noise):
    out = loop.run(
      sampler,
      process,
      lambda zt, t: loop.Answer(jnp.full_like(zt, point)),
      jnp.full((1, 1, 1, 1, 1), -0.6),
      jnp.asarray(times)[:, None, None],
      prior=jnp.full((1, 1, 1, 1, 1), -0.6),
      noise=lambda k: noise[k].reshape(1, 1, 1, 1, 1),
    )
    return out.ravel()

  mean, cov = jax.jit(lambda: oracles.affine_moments(sample, jnp.zeros(4)))()
  a, b, c = closed.marginal(times[-1:], np.array([T]))
  np.testing.assert_allclose(mean, a * point - b * 0.6, rtol=1e-9)
  np.testing.assert_allclose(cov.ravel(), c**2, rtol=1e-8)


@pytest.mark.parametrize('eta', [0.0, 0.5, 1.0])
def test_eta_is_the_share_of_the_ancestral_noise_that_is_fresh(eta):
  """rho = eta c(s; t) (DBIM Eq. for rho), inside (0, T)."""
  closed, process = oracles.CLOSED['fading'], PROCESSES['fading']
  s, t = np.array([[0.4, 1.1]]), np.array([[1.5, 1.2]])
  sampler = implicit.Implicit(eta=eta)
  y = jnp.ones((1, 2, 1, 1, 1))

  def step(noise):
    return sampler.step(
      process,
      lambda y, t: loop.Answer(jnp.zeros_like(y)),
      sampler.init(y),
      s=jnp.asarray(s),
      t=jnp.asarray(t),
      noise=noise,
    ).y

  fresh = step(jnp.ones_like(y)) - step(jnp.zeros_like(y))
  want = eta * closed.marginal(s, t)[2]
  np.testing.assert_allclose(fresh[..., 0, 0, 0], want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('name', PROCESSES)
def test_pf_ode_follows_the_probability_flow(name):
  """dz/dt = f z - g2 (score / 2 - h): factor and signs of every term."""
  closed = oracles.CLOSED[name]
  T = np.asarray(closed.schedule.T)
  t = np.array([[0.15, 0.5, 0.85]]) * T
  z, x0, prior = (
    np.array([x]) for x in ([1.2, -0.4, 0.3], [0.5, 0.1, -1], [2, -1, 0.7])
  )

  def as_video(x):
    return jnp.asarray(x, jnp.float64)[..., None, None, None]

  moved = []
  for sign in (0.0, 1.0):
    s = t - sign * 1e-6 * T
    out = loop.run(
      table.SAMPLERS['pf_ode'](),
      PROCESSES[name],
      lambda zt, t: loop.Answer(as_video(x0)),
      as_video(z),
      jnp.asarray(np.stack([t, s])),
      prior=as_video(prior),
      noise=lambda k: jnp.zeros((1, 3, 1, 1, 1)),
    )
    moved.append(np.asarray(out[..., 0, 0, 0]))
  velocity = (moved[0] - moved[1]) / (1e-6 * T)
  a, b, c = closed.marginal(t, np.full_like(t, T))
  r = closed.alpha(T) / closed.alpha(t)
  h = r * (prior - r * z) / (closed.sigma2(T) - r**2 * closed.sigma2(t))
  score = -(z - a * x0 - b * prior) / c**2
  want = closed.f(t) * z - closed.g2(t) * (score / 2 - h)
  np.testing.assert_allclose(velocity, want, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize('kind', table.SAMPLERS)
def test_samplers_compare_by_value_so_that_jit_may_hold_them(kind):
  one, other = table.SAMPLERS[kind](), table.SAMPLERS[kind]()
  assert one == other
  assert hash(one) == hash(other)
  assert implicit.Implicit(eta=0.5) != implicit.Implicit(eta=0.0)
