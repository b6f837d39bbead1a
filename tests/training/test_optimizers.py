"""AdamW, clipping and learning rates against their closed forms."""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
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
  optimizer = optimizers.make(recipe)
  state, updates = optimizer.init(params), []
  with jax.numpy_dtype_promotion('standard'):
    for grad in grads:
      update, state = optimizer.update(grad, state, params)
      updates.append(update)
  return updates


def test_constant_warms_up_to_its_peak_and_stays():
  rate = optimizers.make_learning_rate(_recipe(warmup_steps=WARMUP))
  got = [float(rate(k)) for k in (0, 1, 2, 4, 5, 1000)]
  want = [0, PEAK / 4, PEAK / 2, PEAK, PEAK, PEAK]
  assert got == pytest.approx(want, rel=1e-6)


def test_cosine_warms_up_and_falls_to_a_fiftieth_at_the_last_step():
  rate = optimizers.make_learning_rate(
    _recipe(schedule='cosine', warmup_steps=WARMUP)
  )
  for k in range(STEPS + 5):
    if k < WARMUP:
      want = PEAK * k / WARMUP
    else:
      done = min((k - WARMUP) / (STEPS - WARMUP), 1)
      want = PEAK * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)
    assert float(rate(k)) == pytest.approx(want, rel=1e-5, abs=1e-9), k


def test_cosine_of_a_run_shorter_than_its_warm_up_is_a_warm_up():
  rate = optimizers.make_learning_rate(
    _recipe(schedule='cosine', warmup_steps=8, num_steps=3)
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


def _frozen_params():
  """Beside a bridge's own parameters, F's; some names are near misses."""
  draw = np.random.default_rng(0).normal
  return {
    'params': {
      'prior_head': {'kernel': jnp.asarray(draw(size=(2, 3)), jnp.float32)},
      'out': {'bias': jnp.ones(3)},
    },
    'prior': {'out': {'kernel': jnp.full((3, 2), 5.0), 'bias': jnp.ones(2)}},
  }


def _walk(recipe, grads, steps=3):
  """Parameters after some steps, and the optimizer's last state."""
  optimizer, params = optimizers.make(recipe), _frozen_params()
  state = optimizer.init(params)
  with jax.numpy_dtype_promotion('standard'):
    for _ in range(steps):
      updates, state = optimizer.update(grads, state, params)
      params = optax.apply_updates(params, updates)
  return params, state


def test_frozen_parameters_stay_to_the_bit_in_spite_of_gradient_and_decay():
  """Without a pattern, all of them move: both are strong enough."""
  grads = jax.tree.map(lambda x: jnp.full_like(x, 0.3), _frozen_params())
  recipe = _recipe(weight_decay=0.5)
  before = _frozen_params()
  frozen, _ = _walk(dataclasses.replace(recipe, freeze='^prior/'), grads)
  free, _ = _walk(recipe, grads)
  jax.tree.map(np.testing.assert_array_equal, frozen['prior'], before['prior'])
  moved = jax.tree.map(lambda x, y: np.abs(x - y).min() > 1e-3, free, before)
  assert all(jax.tree.leaves(moved))
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6),
    frozen['params'],
    free['params'],
  )


def test_frozen_parameters_have_no_state_of_the_optimizer():
  """Adam keeps two moments of what it moves, and nothing else of an array."""
  grads = _frozen_params()
  _, state = _walk(_recipe(freeze='^prior/'), grads, steps=1)
  shapes = [x.shape for x in jax.tree.leaves(state) if x.ndim]
  assert sorted(shapes) == [(2, 3), (2, 3), (3,), (3,)]


def test_the_norm_that_is_clipped_is_that_of_what_is_trained():
  """A frozen part's gradient has no say in the others' step."""
  grads = jax.tree.map(jnp.ones_like, _frozen_params())
  loud = {**grads, 'prior': jax.tree.map(lambda x: 1e6 * x, grads['prior'])}
  recipe = _recipe(freeze='^prior/', clip_norm=1e-7)
  quiet_walk, loud_walk = (_walk(recipe, g)[0] for g in (grads, loud))
  jax.tree.map(np.testing.assert_array_equal, quiet_walk, loud_walk)


def test_a_pattern_is_searched_in_the_whole_name_of_a_parameter():
  grads = jax.tree.map(jnp.ones_like, _frozen_params())
  before = _frozen_params()
  after, _ = _walk(_recipe(freeze='out/bias$'), grads)
  same = jax.tree.map(lambda x, y: bool((x == y).all()), after, before)
  assert same == {
    'params': {'prior_head': {'kernel': False}, 'out': {'bias': True}},
    'prior': {'out': {'kernel': False, 'bias': True}},
  }


@pytest.mark.parametrize('freeze', ['^prior/', 'out/bias$', 'kernel$'])
def test_a_boxed_tree_freezes_what_its_unboxed_one_does(freeze):
  """A state is born with logical axis names around its matrices."""
  params = _frozen_params()
  boxed = jax.tree.map(
    lambda x: nn.LogicallyPartitioned(x, ('embed', 'mlp')) if x.ndim > 1 else x,
    params,
  )
  optimizer = optimizers.make(_recipe(freeze=freeze))
  states = [nn.unbox(optimizer.init(x)) for x in (boxed, params)]
  jax.tree.map(np.testing.assert_array_equal, *states)


