"""The loss of a denoiser: who has a say in it, and how much."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import samples
import toy_losses
import toys
from framebridge_jax import denoiser
from framebridge_jax.processes import (
  diffusion,
  priors,
  schedules,
  times,
)
from framebridge_jax.training import losses


class NanWhereKnown(nn.Module):
  """Answers with its weight, and with NaN for frames at t = 0."""

  @nn.compact
  def __call__(self, z, t, cond):
    weight = self.param('weight', nn.initializers.ones_init(), (1,) * z.ndim)
    known = (t == 0)[:, :, None, None, None]
    return jnp.where(known, jnp.nan, weight * z)


class SaysStride(nn.Module):
  """Answers with the stride that it hears, and no motion."""

  @nn.compact
  def __call__(self, z, t, cond):
    stride = cond.stride.astype(z.dtype)[:, None, None, None, None]
    return jnp.broadcast_to(stride, z.shape)


class SaysText(nn.Module):
  """Answers with the sum of the text that it hears, and no motion."""

  @nn.compact
  def __call__(self, z, t, cond):
    text = cond.text.sum(-1).astype(z.dtype)[:, None, None, None, None]
    return jnp.broadcast_to(text, z.shape)


class SaysLabel(nn.Module):
  """Answers with the label that it sees, and no motion."""

  @nn.compact
  def __call__(self, z, t, cond):
    label = cond.label.astype(z.dtype)[:, None, None, None, None]
    return jnp.broadcast_to(label, z.shape)


def test_the_loss_of_a_diffusion_without_known_frames_is_over_all():
  """task_mix none (FVDM's own recipe): a network of 0 says z0 = 0."""
  model = toys.make_denoiser(
    toy_losses.Oracle(), diffusion.Diffusion(schedule=schedules.VP())
  )
  loss = toy_losses.make(
    None,
    model,
    weight=lambda model, t: jnp.ones_like(t),
    task_mix=(('none', 1.0),),
  )
  batch = toy_losses.make_batch()
  clips = toy_losses.encode(batch['video'])
  # The oracle answers with clips - prior, and no known frame means prior 0.
  params = {'params': {'clips': clips, 'weight': jnp.zeros(())}}
  value, _ = tiny.quick_jit(loss)(params, batch, toy_losses.keys())
  want = np.mean(np.asarray(clips, np.float64) ** 2)
  assert value == pytest.approx(want, rel=1e-5)
  params['params']['weight'] = jnp.ones(())
  assert tiny.quick_jit(loss)(params, batch, toy_losses.keys())[0] < 1e-11


def test_an_oracle_has_no_loss_and_half_an_oracle_has():
  batch = toy_losses.make_batch()
  clips = toy_losses.encode(batch['video'])
  params = {'params': {'clips': clips, 'weight': jnp.ones(())}}
  loss = tiny.quick_jit(toy_losses.make(toy_losses.Oracle()))
  value, scalars = loss(params, batch, toy_losses.keys())
  assert 0 <= value < 1e-11  # 24 times the square of float32's epsilon
  assert 0 <= scalars['mse'] < 1e-12
  params = {'params': {'clips': clips, 'weight': jnp.asarray(0.5)}}
  assert loss(params, batch, toy_losses.keys())[0] > 0.1


def test_the_loss_is_the_weighted_mean_over_unknown_pixels():
  """First frame known, all else at T where the weight is the floor."""
  batch = toy_losses.make_batch()
  loss = toy_losses.make(
    toy_losses.Oracle(), task_mix=(('first', 1.0),), times=times.Ptss(p_end=1.0)
  )
  clips = toy_losses.encode(batch['video'])
  params = {'params': {'clips': clips, 'weight': jnp.zeros(())}}
  value, scalars = tiny.quick_jit(loss)(params, batch, toy_losses.keys())
  z0 = np.asarray(clips, np.float64)
  want = np.mean((z0[:, 1:] - z0[:, :1]) ** 2)
  assert scalars['mse'] == pytest.approx(want, rel=1e-5)
  assert value == pytest.approx(4.0 * want, rel=1e-5)


@pytest.mark.parametrize('spoiled', ['network', 'weight'])
def test_nan_at_known_frames_reaches_neither_loss_nor_gradient(spoiled):
  weight = losses.SnrWeight(floor=4.0, most=24.0)

  def broken(model, t):
    return jnp.where(t == 0, jnp.nan, weight(model, t))

  loss = toy_losses.make(
    NanWhereKnown(), weight=broken if spoiled == 'weight' else weight
  )
  params = {'params': {'weight': jnp.full((1,) * 5, 0.3)}}
  (value, _), grads = tiny.quick_jit(jax.value_and_grad(loss, has_aux=True))(
    params, toy_losses.make_batch(), toy_losses.keys()
  )
  assert np.isfinite(value)
  assert value > 0
  assert np.abs(grads['params']['weight']).item() > 1e-3


def test_a_sample_s_loss_does_not_depend_on_its_batch():
  """With one number of unknown frames the loss is the samples' mean."""
  network = tiny.make_latte(anchor=True)
  params = tiny.shaken(tiny.init(network))
  loss = tiny.quick_jit(toy_losses.make(network, task_mix=(('first', 1.0),)))
  batch, keys = toy_losses.make_batch(), toy_losses.keys()
  together, _ = loss(params, batch, keys)
  alone = [
    loss(
      params, jax.tree.map(lambda x, i=i: x[i : i + 1], batch), keys[i : i + 1]
    )
    for i in range(toy_losses.B)
  ]
  values = np.array([value for value, _ in alone])
  assert values.std() > 1e-2 * values.mean()
  assert together == pytest.approx(values.mean(), rel=1e-5)


@pytest.mark.parametrize('rate', [0.0, 0.1, 1.0])
def test_labels_are_dropped_at_their_rate_one_coin_a_sample(rate):
  n, null = 2048, 1

  loss = toy_losses.make(
    SaysLabel(),
    encode=lambda video: jnp.zeros(video.shape, jnp.float32),
    weight=lambda model, t: jnp.ones_like(t),
    label_dropout=rate,
    null_label=null,
    task_mix=(('first', 1.0),),
  )
  batch = {
    'video': jnp.zeros((n, 2, 1, 1, 1), jnp.uint8),
    'label': jnp.zeros(n, jnp.int32),
  }
  value, _ = tiny.quick_jit(loss)({}, batch, toy_losses.keys(n))
  slack = 5 * np.sqrt(rate * (1 - rate) / n) + 1e-6
  assert value == pytest.approx(rate * null**2, abs=slack)


def test_labels_that_are_kept_are_seen_as_they_are():
  """Unit weight and no video: the loss is the labels' mean square."""
  loss = toy_losses.make(
    SaysLabel(),
    encode=lambda video: jnp.zeros(video.shape, jnp.float32),
    weight=lambda model, t: jnp.ones_like(t),
    label_dropout=0.0,
    task_mix=(('first', 1.0),),
  )
  batch = toy_losses.make_batch()
  value, _ = tiny.quick_jit(loss)({}, batch, toy_losses.keys())
  want = np.mean(np.asarray(batch['label'], np.float64) ** 2)
  assert value == pytest.approx(want, rel=1e-6)


def test_a_network_hears_the_stride_of_its_batch_and_else_the_given_one():
  prior = denoiser.Formula(prior=priors.replicate)

  def value(given, **said):
    loss = toy_losses.make(
      SaysStride(),
      conditioning=denoiser.Conditioning(prior=prior, stride=given),
    )
    batch = toy_losses.make_batch(2) | said
    return float(loss({}, batch, toy_losses.keys(2))[0])

  said = jnp.array([3.0, 3.0])
  of_batch = value(1.0, stride=said)
  assert value(3.0) == of_batch
  assert value(1.0) != of_batch


SEEN = []


def _watched(**changes):
  """What a network is shown of 512 still, grey clips."""
  SEEN.clear()

  class Watching(nn.Module):
    @nn.compact
    def __call__(self, z, t, cond):
      jax.debug.callback(
        lambda *seen: SEEN.append([np.asarray(x) for x in seen]),
        z,
        t,
        cond.prior,
        cond.image,
      )
      return jnp.zeros_like(z)

  batch = {
    'video': jnp.full((512, 4, 8, 8, 3), 191, jnp.uint8),
    'label': jnp.zeros(512, jnp.int32),
  }
  loss = toy_losses.make(
    None,
    samples.make(toy_losses.PROCESS, Watching()),
    task_mix=(('first', 1.0),),
    **changes,
  )
  value, metrics = tiny.quick_jit(loss)({}, batch, toy_losses.keys(512))
  jax.effects_barrier()
  return SEEN[0], value, metrics


def test_known_frames_stand_at_a_small_time_and_leave_the_loss_all_the_same():
  """With the noise of that time around themselves."""
  ptss = times.Ptss(p_end=1.0, known_time=0.2)
  (z, t, _, _), _, metrics = _watched(times=ptss)
  t = t / 1000  # the clock's
  known = t[:, 0]
  assert (known == 0).mean() == pytest.approx(0.5, abs=0.1)
  assert 0.15 < known.max() <= 0.2
  np.testing.assert_allclose(t[:, 1:], 1, rtol=1e-6)
  late = known > 0
  sigma2 = 0.01 * known + 49.99 * known**2 / 2
  c = np.sqrt(sigma2 * (1 - sigma2 / 25.005))[late, None, None, None]
  grey = 191 / 127.5 - 1
  noise = (z[late, 0] - grey) / c
  assert noise.std() == pytest.approx(1, rel=0.03)
  np.testing.assert_allclose(z[~late, 0], grey, rtol=1e-6)
  # Over unknown frames alone, whose answer 0 is off by grey.
  assert metrics['mse'] == pytest.approx(grey**2, rel=1e-5)


def test_noise_of_the_condition_is_in_the_prior_and_the_image_alone():
  """The known frame itself is clean."""
  (z, t, prior, image), _, _ = _watched(
    times=times.Ptss(p_end=1.0), condition_noise=times.Constant(std=0.3)
  )
  grey = 191 / 127.5 - 1
  for seen in (prior[:, 1], image[:, 0]):
    assert (seen - grey).std() == pytest.approx(0.3, rel=0.03)
  np.testing.assert_array_equal(prior[:, 1], prior[:, 3])
  np.testing.assert_array_equal(prior[:, 1], image[:, 0])
  np.testing.assert_allclose(z[:, 0], grey, rtol=1e-6)
  (_, _, prior, _), _, _ = _watched(times=times.Ptss(p_end=1.0))
  np.testing.assert_allclose(prior, grey, rtol=1e-6)


def test_a_network_hears_each_clip_s_own_text():
  """With answers of 1 and 2 for motion, errors are as of strides 1 and 2."""
  batch = toy_losses.make_batch(2)
  text = jnp.array([[0.25, 0.75], [0.5, 1.5]])
  told, _ = toy_losses.make(SaysText())(
    {}, batch | {'text': text}, toy_losses.keys(2)
  )
  want, _ = toy_losses.make(SaysStride())(
    {}, batch | {'stride': jnp.array([1.0, 2.0])}, toy_losses.keys(2)
  )
  assert float(told) == float(want)
