"""A teacher's knowledge on a bridge: exact answers stay exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oracles
import teachers
import toys
from framebridge_jax import arrays, denoiser
from framebridge_jax.processes import diffusion, predictions
from framebridge_jax.samplers import heun, loop

T = np.array([[0.0, 0.3, 0.7, 0.95], [0.5, 0.5, 0.05, 0.9]])
MEAN = np.array([0.5, -1.0, 0.2, 0.8])
COV = 0.7 * 0.8 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))


def _posterior_mean(y, a, c):
  """E[z0 | y = a z0 + c eps] of frames N(MEAN, COV), pixel by pixel."""
  y, flat = np.asarray(y), (*a.shape, -1)
  signal = a[..., None] * COV
  seen = signal * a[:, None] + np.eye(4) * c[..., None] ** 2
  away = y.reshape(flat) - (a * MEAN)[..., None]
  gain = np.swapaxes(np.linalg.solve(seen, signal), 1, 2)
  return (MEAN[:, None] + gain @ away).reshape(y.shape)


def _target(prediction, z, x0, alpha, sigma):
  """What the networks of the literature are trained to say."""
  eps = (z - alpha * x0) / np.where(sigma > 0, sigma, 1.0)
  out = 0.5 * sigma / np.sqrt(sigma**2 + 0.25)
  return {
    'eps': eps,
    'v': alpha * eps - sigma * x0,
    'flow': eps - x0,
    'edm': (x0 - 0.25 / (sigma**2 + 0.25) * z) / np.where(out > 0, out, 1.0),
  }[prediction]


def _exact(teacher):
  """The best network of Gaussian videos; EDM's is fed c_in z."""

  def says(z, t):
    alpha, sigma = teacher.alpha(t), teacher.sigma(t)
    if teacher.prediction == 'edm':
      z = z * teachers.line_up(np.sqrt(sigma**2 + 0.25))
    x0 = _posterior_mean(z, alpha, sigma)
    alpha, sigma = teachers.line_up(alpha), teachers.line_up(sigma)
    return _target(teacher.prediction, z, x0, alpha, sigma)

  return teachers.Answers(says)


def _error_of_the_aligned(teacher, bridge_name, t=T):
  """Against the exact denoiser of the bridge, whose prior tells nothing."""
  model = teachers.align(teacher, _exact(teacher), bridge_name)
  zt, _, _, prior = teachers.bridge_latents(bridge_name, t)
  a, b, c = teachers.marginal(bridge_name, t)
  got = model({}, zt, jnp.asarray(t), toys.given(prior)).x0
  want = _posterior_mean(zt - teachers.line_up(b) * prior, a, c)
  want = np.where(teachers.line_up(t) == 0, zt, want)
  return np.abs(got - want).max()


@pytest.mark.parametrize('bridge_name', teachers.BRIDGES)
@pytest.mark.parametrize('name', teachers.CONTINUOUS)
def test_an_exact_teacher_aligned_is_the_exact_bridge_denoiser(
  name, bridge_name
):
  """FrameBridge Proposition 2, per frame, a known frame among them."""
  teacher = teachers.TEACHERS[name]
  assert _error_of_the_aligned(teacher, bridge_name) < 1e-9


@pytest.mark.parametrize('name', teachers.TABLES)
def test_an_exact_table_aligned_is_exact_at_its_entries(name):
  teacher = teachers.TEACHERS[name]
  at = np.array([[0, 99, 500, 998], [300, 40, 700, 2]])
  bars = np.square(teacher.alpha((at + 1) / 1000))
  t = teachers.time_of('vp', bars / (1 - bars))
  assert _error_of_the_aligned(teacher, 'vp', t) < 1e-7


@pytest.mark.parametrize('name', teachers.TABLES)
def test_an_exact_table_aligned_is_close_between_its_entries(name):
  """Linear in SNR (FrameBridge D.3.1) where the table is linear in its log."""
  t = np.array([[0.0, 0.2, 0.35, 0.5], [0.45, 0.1, 0.05, 0.55]])
  teacher = teachers.TEACHERS[name]
  assert 1e-5 < _error_of_the_aligned(teacher, 'bridge_gmax', t) < 6e-3


