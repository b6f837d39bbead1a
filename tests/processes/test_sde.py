"""The equations of motion: what they do when they are followed.

Drifts are affine in z, so the mean and variance of an Euler-Maruyama path obey
a recursion: the tests follow those, and no random draw blurs them.  One test
draws paths in fact.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cases
import oracles
from framebridge_jax.processes import bridge, sde

every = pytest.mark.parametrize('name', oracles.BRIDGES)
each = pytest.mark.parametrize('kind', cases.CASES)
STEPS = 8000
PRIOR, DATA_MEAN, DATA_STD = -0.9, 1.4, 0.5


def _like(x, z):
  return jnp.broadcast_to(jnp.asarray(x), z.shape[:2])[..., None, None, None]


def _follow(drifts, times, g2, mean, variance):
  """Moments along Euler-Maruyama, [times, drifts]; the drifts are affine.

  Each drift comes with the share of g2 that its noise has.
  """
  dt = np.diff(times)
  t = jnp.broadcast_to(jnp.asarray(times[:-1]), (2, len(dt)))
  z = _like(jnp.array([[0.0], [1.0]]), t)
  offset, there = np.stack(
    [np.asarray(drift(z, t)).reshape(t.shape) for drift, _ in drifts], axis=-1
  )
  factor = 1 + (there - offset) * dt[:, None]
  move = offset * dt[:, None]
  noise = np.outer(g2(times[:-1]) * np.abs(dt), [share for _, share in drifts])
  moments = []
  with np.errstate(over='ignore', invalid='ignore'):  # spoiled drifts fly off
    for step in zip(factor, move, noise, strict=True):
      mean = step[0] * mean + step[1]
      variance = step[0] ** 2 * variance + step[2]
      moments.append((mean, variance))
  return tuple(np.array(x) for x in zip(*moments, strict=True))


def _grid():
  """Shares of T, closest beside the end, where h is singular."""
  return 1 - np.linspace(1, 0, STEPS + 1) ** 2


def _forward(name, *, sign=1, factor=True):
  """FrameBridge Eq. 4 from data 1.4, with our h or a spoiled one."""
  closed = oracles.BRIDGES[name]
  process = bridge.Bridge(schedule=closed.schedule)
  T = closed.schedule.T

  def drift(z, t):
    ours = sde.forward_drift(process, z, t, jnp.full_like(z, PRIOR))
    f = closed.schedule.f(t)
    r, _ = closed.schedule.transition(t, jnp.full_like(t, T))
    pull = ours - _like(f, z) * z
    if not factor:
      pull = pull / _like(r, z)
    return _like(f, z) * z + sign * pull

  mean, variance = _follow([(drift, 1)], T * _grid(), closed.g2, DATA_MEAN, 0.0)
  return mean[:, 0], np.sqrt(variance[:, 0])


def _errors(name, mean, std, at):
  """Of mean and std at a time, in units of the std of Eq. 12."""
  closed = oracles.BRIDGES[name]
  T = np.asarray(closed.schedule.T)
  k = np.searchsorted(_grid(), at)
  a, b, c = closed.marginal(_grid()[k] * T, T)
  mean, std = mean[k - 1], std[k - 1]
  return abs(mean - (a * DATA_MEAN + b * PRIOR)) / c, abs(std / c - 1)


@every
def test_forward_sde_has_the_marginal_on_its_way_and_lands_on_the_prior(name):
  mean, std = _forward(name)
  for at in (0.25, 0.5, 0.9):
    assert max(_errors(name, mean, std, at)) < 0.015
  scale = np.sqrt(oracles.BRIDGES[name].sigma2(_end(name)))
  assert abs(mean[-1] - PRIOR) < 0.005 * max(scale, 1)
  assert std[-1] < 0.03 * scale


def _end(name):
  return np.asarray(oracles.BRIDGES[name].schedule.T)


@every
def test_forward_sde_with_the_sign_of_the_printed_h_flies_from_the_prior(name):
  """FrameBridge Eq. 15 forgets the inner derivative's minus."""
  mean, std = _forward(name, sign=-1)
  assert not abs(mean[-1] - PRIOR) < 1
  if name == 'bridge_gmax':
    assert min(_errors(name, mean, std, 0.5)) > 0.3


