"""One training step: the same on any mesh, once compiled, averaged as told."""

import contextlib
import fractions

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

import toys
from framebridge_jax.processes import times
from framebridge_jax.training import losses, sharding, state, step

STEPS = 3
ONE = {'data': 1, 'fsdp': 1, 'tensor': 1, 'frames': 1}
MESHES = {
  'data=4': {**ONE, 'data': 4},
  'fsdp=4': {**ONE, 'fsdp': 4},
  'data=2 x tensor=2': {**ONE, 'data': 2, 'tensor': 2},
}
NETWORK = tiny.make_latte(anchor=True)


@contextlib.contextmanager
def _on(sizes):
  devices = jax.devices()[: np.prod(list(sizes.values()))]
  mesh = sharding.make_mesh(sizes, devices)
  with jax.set_mesh(mesh), nn.logical_axis_rules(sharding.RULES):
    yield mesh


def _batch(batch=8, seed=0):
  rng = np.random.default_rng(seed)
  shape = (batch, tiny.FRAMES, tiny.SIZE, tiny.SIZE, 3)
  return {
    'video': rng.integers(0, 256, shape, np.uint8),
    'label': rng.integers(0, tiny.CLASSES, batch, np.int32),
  }


def _train(sizes):
  """Losses and parameters of three steps, and how often they were traced."""
  traces = []
  loss = losses.DenoiserLoss(
    denoiser=tiny.make_denoiser(NETWORK),
    encode=lambda video: video.astype(jnp.float32) / 127.5 - 1,
    conditioning=toys.conditioning(),
    hold_given=True,
    weight=losses.SnrWeight(floor=4.0, most=24.0),
    task_mix=(('first', 0.5), ('first_and_last', 0.5)),
    times=times.Ptss(p_frames=0.3, p_end=0.1),
    label_dropout=0.2,
    null_label=tiny.CLASSES,
  )

  def counted(*args):
    traces.append(1)
    return loss(*args)

  def init(key):
    return NETWORK.init(key, *tiny.make_inputs())

  # The step of plain descent is as exact as the gradient; Adam's is its sign.
  optimizer = optax.sgd(0.001, momentum=0.9)
  with _on(sizes) as mesh:
    made = state.create(
      init, optimizer, jax.random.key(0), mesh, ema_decays=(0.9,)
    )
    made = state.with_params(made, tiny.shaken(made.params))
    step_fn = tiny.quick_jit(
      step.make_step(
        counted, optimizer, ema_decays=(0.9,), key=jax.random.key(1)
      ),
      donate_argnums=0,
    )
    values = []
    for k in range(STEPS):
      batch = sharding.place_batch(_batch(seed=k), mesh)
      made, scalars = step_fn(made, batch, np.int32(k))
      values.append({name: float(x) for name, x in scalars.items()})
  return values, jax.device_get(made), len(traces)


@pytest.fixture(scope='module')
def alone():
  return _train(ONE)


@pytest.mark.parametrize(
  'name',
  [
    pytest.param('data=4', marks=pytest.mark.slow),
    pytest.param('fsdp=4', marks=pytest.mark.slow),
    'data=2 x tensor=2',
  ],
)
def test_any_mesh_takes_the_steps_of_one_device(name, alone):
  want, want_state, _ = alone
  got, got_state, traces = _train(MESHES[name])
  assert traces == 1
  assert [x['loss'] for x in want] != [want[0]['loss']] * STEPS
  for a, b in zip(got, want, strict=True):
    assert a['loss'] == pytest.approx(b['loss'], rel=1e-6)
    assert a['mse'] == pytest.approx(b['mse'], rel=1e-6)
    assert a['grad_norm'] == pytest.approx(b['grad_norm'], rel=1e-5)
  for part in ('params', 'ema'):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
      getattr(got_state, part),
      getattr(want_state, part),
    )


def test_steps_are_traced_once(alone):
  assert alone[2] == 1


def _linear(params, batch, keys):
  """Its gradient is (3, 4) wherever it is taken."""
  return params['w'] @ jnp.array([3.0, 4.0]), {}


