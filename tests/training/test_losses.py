"""Losses: closed-form weights, and who has a say in them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import oracles
from framebridge_jax import arrays
from framebridge_jax.processes import bridge, priors, schedules
from framebridge_jax.training import losses

B, F = 8, 4
PROCESS = bridge.Bridge(schedule=schedules.BridgeGmax())
MIX = (('first', 0.6), ('random', 0.4))


class Oracle(nn.Module):
  """Knows the clips: answers with the motion, times a weight."""

  @nn.compact
  def __call__(self, z, t, cond):
    clips = self.param('clips', nn.initializers.zeros_init(), z.shape)
    weight = self.param('weight', nn.initializers.ones_init(), ())
    return weight * (clips - cond.image)


class NanWhereKnown(nn.Module):
  """Answers with its weight, and with NaN for frames at t = 0."""

  @nn.compact
  def __call__(self, z, t, cond):
    weight = self.param('weight', nn.initializers.ones_init(), (1,) * z.ndim)
    known = (t == 0)[:, :, None, None, None]
    return jnp.where(known, jnp.nan, weight * z)


class SaysLabel(nn.Module):
  """Answers with the label that it sees, and no motion."""

  @nn.compact
  def __call__(self, z, t, cond):
    label = cond.label.astype(z.dtype)[:, None, None, None, None]
    return jnp.broadcast_to(label, z.shape)


def _batch(batch=B, seed=0):
  rng = np.random.default_rng(seed)
  shape = (batch, F, tiny.SIZE, tiny.SIZE, 3)
  return {
    'video': jnp.asarray(rng.integers(0, 256, shape), jnp.uint8),
    'label': jnp.asarray(rng.integers(0, tiny.CLASSES, batch), jnp.int32),
  }


def _encode(video):
  return video.astype(jnp.float32) / 127.5 - 1


def _keys(batch=B, seed=0):
  return arrays.sample_keys(jax.random.key(seed), jnp.arange(batch))


def _make(network, **changes):
  numbers = {
    'encode': _encode,
    'prior': priors.replicate,
    'weight': losses.SnrWeight(floor=4.0, most=24.0),
    'task_mix': MIX,
    't_min': 1e-3,
    'p_frames': 0.3,
    'p_end': 0.1,
    'label_dropout': 0.2,
    'null_label': tiny.CLASSES,
  }
  return losses.BridgeLoss(
    denoiser=tiny.make_denoiser(network), **{**numbers, **changes}
  )


def test_snr_weight_is_the_floored_and_capped_signal_to_noise():
  """SNR_t - SNR_T (math.md 6) of the centred latent, from closed forms."""
  exact = oracles.CLOSED['bridge_gmax']
  t = np.array([[1e-4, 0.01, 0.1, 0.3, 0.9, 0.999]])
  snr = 1 / exact.sigma2(t) - 1 / exact.sigma2(np.ones_like(t))
  want = np.minimum(0.5 + snr, 40.0)
  assert len(np.unique(want)) == 5  # two of them capped
  got = losses.SnrWeight(floor=0.5, most=40.0)(PROCESS, jnp.asarray(t, 'f4'))
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_snr_weight_is_the_cap_where_clean_and_the_floor_at_the_end():
  weight = losses.SnrWeight(floor=0.5, most=40.0)
  got = weight(PROCESS, jnp.array([[0.0, 1e-30, 1.0]]))
  np.testing.assert_array_equal(got, [[40.0, 40.0, 0.5]])


def test_an_oracle_has_no_loss_and_half_an_oracle_has():
  batch = _batch()
  clips = _encode(batch['video'])
  params = {'params': {'clips': clips, 'weight': jnp.ones(())}}
  loss = tiny.quick_jit(_make(Oracle()))
  value, scalars = loss(params, batch, _keys())
  assert 0 <= value < 1e-11  # 24 times the square of float32's epsilon
  assert 0 <= scalars['mse'] < 1e-12
  params = {'params': {'clips': clips, 'weight': jnp.asarray(0.5)}}
  assert loss(params, batch, _keys())[0] > 0.1


def test_the_loss_is_the_weighted_mean_over_unknown_pixels():
  """First frame known, all else at T where the weight is the floor."""
  batch = _batch()
  loss = _make(Oracle(), task_mix=(('first', 1.0),), p_end=1.0)
  clips = _encode(batch['video'])
  params = {'params': {'clips': clips, 'weight': jnp.zeros(())}}
  value, scalars = tiny.quick_jit(loss)(params, batch, _keys())
  z0 = np.asarray(clips, np.float64)
  want = np.mean((z0[:, 1:] - z0[:, :1]) ** 2)
  assert scalars['mse'] == pytest.approx(want, rel=1e-5)
  assert value == pytest.approx(4.0 * want, rel=1e-5)


@pytest.mark.parametrize('spoiled', ['network', 'weight'])
def test_nan_at_known_frames_reaches_neither_loss_nor_gradient(spoiled):
  weight = losses.SnrWeight(floor=4.0, most=24.0)

  def broken(process, t):
    return jnp.where(t == 0, jnp.nan, weight(process, t))

  loss = _make(
    NanWhereKnown(), weight=broken if spoiled == 'weight' else weight
  )
  params = {'params': {'weight': jnp.full((1,) * 5, 0.3)}}
  (value, _), grads = tiny.quick_jit(jax.value_and_grad(loss, has_aux=True))(
    params, _batch(), _keys()
  )
  assert np.isfinite(value)
  assert value > 0
  assert np.abs(grads['params']['weight']).item() > 1e-3


def test_a_sample_s_loss_does_not_depend_on_its_batch():
  """With one number of unknown frames the loss is the samples' mean."""
  network = tiny.make_latte(anchor=True)
  params = tiny.shaken(tiny.init(network))
  loss = tiny.quick_jit(_make(network, task_mix=(('first', 1.0),)))
  batch, keys = _batch(), _keys()
  together, _ = loss(params, batch, keys)
  alone = [
    loss(
      params, jax.tree.map(lambda x, i=i: x[i : i + 1], batch), keys[i : i + 1]
    )
    for i in range(B)
  ]
  values = np.array([value for value, _ in alone])
  assert values.std() > 1e-2 * values.mean()
  assert together == pytest.approx(values.mean(), rel=1e-5)


