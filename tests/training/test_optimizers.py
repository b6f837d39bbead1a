"""AdamW, clipping and learning rates against their closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from framebridge_jax.training import optimizers

PEAK, WARMUP, STEPS = 0.02, 4, 20


def _recipe(**changes):
  numbers = {
    'learning_rate': PEAK,
    'schedule': 'constant',
    'warmup_steps': 0,
    'num_steps': STEPS,
    'weight_decay': 0.0,
    'b2': 0.99,
    'clip_norm': 1e9,
  }
  return optimizers.Recipe(**{**numbers, **changes})


def _updates(recipe, params, grads):
  """The updates of a sequence of gradients."""
  optimizer = optimizers.adamw(recipe)
  state, updates = optimizer.init(params), []
  with jax.numpy_dtype_promotion('standard'):
    for grad in grads:
      update, state = optimizer.update(grad, state, params)
      updates.append(update)
  return updates


def test_constant_warms_up_to_its_peak_and_stays():
  rate = optimizers.LEARNING_RATES['constant'](_recipe(warmup_steps=WARMUP))
  got = [float(rate(k)) for k in (0, 1, 2, 4, 5, 1000)]
  want = [0, PEAK / 4, PEAK / 2, PEAK, PEAK, PEAK]
  assert got == pytest.approx(want, rel=1e-6)


def test_cosine_warms_up_and_falls_to_a_fiftieth_at_the_last_step():
  rate = optimizers.LEARNING_RATES['cosine'](_recipe(warmup_steps=WARMUP))
  for k in range(STEPS + 5):
    if k < WARMUP:
      want = PEAK * k / WARMUP
    else:
      done = min((k - WARMUP) / (STEPS - WARMUP), 1)
      want = PEAK * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)
    assert float(rate(k)) == pytest.approx(want, rel=1e-5, abs=1e-9), k


def test_cosine_of_a_run_shorter_than_its_warm_up_is_a_warm_up():
  rate = optimizers.LEARNING_RATES['cosine'](
    _recipe(warmup_steps=8, num_steps=3)
  )
  assert float(rate(3)) == pytest.approx(3 / 8 * PEAK, rel=1e-6)


def test_updates_are_adam_s_of_clipped_gradients():
  """Kingma & Ba 2015, Alg. 1 with beta1 = 0.9, after clipping to norm 1.

  The first gradient is a thousand times too long: unclipped it would drown
  the following ones in both moments.
  """
  b2 = 0.8
  steep = np.array([[600.0, 0.0], [0.0, 800.0]])
  grads = [steep, np.array([[0.3, -0.1], [0.2, 0.1]]), np.full((2, 2), -0.05)]
  got = _updates(
    _recipe(b2=b2, clip_norm=1.0),
    {'w': jnp.ones((2, 2))},
    [{'w': jnp.asarray(g, jnp.float32)} for g in grads],
  )
  m = v = np.zeros((2, 2))
  for k, grad in enumerate(grads, start=1):
    grad = grad / max(np.sqrt((grad**2).sum()), 1)
    m, v = 0.9 * m + 0.1 * grad, b2 * v + (1 - b2) * grad**2
    want = -PEAK * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - b2**k)) + 1e-8)
    np.testing.assert_allclose(got[k - 1]['w'], want, rtol=1e-4, atol=1e-9)


def test_decay_is_decoupled_and_spares_vectors():
  """Loshchilov & Hutter 2019: without a gradient, w falls by rate times w."""
  params = {'kernel': jnp.full((2, 3), 5.0), 'bias': jnp.full(3, 5.0)}
  still = jax.tree.map(jnp.zeros_like, params)
  (update,) = _updates(_recipe(weight_decay=0.1), params, [still])
  np.testing.assert_allclose(update['kernel'], -PEAK * 0.1 * 5.0, rtol=1e-6)
  np.testing.assert_array_equal(update['bias'], np.zeros(3))


def test_the_rate_follows_its_schedule_from_the_first_update():
  """A constant gradient moves Adam by exactly the rate: 0 at first."""
  got = _updates(
    _recipe(warmup_steps=WARMUP), {'w': jnp.ones(1)}, [{'w': jnp.ones(1)}] * 3
  )
  rates = [-update['w'][0] for update in got]
  assert rates == pytest.approx([0, PEAK / 4, PEAK / 2], rel=1e-5)