def test_an_edm_teacher_errs_where_a_bridge_is_noisier_than_it_ever_was():
  short = teachers.edm('edm', 80.0)
  assert 1e-3 < _error_of_the_aligned(short, 'vp') < 5e-3
  assert _error_of_the_aligned(short, 'bridge_gmax') < 1e-9


# Times of each teacher at entries of its table and in its range of SNR.
OWN = np.array([[0.004, 0.1, 0.25, 0.4], [0.55, 0.6, 0.7, 0.8]])


@teachers.pairs
def test_at_initialisation_a_teacher_says_what_it_says_on_its_own_inputs(
  name, bridge_name
):
  """The bridge latent is k z~ + b prior for the teacher's own z~ and t~.

  With prediction x0 the answer is the raw output itself.
  """
  teacher = teachers.TEACHERS[name]
  own = OWN * (5.0 if name.startswith('edm') else 1.0)
  alpha, sigma = teacher.alpha(own), teacher.sigma(own)
  t = teachers.time_of(bridge_name, (alpha / sigma) ** 2)
  _, b, c = teachers.marginal(bridge_name, t)
  shown, prior = teachers.draw(2)
  zt = teachers.line_up(c / sigma) * shown + teachers.line_up(b) * prior
  network = teachers.Answers(teachers.bend)
  for prediction in ('x0', teacher.prediction):
    plain = teacher.make(network, prediction)
    aligned = denoiser.align(plain, teachers.BRIDGES[bridge_name])
    want = plain({}, shown, jnp.asarray(own), toys.given(prior)).x0
    got = aligned({}, zt, jnp.asarray(t), toys.given(prior)).x0
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', ['vp/eps', 'edm/edm', 'flow/v', 'linear/v'])
def test_an_aligned_teacher_samples_its_videos_from_T(name):
  """Affine in all noises, the one that it is shown at T too: exact moments.

  What is left of the covariance's error is that of 50 steps.
  """
  steps, prior = 50, jnp.array([0.7, 0.7, 0.2, -1.0]).reshape(1, 4, 1, 1, 1)
  model = teachers.align(
    teachers.TEACHERS[name], _gaussian(teachers.TEACHERS[name]), 'bridge_gmax'
  )
  times = jnp.asarray(
    np.linspace(1.0, 0.0, steps + 1)[:, None, None] * np.ones(4)
  )

  def sample(noise):
    noise = noise.reshape(steps + 1, 1, 4, 1, 1, 1)
    given = denoiser.Given(prior=prior, cond=None, noise=noise[-1])
    return loop.run(
      heun.Heun(),
      model.process,
      model.bind({}, given),
      prior,
      times,
      prior=prior,
      noise=lambda k: noise[k],
    ).ravel()

  mean, cov = jax.jit(
    lambda: oracles.affine_moments(sample, jnp.zeros((steps + 1, 4)))
  )()
  np.testing.assert_allclose(mean, MEAN, atol=2e-3)
  np.testing.assert_allclose(cov, COV, atol=0.02)


def _gaussian(teacher):
  """As `_exact`, in jax: the schedule's own forms are held elsewhere."""
  process = diffusion.Diffusion(schedule=teacher.schedule)
  nothing = jnp.zeros((1, 1, 1, 1, 1))
  exact = oracles.gaussian_denoiser(process, MEAN, COV, nothing)
  row = predictions.PREDICTIONS[teacher.prediction]

  def says(z, t):
    skip, out, scale = (
      teachers.line_up(x)
      for x in row(teacher.schedule.alpha(t), teacher.schedule.sigma(t))
    )
    z = z / scale
    return arrays.safe_divide(exact(z, t).x0 - skip * z, out)

  return teachers.Answers(says)
