"""Every row of PREDICTIONS, against the definition of its target."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from framebridge_jax.processes import predictions


def _edm(z, z0, alpha, sigma):
  """Karras et al. 2022, Eq. 7 and 8, for z = alpha (z0 + noise).

  Data of std 0.5 seen through noise of std sigma / alpha.
  """
  noise2 = (sigma / alpha) ** 2
  c_skip = 0.25 / (noise2 + 0.25)
  c_out = sigma / alpha * 0.5 / np.sqrt(noise2 + 0.25)
  return (z0 - c_skip * z / alpha) / c_out


# What the network should have said: (z, z0, alpha, sigma) -> raw.
TARGETS = {
  'x0': lambda z, z0, alpha, sigma: z0,
  'psi': lambda z, z0, alpha, sigma: (z - alpha * z0) / sigma,
  'eps': lambda z, z0, alpha, sigma: (z - alpha * z0) / sigma,
  'v': lambda z, z0, alpha, sigma: (
    alpha * (z - alpha * z0) / sigma - sigma * z0
  ),
  'flow': lambda z, z0, alpha, sigma: (z - alpha * z0) / sigma - z0,
  'edm': _edm,
}
every = pytest.mark.parametrize('name', predictions.PREDICTIONS)
ALPHA = np.array([[0.9, 0.4, 1.0], [0.05, 0.7, 1.0]])
SIGMA = np.array([[0.2, 1.3, 5.0], [0.99, 0.71, 0.01]])
Z = np.array([[1.0, -0.3, 2.0], [0.4, -1.0, 0.6]])
Z0 = np.array([[0.7, 0.2, -1.5], [0.3, -2.0, 0.61]])


def _terms(name, alpha=ALPHA, sigma=SIGMA):
  return predictions.PREDICTIONS[name](jnp.asarray(alpha), jnp.asarray(sigma))


def test_every_prediction_of_the_table_has_a_target_here():
  assert set(TARGETS) == set(predictions.PREDICTIONS)


@every
def test_the_exact_raw_gives_the_exact_answer(name):
  """v and the rest need no unit variance: alpha and sigma are any."""
  skip, out, _ = _terms(name)
  raw = TARGETS[name](Z, Z0, ALPHA, SIGMA)
  np.testing.assert_allclose(skip * Z + out * raw, Z0, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
  ('one', 'other'), list(itertools.permutations(predictions.PREDICTIONS, 2))
)
def test_predictions_agree_through_the_clean_latent(one, other):
  """Whatever `one` says, `other` says the same of the x0_hat it stands for."""
  said = np.array([[0.3, -0.8, 1.7], [0.0, 2.0, -0.6]])
  skip, out, _ = _terms(one)
  x0_hat = np.asarray(skip * Z + out * said)
  raw = TARGETS[other](Z, x0_hat, ALPHA, SIGMA)
  skip, out, _ = _terms(other)
  np.testing.assert_allclose(skip * Z + out * raw, x0_hat, rtol=1e-9, atol=1e-9)
  back = TARGETS[one](Z, np.asarray(skip * Z + out * raw), ALPHA, SIGMA)
  np.testing.assert_allclose(back, said, rtol=1e-9, atol=1e-9)


@every
def test_error_over_out_squared_is_the_error_of_the_own_target(name):
  """Weight 1 on psi, FrameBridge Eq. 6, without a division by sigma."""
  skip, out, _ = _terms(name)
  raw = np.array([[0.3, -0.8, 1.7], [0.0, 2.0, -0.6]])
  want = (raw - TARGETS[name](Z, Z0, ALPHA, SIGMA)) ** 2
  got = (skip * Z + out * raw - Z0) ** 2 / out**2
  np.testing.assert_allclose(got, want, rtol=1e-9)


@pytest.mark.parametrize('name', sorted(set(predictions.PREDICTIONS) - {'edm'}))
def test_the_network_is_fed_the_latent_as_it_is(name):
  np.testing.assert_array_equal(_terms(name).scale, np.ones_like(ALPHA))


def test_edm_is_karras_preconditioning_at_alpha_one():
  """Karras et al. 2022, Table 1, with sigma_data = 0.5."""
  sigma = np.array([[0.0, 0.002, 0.5, 80.0]])
  skip, out, scale = _terms('edm', np.ones_like(sigma), sigma)
  total = sigma**2 + 0.5**2
  np.testing.assert_allclose(skip, 0.5**2 / total, rtol=1e-12)
  np.testing.assert_allclose(out, sigma * 0.5 / np.sqrt(total), rtol=1e-12)
  np.testing.assert_allclose(scale, 1 / np.sqrt(total), rtol=1e-12)


def test_edm_shows_and_asks_for_unit_variance_at_any_alpha():
  """Karras et al. 2022, B.6: of the input and of the target alike."""
  _, _, scale = _terms('edm')
  seen = ALPHA**2 * 0.25 + SIGMA**2
  np.testing.assert_allclose(scale**2 * seen, np.ones_like(ALPHA), rtol=1e-12)
  one = np.ones_like(ALPHA)
  of_data = _edm(ALPHA * one, one, ALPHA, SIGMA)
  of_noise = _edm(SIGMA * one, 0 * one, ALPHA, SIGMA)
  np.testing.assert_allclose(0.25 * of_data**2 + of_noise**2, one, rtol=1e-12)


@every
def test_noise_alone_has_finite_terms_and_eps_says_nothing(name):
  """alpha = 0: only x0, v, the flow and EDM know z0 there."""
  skip, out, scale = _terms(name, np.zeros((1, 1)), np.ones((1, 1)))
  silent = name in ('eps', 'psi')
  np.testing.assert_array_equal(skip, [[1.0 if name == 'flow' else 0.0]])
  want = {'x0': 1.0, 'v': -1.0, 'flow': -1.0, 'edm': 0.5}.get(name, 0.0)
  np.testing.assert_allclose(out, [[want]])
  assert silent == (want == 0)
  assert scale == 1


@every
def test_data_alone_is_the_answer_whatever_is_said(name):
  """sigma = 0: every prediction but x0 itself answers with z / alpha."""
  skip, out, _ = _terms(name, np.full((1, 1), 0.8), np.zeros((1, 1)))
  want = (0.0, 1.0) if name == 'x0' else (1 / 0.8, 0.0)
  np.testing.assert_allclose((skip, out), np.reshape(want, (2, 1, 1)))


@pytest.mark.parametrize('name', sorted(set(predictions.PREDICTIONS) - {'x0'}))
def test_nothing_at_all_reads_zero(name):
  """Neither signal nor noise, as at T of a bridge less its prior."""
  skip, out, _ = _terms(name, np.zeros((1, 1)), np.zeros((1, 1)))
  assert skip == out == 0
