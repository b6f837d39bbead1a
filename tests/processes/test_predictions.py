"""Every row of PREDICTIONS, against the definition of its target."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oracles
from framebridge_jax.processes import bridge, predictions

# What the network should have said: (z, z0, alpha, sigma) -> raw.
TARGETS = {
  'x0': lambda z, z0, alpha, sigma: z0,
  'psi': lambda z, z0, alpha, sigma: (z - alpha * z0) / sigma,
  'eps': lambda z, z0, alpha, sigma: (z - alpha * z0) / sigma,
}
every = pytest.mark.parametrize('name', predictions.PREDICTIONS)
ALPHA = np.array([[0.9, 0.4, 1.0], [0.05, 0.7, 1.0]])
SIGMA = np.array([[0.2, 1.3, 5.0], [0.99, 0.71, 0.01]])
Z = np.array([[1.0, -0.3, 2.0], [0.4, -1.0, 0.6]])
Z0 = np.array([[0.7, 0.2, -1.5], [0.3, -2.0, 0.61]])


def _terms(name):
  prediction = predictions.PREDICTIONS[name]
  return prediction(jnp.asarray(ALPHA), jnp.asarray(SIGMA))


def test_every_prediction_of_the_table_has_a_target_here():
  assert set(TARGETS) == set(predictions.PREDICTIONS)


@every
def test_the_exact_raw_gives_the_exact_answer(name):
  skip, out, _ = _terms(name)
  raw = TARGETS[name](Z, Z0, ALPHA, SIGMA)
  np.testing.assert_allclose(skip * Z + out * raw, Z0, rtol=1e-12, atol=1e-12)


@every
def test_error_over_out_squared_is_the_error_of_the_own_target(name):
  """Weight 1 on psi, FrameBridge Eq. 6, without a division by sigma."""
  skip, out, _ = _terms(name)
  raw = np.array([[0.3, -0.8, 1.7], [0.0, 2.0, -0.6]])
  want = (raw - TARGETS[name](Z, Z0, ALPHA, SIGMA)) ** 2
  got = (skip * Z + out * raw - Z0) ** 2 / out**2
  np.testing.assert_allclose(got, want, rtol=1e-9)


@every
def test_the_network_is_fed_the_latent_as_it_is(name):
  np.testing.assert_array_equal(_terms(name).scale, np.ones_like(ALPHA))


@every
def test_gradients_are_finite_at_the_ends(name):
  closed = oracles.CLOSED['bridge_gmax'].schedule
  t = jnp.array([[0.0, 1e-6, 0.5, 1.0]], jnp.float32)

  def answer(t, z, raw):
    skip, out, scale = predictions.PREDICTIONS[name](
      closed.alpha(t), closed.sigma(t)
    )
    return jnp.sum((skip * z + out * raw) ** 2 + scale)

  args = t, jnp.ones_like(t), jnp.full_like(t, 0.3)
  for grad in jax.jit(jax.grad(answer, (0, 1, 2)))(*args):
    assert np.isfinite(grad).all()


@pytest.mark.parametrize('name', oracles.CLOSED)
def test_psi_answer_gives_the_score_of_framebridge_equation_16(name):
  """-(zt - a x0_hat - b zT) / c^2, from any psi, as the paper prints it."""
  closed = oracles.CLOSED[name]
  t = np.array([[0.2, 0.5, 0.9]]) * closed.schedule.T
  end = np.full_like(t, closed.schedule.T)
  zt, prior, psi = Z[:1], Z0[:1], np.array([[0.3, -0.8, 1.7]])
  schedule = closed.schedule
  a, b, c = bridge.Bridge(schedule=schedule).marginal(jnp.asarray(t))
  skip, out, _ = predictions.PREDICTIONS['psi'](
    schedule.alpha(jnp.asarray(t)), schedule.sigma(jnp.asarray(t))
  )
  score = -(zt - a * (skip * zt + out * psi) - b * prior) / c**2

  def snr(t):
    return closed.alpha(t) ** 2 / closed.sigma2(t)

  ratio = snr(end) / snr(t)
  pull = zt - closed.alpha(t) / closed.alpha(end) * prior
  want = -psi / np.sqrt(closed.sigma2(t))
  want = want - ratio * pull / (closed.sigma2(t) * (1 - ratio))
  np.testing.assert_allclose(score, want, rtol=1e-7)
