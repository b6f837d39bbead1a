"""Single steps: where they end, and how much of their noise is fresh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import walks

import oracles
from framebridge_jax.processes import bridge
from framebridge_jax.samplers import (
  ancestral,
  euler_maruyama,
  heun,
  implicit,
  loop,
  multistep,
  table,
)

PROCESSES = {
  name: bridge.Bridge(schedule=oracles.CLOSED[name].schedule)
  for name in ('bridge_gmax', 'fading')
}
SAMPLERS = walks.SAMPLERS | {'ddim:eta=0.5': implicit.Implicit(eta=0.5)}
# Marginals are kept in any number of steps; Euler's are straight in time.
EXACT = [kind for kind in SAMPLERS if kind != 'euler_maruyama']


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
@pytest.mark.parametrize('kind', EXACT)
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


@pytest.mark.parametrize('kind', table.SAMPLERS)
def test_rows_keep_the_protocol(kind):
  assert isinstance(table.SAMPLERS[kind](), loop.Sampler)


@pytest.mark.parametrize(
  ('kind', 'order'),
  [
    ('ddpm', 1),
    ('euler', 1),
    ('dbim2', 2),
    ('dbim3', 3),
    ('dpmpp_2m', 2),
    ('dpmpp_2m_sde', 2),
    ('heun', 2),
    ('ddbm', 1),
    ('euler_maruyama', 1),
  ],
)
def test_declared_orders(kind, order):
  assert table.SAMPLERS[kind]().order == order


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda: implicit.Implicit(eta=1.5), r'eta is 1.5, want a number in'),
    (lambda: implicit.Implicit(eta=-0.1), r'eta is -0.1, want a number in'),
    (lambda: multistep.Multistep(order=4), 'order is 4, want 1, 2 or 3'),
    (lambda: heun.Heun(churn=-0.1), 'churn is -0.1 and churn_noise 1'),
    (lambda: heun.Heun(churn_noise=-2.0), 'churn is 0 and churn_noise -2'),
    (lambda: heun.HybridHeun(churn=1.0), r'churn is 1, want a number in'),
    (
      lambda: euler_maruyama.EulerMaruyama(noise_scale=-1.0),
      'noise_scale is -1, want a number of at least 0',
    ),
  ],
)
def test_impossible_options_are_refused(make, message):
  with pytest.raises(ValueError, match=message):
    make()