def _fresh(params, optimizer, decays=(0.9,)):
  return state.TrainState(
    params=params,
    ema={state.ema_name(x): jax.tree.map(jnp.copy, params) for x in decays},
    opt_state=optimizer.init(params),
    step=jnp.zeros((), jnp.int32),
    skipped=jnp.zeros((), jnp.int32),
    typical_loss=jnp.zeros(()),
  )


def _walk(decays=(0.9,), steps=STEPS):
  optimizer = optax.sgd(1.0)
  now = _fresh({'w': jnp.array([1.0, 2.0])}, optimizer, decays)
  step_fn = jax.jit(
    step.make_step(_linear, optimizer, ema_decays=decays, key=jax.random.key(0))
  )
  for k in range(steps):
    now, scalars = step_fn(now, {'label': jnp.zeros(2, jnp.int32)}, np.int32(k))
  return now, scalars


def test_averages_remember_a_tenth_at_first_and_their_decay_at_last():
  """Decays min(decay, 1/10, 2/11, 3/12), in exact fractions."""
  decays = (0.999, 0.15)
  now, _ = _walk(decays)
  np.testing.assert_allclose(now.params['w'], [-8.0, -10.0], rtol=1e-6)
  assert now.step == STEPS
  for name in decays:
    want = [fractions.Fraction(1), fractions.Fraction(2)]
    for k in range(STEPS):
      decay = min(fractions.Fraction(name), fractions.Fraction(1 + k, 10 + k))
      walked = [1 - 3 * (k + 1), 2 - 4 * (k + 1)]
      want = [
        decay * old + (1 - decay) * new
        for old, new in zip(want, walked, strict=True)
      ]
    got = now.ema[state.ema_name(name)]['w']
    np.testing.assert_allclose(got, [float(x) for x in want], rtol=1e-6)


def test_the_gradient_s_norm_and_the_loss_are_reported():
  _, scalars = _walk(steps=1)
  assert scalars['loss'] == pytest.approx(11.0)
  assert scalars['grad_norm'] == pytest.approx(5.0)


def _drawn(position, batch, step_number=0):
  """The numbers that a step's keys draw for each sample."""

  def loss(params, batch, keys):
    drawn = jax.vmap(jax.random.uniform)(keys)
    return 0.0 * params['w'].sum(), {'drawn': drawn}

  optimizer = optax.sgd(1.0)
  now = _fresh({'w': jnp.ones(2)}, optimizer)
  now = now.replace(step=jnp.asarray(step_number, jnp.int32))
  step_fn = step.make_step(
    loss, optimizer, ema_decays=(0.9,), key=jax.random.key(0)
  )
  labels = {'label': jnp.zeros(batch, jnp.int32)}
  _, scalars = step_fn(now, labels, np.int32(position))
  return np.asarray(scalars['drawn'])


def test_keys_belong_to_the_batch_s_position_and_the_place_in_it():
  at_zero, at_three = _drawn(0, 8), _drawn(3, 8)
  np.testing.assert_array_equal(_drawn(0, 4), at_zero[:4])
  assert len(np.unique(np.concatenate([at_zero, at_three]))) == 16
  np.testing.assert_array_equal(_drawn(3, 8, step_number=5), at_three)


def _tilted(params, batch, keys):
  """Gradient x of a loss w . x + offset, both as the batch says."""
  return params['w'] @ batch['x'] + batch['offset'], {}


def _path(batches, spikes=step.NO_SKIPPING):
  """The state and the scalars after each batch (x, offset)."""
  optimizer = optax.adam(0.1)
  now = _fresh({'w': jnp.array([1.0, 2.0])}, optimizer)
  step_fn = jax.jit(
    step.make_step(
      _tilted,
      optimizer,
      ema_decays=(0.9,),
      key=jax.random.key(0),
      spikes=spikes,
    )
  )
  states, rows = [now], []
  for k, (x, offset) in enumerate(batches):
    batch = {
      'x': jnp.asarray(x, jnp.float32),
      'offset': jnp.float32(offset),
      'label': jnp.zeros(2, jnp.int32),
    }
    now, scalars = step_fn(now, batch, np.int32(k))
    states.append(now)
    rows.append({name: float(value) for name, value in scalars.items()})
  return states, rows


