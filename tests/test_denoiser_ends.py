"""What an answer is worth, and that it is finite, to both ends of time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import noised
import toys
from framebridge_jax import denoiser
from framebridge_jax.processes import predictions

every_prediction = pytest.mark.parametrize(
  'prediction', predictions.PREDICTIONS
)


# (view, prediction, process) -> whether check.py allows them together.
ALLOWED = [
  *[
    ('plain', prediction, process)
    for prediction in predictions.PREDICTIONS
    for process in ('bridge', 'vp', 'edm', 'flow', 'zero_terminal')
  ],
  *[
    ('residual', prediction, 'bridge')
    for prediction in predictions.PREDICTIONS
    if prediction not in ('eps', 'psi')
  ],
  *[('aligned', prediction, 'bridge') for prediction in ('eps', 'v', 'flow')],
]


@pytest.mark.parametrize(('view', 'prediction', 'process'), ALLOWED)
def test_answers_and_gradients_are_finite_at_both_ends_of_time(
  view, prediction, process
):
  """At t = 0, at the least numbers above it, at T and just below."""
  if view == 'aligned':
    teacher = noised.make_denoiser(
      toys.Bent(), 'plain', prediction, noised.DIFFUSIONS['zero_terminal']
    )
    model = denoiser.align(teacher, noised.BRIDGE)
  else:
    on = noised.BRIDGE if process == 'bridge' else noised.DIFFUSIONS[process]
    model = noised.make_denoiser(toys.Bent(), view, prediction, on)
  ends = [[0.0, 1e-30, 1e-12, 1e-6], [1.0, 1 - 2**-24, 1e-3, 0.0]]
  t = jnp.asarray(ends, jnp.float32) * model.process.schedule.T
  variables = toys.BENT

  @tiny.quick_jit
  @functools.partial(jax.value_and_grad, argnums=(0, 1, 2, 3), has_aux=True)
  def total(variables, zt, t, prior):
    given = toys.given(prior, noise=noised.draw(2))
    answer = model(variables, zt, t, given).x0
    return jnp.sum(jnp.tanh(answer)), answer

  (_, answer), grads = total(variables, noised.draw(0), t, noised.draw(1))
  assert np.isfinite(answer).all()
  for leaf in jax.tree.leaves(grads):
    assert np.isfinite(leaf).all()


@pytest.mark.parametrize('name', ['vp', 'edm', 'flow', 'table'])
@every_prediction
def test_the_weight_turns_errors_of_z0_into_those_of_the_own_target(
  name, prediction
):
  """By the targets' definitions, without the code's own skip and out."""
  z0, eps, wrong = (np.asarray(noised.draw(i), np.float64) for i in range(3))
  process = noised.DIFFUSIONS[name]
  t = noised.times(process.schedule.T)
  alpha, sigma = (
    noised.line_up(fn(t))
    for fn in (process.schedule.alpha, process.schedule.sigma)
  )
  z = alpha * z0 + sigma * eps
  # Of the same z, another z0 means another eps.
  other = noised.TARGETS[prediction](
    wrong, (z - alpha * wrong) / sigma, alpha, sigma
  )
  error = other - noised.TARGETS[prediction](z0, eps, alpha, sigma)
  want = error**2 / (wrong - z0) ** 2
  got = noised.make_denoiser(
    toys.Constant(), 'plain', prediction, process
  ).weight(t)
  np.testing.assert_allclose(
    np.broadcast_to(noised.line_up(got), noised.SHAPE), want, 2e-4
  )


def test_the_weight_of_an_aligned_v_is_in_what_the_latent_holds():
  """v's error is (a~^2 + c~^2) / c~ times that of z0, with a/k and c/k."""
  teacher = noised.make_denoiser(
    toys.Constant(), 'plain', 'v', noised.DIFFUSIONS['table']
  )
  t = noised.times()
  time = np.asarray(t, np.float64)
  sigma2 = 0.01 * time + 49.99 * time**2 / 2
  a, c2 = 1 - sigma2 / 25.005, sigma2 * (1 - sigma2 / 25.005)
  got = denoiser.align(teacher, noised.BRIDGE).weight(t)
  np.testing.assert_allclose(got, 1 + a**2 / c2, rtol=1e-4)


# prediction -> the diffusions at whose T it says nothing about z0.
DEAF = {'eps': {'flow', 'cosine', 'zero_terminal'}}
DEAF['psi'] = DEAF['eps']


@pytest.mark.parametrize('name', noised.DIFFUSIONS)
@every_prediction
def test_only_noise_says_nothing_where_no_signal_is_left(name, prediction):
  process = noised.DIFFUSIONS[name]
  model = noised.make_denoiser(toys.Constant(), 'plain', prediction, process)
  t = jnp.asarray([[0.1, 0.9, 1.0]], jnp.float32) * process.schedule.T
  deaf = name in DEAF.get(prediction, ())
  np.testing.assert_array_equal(model.hears(t), [[True, True, not deaf]])
  if deaf:
    np.testing.assert_array_equal(model.weight(t)[0, 2], 0.0)


@pytest.mark.parametrize(
  ('view', 'prediction', 'hears'),
  [
    ('plain', 'psi', True),
    ('residual', 'x0', True),
    ('residual', 'v', True),
    ('residual', 'eps', False),
  ],
)
def test_what_is_heard_at_T_of_a_bridge(view, prediction, hears):
  model = noised.make_denoiser(toys.Constant(), view, prediction)
  assert model.hears(jnp.ones((1, 1))).item() == hears


@pytest.mark.parametrize(
  ('name', 'hears'), [('table', True), ('zero_terminal', False)]
)
def test_an_eps_teacher_is_heard_at_T_if_its_last_noise_holds_signal(
  name, hears
):
  teacher = noised.make_denoiser(
    toys.Constant(), 'plain', 'eps', noised.DIFFUSIONS[name]
  )
  model = denoiser.align(teacher, noised.BRIDGE)
  assert model.hears(jnp.ones((1, 1))).item() == hears
