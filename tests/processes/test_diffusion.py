"""Diffusion is the schedule itself; a prior has no say."""

import jax.numpy as jnp
import numpy as np
import pytest

import oracles
from framebridge_jax.processes import diffusion, sde, table

every = pytest.mark.parametrize('name', oracles.CLOSED)
Z = np.array([0.4, -1.3, 0.2, 2.0]).reshape(1, 4, 1, 1, 1)


def _diffusion(name):
  return diffusion.Diffusion(schedule=oracles.CLOSED[name].schedule)


def test_every_process_of_the_table_keeps_the_protocol():
  schedule = oracles.CLOSED['vp'].schedule
  for make in table.PROCESSES.values():
    assert isinstance(make(schedule=schedule), sde.Process)


@every
def test_marginal_is_signal_and_noise(name):
  closed = oracles.CLOSED[name]
  t = np.array([[0.0, 0.1, 0.6, 1.0]]) * closed.schedule.T
  a, b, c = _diffusion(name).marginal(jnp.asarray(t))
  np.testing.assert_allclose(a, closed.alpha(t), rtol=1e-9)
  np.testing.assert_array_equal(b, np.zeros_like(t))
  np.testing.assert_allclose(c, np.sqrt(closed.sigma2(t)), rtol=1e-9)


@every
def test_perturb_is_the_data_at_zero_and_deaf_to_the_prior(name):
  closed = oracles.CLOSED[name]
  t = np.array([[0.0, 0.1, 0.6, 1.0]]) * closed.schedule.T
  z0, eps = jnp.asarray(Z), jnp.asarray(Z[:, ::-1])
  process = _diffusion(name)
  zt, other = (
    sde.perturb(process, z0, jnp.full_like(z0, x), jnp.asarray(t), eps)
    for x in (0.0, 9.0)
  )
  np.testing.assert_array_equal(zt, other)
  np.testing.assert_array_equal(zt[0, 0], z0[0, 0])
  want = closed.alpha(t) * Z[..., 0, 0, 0]
  want = want + np.sqrt(closed.sigma2(t)) * Z[:, ::-1, 0, 0, 0]
  np.testing.assert_allclose(zt[..., 0, 0, 0], want, rtol=1e-9)


@every
def test_nothing_pulls_towards_a_prior(name):
  t = jnp.array([[0.0, 0.1, 0.6, 1.0]]) * oracles.CLOSED[name].schedule.T
  h = _diffusion(name).h(jnp.asarray(Z), t, jnp.asarray(Z) + 1)
  np.testing.assert_array_equal(h, np.zeros_like(Z))


@pytest.mark.parametrize('name', [n for n in oracles.CLOSED if n != 'fading'])
def test_time_of_an_snr_is_the_schedule_s(name):
  closed = oracles.CLOSED[name]
  t = np.array([[0.1, 0.4567, 0.9]]) * closed.schedule.T
  got = _diffusion(name).time_of_snr(jnp.asarray(closed.snr(t)))
  np.testing.assert_allclose(got, t, rtol=1e-9)
