"""The loss split by time: where each frame counts, and that it adds up."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import toy_losses
import toys
from framebridge_jax.processes import diffusion, schedules, times
from framebridge_jax.training import losses

SQUARES = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])


def _by_time(errors, shares, bins):
  got = losses.by_time(
    jnp.asarray(errors, jnp.float32), jnp.asarray(shares, jnp.float32), bins
  )
  return np.asarray(got)


def test_frames_count_in_the_bin_of_their_time():
  """Bin 0: 1 and 2. Bin 1: 4 and 8. Bin 2: none. Bin 3: 16 and 32."""
  shares = [[0.001, 0.2], [0.3, 0.49], [0.75, 0.9]]
  got = _by_time(np.reshape(SQUARES, (3, 2)), shares, 4)
  np.testing.assert_array_equal(got, [[3, 2], [12, 2], [0, 0], [48, 2]])


def test_bins_are_closed_below_and_the_last_one_above():
  shares = [[0.25, 0.5, 0.75], [1.0, np.nextafter(1, 0), 1e-30]]
  got = _by_time(SQUARES, shares, 4)
  np.testing.assert_array_equal(got, [[32, 1], [1, 1], [2, 1], [28, 3]])


@pytest.mark.parametrize('broken', [np.nan, np.inf])
def test_known_frames_have_no_say_whatever_their_error(broken):
  errors = [[broken, 2.0, broken], [broken, 16.0, 32.0]]
  shares = [[0.0, 0.1, 0.0], [0.0, 0.6, 1.0]]
  got = _by_time(errors, shares, 2)
  np.testing.assert_array_equal(got, [[2, 1], [48, 2]])


@dataclasses.dataclass(frozen=True, kw_only=True)
class At(times.Ptss):
  """Times at given shares of T."""

  share: Any

  def __call__(self, keys, frames, T):
    return jnp.asarray(self.share, jnp.float32) * T


@pytest.mark.parametrize(
  'schedule', [schedules.VP(), schedules.EDM()], ids=['T=1', 'T=80']
)
def test_the_loss_s_split_is_each_frame_s_own_squared_error(schedule):
  """A network of 0 says z0 = 0: a frame's error is its mean square, by hand.

  The weight grows with t / T, so that a weight of another frame would show.
  """
  share = np.linspace(0.01, 1, toy_losses.B * toy_losses.F, dtype=np.float32)
  share = np.random.default_rng(0).permutation(share).reshape(toy_losses.B, -1)
  loss = toy_losses.make(
    None,
    toys.make_denoiser(
      toy_losses.Oracle(), diffusion.Diffusion(schedule=schedule)
    ),
    weight=lambda model, t: 1 + 3 * t / model.process.schedule.T,
    task_mix=(('none', 1.0),),
    times=At(share=share),
    time_bins=5,
  )
  batch = toy_losses.make_batch()
  clips = toy_losses.encode(batch['video'])
  params = {'params': {'clips': clips, 'weight': jnp.zeros(())}}

  @tiny.quick_jit
  def run(params, batch, keys):  # numpy times make the loss unhashable
    return loss(params, batch, keys)

  _, scalars = run(params, batch, toy_losses.keys())
  squares = np.mean(np.asarray(clips, np.float64) ** 2, axis=(2, 3, 4))
  errors = (1 + 3 * share) * squares
  places = [np.minimum(np.floor(share * 5), 4) == place for place in range(5)]
  want = [(errors[inside].sum(), inside.sum()) for inside in places]
  assert min(count for _, count in want) > 0
  np.testing.assert_allclose(scalars['loss_by_time'], want, rtol=1e-5)


class NanWhereKnown(nn.Module):
  """Answers with its weight, and with NaN for frames at t = 0."""

  @nn.compact
  def __call__(self, z, t, cond):
    weight = self.param('weight', nn.initializers.ones_init(), (1,) * z.ndim)
    known = (t == 0)[:, :, None, None, None]
    return jnp.where(known, jnp.nan, weight * z)


def _loss_and_gradient(**changes):
  loss = toy_losses.make(NanWhereKnown(), **changes)
  params = {'params': {'weight': jnp.full((1,) * 5, 0.3)}}
  return tiny.quick_jit(jax.value_and_grad(loss, has_aux=True))(
    params, toy_losses.make_batch(), toy_losses.keys()
  )


@pytest.mark.parametrize(('mix', 'bins'), [('first', 1), ('random', 7)])
def test_the_split_s_sums_over_its_counts_are_the_loss(mix, bins):
  """Where given frames are held; the network's answer to those is NaN."""
  (value, scalars), _ = _loss_and_gradient(
    time_bins=bins, task_mix=((mix, 1.0),)
  )
  total, count = np.asarray(scalars['loss_by_time'], np.float64).sum(0)
  assert 0 < count < toy_losses.B * toy_losses.F
  assert total / count == pytest.approx(float(value), rel=1e-5)


def test_the_split_changes_neither_loss_nor_gradient():
  (plain, without), gradient = _loss_and_gradient()
  (value, scalars), same = _loss_and_gradient(time_bins=5)
  assert value == plain
  assert np.isfinite(value)
  jax.tree.map(np.testing.assert_array_equal, same, gradient)
  assert set(scalars) - set(without) == {'loss_by_time'}
  assert scalars['mse'] == without['mse']