def test_cosine_with_restarts_warms_up_and_falls_in_every_cycle():
  """Two cycles of 10 steps, the second of half the height."""
  rate = optimizers.make_learning_rate(
    _recipe(
      schedule='cosine_restarts:cycles=2,shrink=0.5,end=0.1',
      warmup_steps=WARMUP,
    )
  )
  for k in range(STEPS):
    cycle, place = divmod(k, STEPS // 2)
    peak, end = PEAK * 0.5**cycle, 0.1 * PEAK
    if place < WARMUP:
      want = peak * place / WARMUP
    else:
      done = (place - WARMUP) / (STEPS // 2 - WARMUP)
      want = end + (peak - end) * (1 + math.cos(math.pi * done)) / 2
    assert float(rate(k)) == pytest.approx(want, rel=1e-5, abs=1e-9), k
  assert float(rate(STEPS + 5)) == pytest.approx(0.1 * PEAK, rel=1e-5)


@pytest.mark.parametrize(
  ('options', 'warmup', 'words'),
  [
    ('cycles=5', WARMUP, '5 cycles of 20 steps are 4 steps each'),
    ('cycles=0', 0, '0 cycles'),
    ('cycle=3', 0, "'cycle' is unknown"),
  ],
)
def test_cycles_without_room_are_refused(options, warmup, words):
  recipe = _recipe(schedule=f'cosine_restarts:{options}', warmup_steps=warmup)
  with pytest.raises(ValueError, match=words):
    optimizers.make_learning_rate(recipe)


def test_gradients_are_clipped_from_a_step_on():
  """What was not clipped drowns the next gradient in both moments."""
  steep = {'w': jnp.full((2, 2), 300.0)}
  small = {'w': jnp.full((2, 2), 0.4)}
  grads = [steep, small]
  at_once, later, never = (
    _updates(_recipe(**changes), {'w': jnp.ones((2, 2))}, grads)[-1]['w']
    for changes in (
      {'clip_norm': 1.0},
      {'clip_norm': 1.0, 'clip_from': 1},
      {'clip_norm': 1e9},
    )
  )
  np.testing.assert_array_equal(later, never)
  assert np.abs(at_once - never).max() > 0.1 * np.abs(never).max()
  late = _updates(
    _recipe(clip_norm=1.0, clip_from=1),
    {'w': jnp.ones((2, 2))},
    [small, steep],
  )[-1]['w']
  clipped = _updates(
    _recipe(clip_norm=1.0), {'w': jnp.ones((2, 2))}, [small, steep]
  )[-1]['w']
  np.testing.assert_allclose(late, clipped, rtol=1e-6)


def test_a_bfloat16_first_moment_is_adam_s_rounded_and_the_second_stays():
  """bfloat16 has 8 bits: a step's rounding is at most 2^-8 of the moment."""
  rng = np.random.default_rng(0)
  params = {'w': jnp.ones((8, 8))}
  grads = [
    {'w': jnp.asarray(rng.normal(size=(8, 8)), jnp.float32)} for _ in range(5)
  ]
  exact, rounded = (
    _updates(_recipe(moments=moments), params, grads)
    for moments in ('float32', 'bfloat16')
  )
  assert not np.array_equal(exact[-1]['w'], rounded[-1]['w'])
  size = np.abs(exact[-1]['w']).max()
  np.testing.assert_allclose(
    rounded[-1]['w'], exact[-1]['w'], atol=5 * 2**-8 * size
  )
  state = optimizers.make(_recipe(moments='bfloat16')).init(params)
  kinds = sorted(str(x.dtype) for x in jax.tree.leaves(state) if x.ndim)
  assert kinds == ['bfloat16', 'float32']


def _block_params():
  """A block's matrix and bias, one of another layer, and a stack of blocks."""
  rng = np.random.default_rng(0)
  shapes = {
    'spatial_0': {'kernel': (4, 8), 'bias': (8,)},
    'patches': {'kernel': (4, 8)},
    'pairs': {'temporal_': {'kernel': (2, 4, 8)}},
  }
  return jax.tree.map(
    lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32),
    shapes,
    is_leaf=lambda x: isinstance(x, tuple),
  )


def test_muon_gives_every_direction_of_a_block_s_matrix_one_pace():
  """Jordan et al. 2024: an update near an orthogonal matrix, times the rate.

  Newton and Schulz's five steps leave singular values between 0.7 and 1.2; a
  matrix that widens is scaled by the root of how much.
  """
  recipe = _recipe(name='muon:rate=0.1', learning_rate=0.003)
  params = _block_params()
  (update,) = _updates(recipe, params, [_block_params()])
  values = np.linalg.svd(update['spatial_0']['kernel'], compute_uv=False)
  pace = values / (0.1 * np.sqrt(8 / 4))
  assert pace.min() > 0.65
  assert pace.max() < 1.25
  # Down the gradient.
  gradient = _block_params()['spatial_0']['kernel']
  assert np.sum(update['spatial_0']['kernel'] * gradient) < 0


def test_muon_leaves_biases_other_layers_and_stacks_to_adamw():
  params, grads = _block_params(), [_block_params()] * 3
  ours = _updates(_recipe(name='muon', weight_decay=0.1), params, grads)
  theirs = _updates(_recipe(weight_decay=0.1), params, grads)
  for one, other in zip(ours, theirs, strict=True):
    for tree in (one, other):
      tree['spatial_0'].pop('kernel')
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_muon_of_boxed_parameters_has_a_state_that_unboxes():
  """States are born boxed; their parts must go where the parameters go."""
  plain = _block_params()
  boxed = jax.tree.map(
    lambda x: nn.LogicallyPartitioned(x, ('embed', 'mlp', None)[: x.ndim]),
    plain,
  )
  optimizer = optimizers.make(_recipe(name='muon'))
  got = nn.unbox(optimizer.init(boxed))
  want = optimizer.init(plain)
  assert jax.tree.structure(got) == jax.tree.structure(want)


def test_an_unknown_optimizer_is_answered_with_the_known():
  with pytest.raises(ValueError, match='unknown; known: adamw, muon'):
    optimizers.make(_recipe(name='sgd'))