@pytest.mark.parametrize(
  'name', [n for n, c in oracles.BRIDGES.items() if c.alpha(_end(n)) < 1]
)
def test_forward_sde_without_the_factor_of_h_misses_the_marginal(name):
  """FrameBridge Eq. 15 lacks r = alpha_T / alpha_t."""
  mean, std = _forward(name, factor=False)
  assert not max(_errors(name, mean, std, 0.5)) < 0.1


@pytest.mark.parametrize('name', ['bridge_gmax', 'fading'])
def test_random_paths_of_the_forward_sde_have_the_marginal(name):
  """30 000 paths: 1.5 % is three standard errors."""
  closed, paths, steps = oracles.BRIDGES[name], 30_000, 800
  process = bridge.Bridge(schedule=closed.schedule)
  T = closed.schedule.T
  dt = T / steps

  def step(z, x):
    key, t = x
    t = jnp.full((1, 1), t)
    drift = sde.forward_drift(process, z, t, jnp.full_like(z, PRIOR))
    noise = jax.random.normal(key, z.shape, jnp.float32).astype(z.dtype)
    spread = _like(jnp.sqrt(closed.schedule.g2(t) * dt), z)
    z = z + drift * dt + spread * noise
    return z, (jnp.mean(z), jnp.std(z))

  keys = jax.random.split(jax.random.key(3), steps)
  start = jnp.full((1, 1, paths, 1, 1), DATA_MEAN)
  times = dt * jnp.arange(steps, dtype=jnp.float64)
  run = jax.jit(lambda: jax.lax.scan(step, start, (keys, times))[1])
  mean, std = (np.asarray(x) for x in run())
  k, T = steps // 2 - 1, np.asarray(T)
  a, b, c = closed.marginal(T / 2, T)
  assert abs(mean[k] - (a * DATA_MEAN + b * PRIOR)) < 0.015 * c
  assert abs(std[k] / c - 1) < 0.015
  scale = np.sqrt(closed.sigma2(T))
  assert abs(mean[-1] - PRIOR) < 0.015 * scale
  assert std[-1] < 0.09 * scale


def _answer(a, b, c, z):
  """E[z0 | z] of Gaussian data under a marginal."""
  seen = a * a * DATA_STD**2 + c * c
  away = z - _like(a * DATA_MEAN + b * PRIOR, z)
  return DATA_MEAN + _like(a * DATA_STD**2 / seen, z) * away


@functools.cache
def _backward(kind):
  """Errors of mean and std at 0.1 T from the true moments at 0.9 T.

  Of the reverse SDE, the probability flow, and FVDM's Eq. 10.
  """
  process, closed = case = cases.CASES[kind]

  def by(fn):
    def drift(z, t):
      x0_hat = _answer(*process.marginal(t), z)
      return fn(process, z, t, x0_hat, jnp.full_like(z, PRIOR))

    return drift

  def printed(process, z, t, x0_hat, prior):
    half = sde.score(process, z, t, x0_hat, prior) / 2
    reverse = sde.reverse_drift(process, z, t, x0_hat, prior)
    return reverse + _like(process.schedule.g2(t), z) * half

  drifts = [(by(sde.reverse_drift), 1), (by(sde.flow), 0), (by(printed), 1)]
  times = np.linspace(0.9, 0.1, STEPS // 2 + 1) * case.T
  ends = []
  for t in times[[0, -1]]:
    a, b, c = case.marginal(t)
    ends.append((a * DATA_MEAN + b * PRIOR, a * a * DATA_STD**2 + c * c))
  path = _follow(drifts, times, closed.g2, *ends[0])
  (mean, variance), (m, v) = (x[-1] for x in path), ends[1]
  return np.abs(mean - m) / np.sqrt(v), np.abs(np.sqrt(variance / v) - 1)


@each
def test_reverse_sde_keeps_the_marginal(kind):
  mean, std = _backward(kind)
  assert mean[0] < 0.01
  assert std[0] < 0.01


@each
def test_probability_flow_keeps_the_marginal_without_noise(kind):
  mean, std = _backward(kind)
  assert mean[1] < 0.01
  assert std[1] < 0.01


@each
def test_reverse_sde_with_fvdm_equation_10_s_half_loses_the_marginal(kind):
  """The half belongs to the flow, which has no noise."""
  mean, std = _backward(kind)
  assert not max(mean[2], std[2]) < 0.04