GOOD = [([0.3, -0.1], 4.0), ([0.2, 0.1], 5.0), ([-0.4, 0.3], 6.0)]


@pytest.mark.parametrize(
  'bad',
  [([0.1, 0.1], np.nan), ([np.nan, 0.1], 0.0), ([1e30, 1e30], 0.0)],
  ids=['loss', 'gradient', 'gradient whose norm overflows'],
)
def test_a_step_that_is_not_finite_leaves_the_run_as_if_it_had_not_been(bad):
  """Bit for bit: parameters, moments, averages, counts of updates."""
  (*_, want), _ = _path(GOOD)
  (*_, got), rows = _path([GOOD[0], bad, *GOOD[1:]])
  assert [row['skipped'] for row in rows] == [0, 1, 0, 0]
  assert (got.step, got.skipped) == (4, 1)
  assert (want.step, want.skipped) == (3, 0)
  jax.tree.map(
    np.testing.assert_array_equal,
    got.replace(step=0, skipped=0),
    want.replace(step=0, skipped=0),
  )


def test_a_good_step_does_change_the_state():
  """Beside the test above: without a bad step nothing would be shown."""
  (before, after), _ = _path(GOOD[:1])
  assert np.all(before.params['w'] != after.params['w'])
  assert np.all(before.ema['0.9']['w'] != after.ema['0.9']['w'])


SPIKE = ([0.5, 0.5], 5e4)


@pytest.mark.parametrize('skip', [False, True])
def test_a_spike_is_reported_and_skipped_only_if_it_shall_be(skip):
  """A loss ten thousand times the usual, after three of about 5."""
  spikes = step.Spikes(factor=100.0, skip=skip, patience=3)
  states, rows = _path([*GOOD, SPIKE, GOOD[0]], spikes)
  usual = np.mean([row['loss'] for row in rows[:3]])
  assert rows[3]['spike'] == pytest.approx(rows[3]['loss'] / usual, rel=1e-5)
  assert [row['skipped'] for row in rows] == [0, 0, 0, int(skip), 0]
  same = np.array_equal(states[3].params['w'], states[4].params['w'])
  assert same == skip


def test_before_there_is_a_usual_loss_nothing_is_a_spike():
  spikes = step.Spikes(factor=100.0, skip=True, patience=4)
  _, rows = _path([*GOOD, SPIKE], spikes)
  assert rows[3]['skipped'] == 0


def test_the_usual_loss_forgets():
  """memory=2: each new loss counts one half from the second on."""
  spikes = step.Spikes(memory=2)
  states, rows = _path(GOOD, spikes)
  a, b, c = (row['loss'] for row in rows)
  assert states[-1].typical_loss == pytest.approx((a + b) / 4 + c / 2)


@pytest.mark.parametrize('parts', [2, 4])
def test_accumulated_parts_are_the_whole_batch(parts):
  """Of a loss that is a mean over samples, noise of their keys included."""

  def loss(params, batch, keys):
    noise = jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)
    error = jnp.tanh(batch['x'] * params['w'][None] + noise) - 0.3
    return jnp.mean(error**2), {'size': jnp.mean(jnp.abs(error))}

  optimizer = optax.sgd(1.0)
  rng = np.random.default_rng(0)
  batch = {
    'x': jnp.asarray(rng.normal(size=(8, 2)), jnp.float32),
    'label': jnp.zeros(8, jnp.int32),
  }
  results = []
  for accumulate in (1, parts):
    now = _fresh({'w': jnp.array([1.0, 2.0])}, optimizer)
    step_fn = jax.jit(
      step.make_step(
        loss,
        optimizer,
        ema_decays=(0.9,),
        key=jax.random.key(0),
        accumulate=accumulate,
      )
    )
    results.append(step_fn(now, batch, np.int32(0)))
  (want, want_scalars), (got, got_scalars) = results
  np.testing.assert_allclose(got.params['w'], want.params['w'], rtol=1e-6)
  assert np.abs(want.params['w'] - np.float32([1, 2])).max() > 0.01
  for name in ('loss', 'size', 'grad_norm'):
    want = float(want_scalars[name])
    assert float(got_scalars[name]) == pytest.approx(want, rel=1e-6)