@pytest.mark.parametrize('rate', [0.0, 0.1, 1.0])
def test_labels_are_dropped_at_their_rate_one_coin_a_sample(rate):
  n, null = 2048, 1

  loss = _make(
    SaysLabel(),
    encode=lambda video: jnp.zeros(video.shape, jnp.float32),
    weight=lambda process, t: jnp.ones_like(t),
    label_dropout=rate,
    null_label=null,
    task_mix=(('first', 1.0),),
  )
  batch = {
    'video': jnp.zeros((n, 2, 1, 1, 1), jnp.uint8),
    'label': jnp.zeros(n, jnp.int32),
  }
  value, _ = tiny.quick_jit(loss)({}, batch, _keys(n))
  slack = 5 * np.sqrt(rate * (1 - rate) / n) + 1e-6
  assert value == pytest.approx(rate * null**2, abs=slack)


def test_labels_that_are_kept_are_seen_as_they_are():
  """Unit weight and no video: the loss is the labels' mean square."""
  loss = _make(
    SaysLabel(),
    encode=lambda video: jnp.zeros(video.shape, jnp.float32),
    weight=lambda process, t: jnp.ones_like(t),
    label_dropout=0.0,
    task_mix=(('first', 1.0),),
  )
  batch = _batch()
  value, _ = tiny.quick_jit(loss)({}, batch, _keys())
  want = np.mean(np.asarray(batch['label'], np.float64) ** 2)
  assert value == pytest.approx(want, rel=1e-6)


class Undecided(nn.Module):
  """A reader that finds all classes equally likely."""

  @nn.compact
  def __call__(self, frames):
    return jnp.zeros((len(frames), 10))


class SeesLevel(nn.Module):
  """A reader of flat frames of level -1, 0, 1 or 2, sure of its answer."""

  @nn.compact
  def __call__(self, frames):
    level = jnp.round(frames.mean((1, 2, 3))).astype(jnp.int32) + 1
    return 50 * jax.nn.one_hot(level, 4)


def test_an_undecided_reader_loses_the_log_of_the_number_of_classes():
  loss = losses.ReaderLoss(network=Undecided(), encode=_encode, noise=0.1)
  value, _ = tiny.quick_jit(loss)({}, _batch(), _keys())
  assert value == pytest.approx(np.log(10), rel=1e-6)


@pytest.mark.parametrize('frame', range(4))
def test_a_reader_learns_from_every_frame_alike(frame):
  """Frame i of every clip has level i - 1; label i is right a quarter."""
  n = 2048
  loss = losses.ReaderLoss(
    network=SeesLevel(), encode=lambda v: v.astype(jnp.float32) - 1, noise=0.0
  )
  levels = jnp.arange(4, dtype=jnp.uint8)[None, :, None, None, None]
  batch = {
    'video': jnp.broadcast_to(levels, (n, 4, 2, 2, 3)),
    'label': jnp.full(n, frame, jnp.int32),
  }
  _, scalars = tiny.quick_jit(loss)({}, batch, _keys(n))
  slack = 5 * np.sqrt(0.25 * 0.75 / n)
  assert scalars['accuracy'] == pytest.approx(0.25, abs=slack)
