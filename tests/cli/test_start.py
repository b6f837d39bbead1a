"""What a run starts from: weights of other runs, changed to its shapes."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from configs import quickstart
from framebridge_jax import build, jobs
from framebridge_jax.cli import starts
from framebridge_jax.models import latte
from framebridge_jax.porting import weights
from framebridge_jax.training import checkpoint, sharding, state

FRAMES, SIZE, CLASSES = 4, 8, 10
NUMBERS = {'patch': 4, 'width': 16, 'depth': 2, 'heads': 2}
F = latte.Latte(**NUMBERS, classes=3, timed=False)


def _config(**changes):
  config = quickstart.get_config()
  with config.unlocked():
    config.model = {'name': 'latte', **NUMBERS, 'classes': CLASSES}
    config.model.prior = True
  config.update_from_flattened_dict(
    {'data.frames': FRAMES, 'data.size': SIZE, 'init_fresh': '', **changes}
  )
  return config


def _neural(path, **changes):
  config = _config(**{'init_from': '', 'prior_from': str(path), **changes})
  with config.unlocked():
    config.prior = config.denoiser.shown = 'neural'
    config.prior_model = {'name': 'latte', **NUMBERS}
    config.prior_model.update({'classes': 3, 'timed': False})
  config.optimizer.freeze = '^prior/'
  return config


def _fresh(config):
  """The state of a run that has not begun."""
  mesh = sharding.make_mesh(dict(config.mesh), jax.devices()[:1])
  return state.create(
    jobs.make_init(config),
    build.make_optimizer(config),
    jax.random.key(0),
    mesh,
    ema_decays=config.ema_decays,
  )


def _inputs():
  """As `tiny.make_inputs`, with classes that all networks here know."""
  z, t, cond = tiny.make_inputs()
  return z, t, cond._replace(label=jnp.array([2, 0], jnp.int32))


def _saved(path, network, seed=0):
  """Parameters of no particular run, in a weight file."""
  make = tiny.quick_jit(lambda key: nn.unbox(network.init(key, *_inputs())))
  params = tiny.shaken(make(jax.random.key(seed)), seed=seed)
  weights.save(path, params, {}, dtype=np.float32, facts={})
  return params


@functools.partial(tiny.quick_jit, static_argnums=0)
def _apply(network, params, *inputs):
  return network.apply({'params': params['params']}, *inputs)


def test_surgery_starts_a_network_that_sees_more_where_the_old_one_was(
  tmp_path,
):
  """No prior and 3 classes there; a prior and 10 classes here: one function."""
  path = tmp_path / 'w.safetensors'
  old = latte.Latte(**NUMBERS, classes=3)
  params = _saved(path, old)
  config = _config(init_from=str(path), init_surgery=True)
  started = starts.start_from(config, _fresh(config))
  network = build.make_network(config.model, config.dtype)
  z, t, cond = _inputs()
  for label, renamed in (([2, 0], [2, 0]), ([3, 3], [CLASSES, 7])):
    was, now = (
      cond._replace(label=jnp.asarray(x, jnp.int32)) for x in (label, renamed)
    )
    want = _apply(old, params, z, t, was)
    assert np.abs(want).max() > 0.1
    for tree in (started.params, *started.ema.values()):
      got = _apply(network, tree, z, t, now)
      np.testing.assert_allclose(got, want, atol=1e-5)


def test_without_surgery_the_same_weights_are_refused(tmp_path):
  path = tmp_path / 'w.safetensors'
  _saved(path, latte.Latte(**NUMBERS, classes=3))
  config = _config(init_from=str(path))
  with pytest.raises(
    ValueError, match='init_from .*w.safetensors: 2 param'
  ) as e:
    starts.start_from(config, _fresh(config))
  for text in ('labels/embedding: model (11, 16)', 'weights (4, 16)'):
    assert text in str(e.value)
  assert 'patches/kernel: model (96, 16), weights (48, 16)' in str(e.value)


@pytest.mark.slow
def test_surgery_takes_no_channels_away(tmp_path):
  path = tmp_path / 'w.safetensors'
  _saved(path, latte.Latte(**NUMBERS, classes=CLASSES, prior=True))
  config = _config(init_from=str(path), init_surgery=True)
  config.model.prior = False
  with pytest.raises(ValueError, match='init_from .*6 channels .* to 3'):
    starts.start_from(config, _fresh(config))


@pytest.mark.slow
def test_surgery_does_not_make_up_what_it_does_not_know(tmp_path):
  path = tmp_path / 'w.safetensors'
  _saved(path, latte.Latte(**{**NUMBERS, 'width': 32}, classes=CLASSES))
  config = _config(init_from=str(path), init_surgery=True)
  with pytest.raises(ValueError, match='init_from .*cannot be widened'):
    starts.start_from(config, _fresh(config))


def test_the_neural_prior_is_that_of_its_file_and_the_bridge_is_fresh(tmp_path):
  path = tmp_path / 'f.safetensors'
  params = _saved(path, F)
  fresh = _fresh(_neural(path))
  before = jax.tree.map(np.asarray, fresh.params['params'])
  started = starts.start_from(_neural(path), fresh)
  for tree in (started.params, *started.ema.values()):
    assert tree.keys() == {'params', 'prior'}
    jax.tree.map(np.testing.assert_array_equal, tree['prior'], params['params'])
    jax.tree.map(np.testing.assert_array_equal, tree['params'], before)


def test_a_bridge_and_its_neural_prior_start_from_two_files(tmp_path):
  own, other = tmp_path / 'w.safetensors', tmp_path / 'f.safetensors'
  want = _saved(own, latte.Latte(**NUMBERS, classes=CLASSES, prior=True), 1)
  prior = _saved(other, F)
  config = _neural(other, init_from=str(own))
  started = starts.start_from(config, _fresh(config))
  for name, tree in (('params', want), ('prior', prior)):
    jax.tree.map(
      np.testing.assert_array_equal, started.params[name], tree['params']
    )


def test_a_neural_prior_of_another_network_is_refused_by_its_key(tmp_path):
  """Surgery is for the network that trains, never for F."""
  path = tmp_path / 'f.safetensors'
  _saved(path, latte.Latte(**NUMBERS, classes=5, timed=False))
  config = _neural(path, init_surgery=True)
  with pytest.raises(ValueError, match='prior_from .*f.safetensors: 1 param'):
    starts.start_from(config, _fresh(config))


def test_a_start_from_nothing_is_the_fresh_state(tmp_path):
  config = _config(init_from='')
  fresh = _fresh(config)

  with checkpoint.Checkpointer(tmp_path) as checkpointer:
    started = starts.start(config, fresh, lambda: fresh, checkpointer)
    assert started.state is fresh


@pytest.mark.slow
def test_a_run_with_a_frozen_prior_goes_on_where_it_was(tmp_path):
  """Its optimizer has holes where nothing is trained."""
  prior = tmp_path / 'f.safetensors'
  _saved(prior, F)
  config = _neural(prior)
  started = starts.start_from(config, _fresh(config))
  started = started.replace(
    step=started.step + 3, opt_state=jax.tree.map(_moved, started.opt_state)
  )
  with checkpoint.Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(started, step=3, data_offset=0, config=config.to_dict())
    checkpointer.wait()
    restored = starts.start(
      config, _fresh(config), lambda: pytest.fail('not wanted'), checkpointer
    ).state
  jax.tree.map(np.testing.assert_array_equal, restored, started)


def _moved(x):
  return x + jnp.ones_like(x)
