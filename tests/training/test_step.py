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
    made = state.create(init, optimizer, jax.random.key(0), mesh)
    made = state.with_params(made, tiny.shaken(made.params))
    step_fn = tiny.quick_jit(
      step.make_step(counted, optimizer, ema_decay=0.9, key=jax.random.key(1)),
      donate_argnums=0,
    )
    values = []
    for k in range(STEPS):
      batch = sharding.place_batch(_batch(seed=k), mesh)
      made, scalars = step_fn(made, batch)
      values.append({name: float(x) for name, x in scalars.items()})
  return values, jax.device_get(made), len(traces)


@pytest.fixture(scope='module')
def alone():
  return _train(ONE)


@pytest.mark.parametrize('name', MESHES)
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


def _fresh(params, optimizer):
  return state.TrainState(
    params=params,
    ema=jax.tree.map(jnp.copy, params),
    opt_state=optimizer.init(params),
    step=jnp.zeros((), jnp.int32),
  )


def _walk(ema_decay, steps=STEPS):
  optimizer = optax.sgd(1.0)
  now = _fresh({'w': jnp.array([1.0, 2.0])}, optimizer)
  step_fn = jax.jit(
    step.make_step(
      _linear, optimizer, ema_decay=ema_decay, key=jax.random.key(0)
    )
  )
  for _ in range(steps):
    now, scalars = step_fn(now, {'label': jnp.zeros(2, jnp.int32)})
  return now, scalars


@pytest.mark.parametrize('ema_decay', [0.999, 0.15])
def test_the_average_remembers_a_tenth_at_first_and_ema_decay_at_last(
  ema_decay,
):
  """Decays min(ema_decay, 1/10, 2/11, 3/12), in exact fractions."""
  now, _ = _walk(ema_decay)
  want = [fractions.Fraction(1), fractions.Fraction(2)]
  for k in range(STEPS):
    decay = min(
      fractions.Fraction(ema_decay), fractions.Fraction(1 + k, 10 + k)
    )
    walked = [1 - 3 * (k + 1), 2 - 4 * (k + 1)]
    want = [
      decay * old + (1 - decay) * new
      for old, new in zip(want, walked, strict=True)
    ]
  np.testing.assert_allclose(now.params['w'], [-8.0, -10.0], rtol=1e-6)
  np.testing.assert_allclose(now.ema['w'], [float(x) for x in want], rtol=1e-6)
  assert now.step == STEPS


def test_the_gradient_s_norm_and_the_loss_are_reported():
  _, scalars = _walk(0.9, steps=1)
  assert scalars['loss'] == pytest.approx(11.0)
  assert scalars['grad_norm'] == pytest.approx(5.0)


def _drawn(start, batch):
  """The numbers that a step's keys draw for each sample."""

  def loss(params, batch, keys):
    drawn = jax.vmap(jax.random.uniform)(keys)
    return 0.0 * params['w'].sum(), {'drawn': drawn}

  optimizer = optax.sgd(1.0)
  now = _fresh({'w': jnp.ones(2)}, optimizer)
  now = now.replace(step=jnp.asarray(start, jnp.int32))
  step_fn = step.make_step(
    loss, optimizer, ema_decay=0.9, key=jax.random.key(0)
  )
  _, scalars = step_fn(now, {'label': jnp.zeros(batch, jnp.int32)})
  return np.asarray(scalars['drawn'])


def test_keys_belong_to_the_step_and_the_place_in_the_batch():
  at_zero, at_three = _drawn(0, 8), _drawn(3, 8)
  np.testing.assert_array_equal(_drawn(0, 4), at_zero[:4])
  assert len(np.unique(np.concatenate([at_zero, at_three]))) == 16
  np.testing.assert_array_equal(_drawn(3, 8), at_three)
