"""Frames that are given, and made anew: FrameBridge's own recipe."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import samples
import toy_losses
from configs import framebridge_ucf101
from framebridge_jax import build
from framebridge_jax.processes import times
from framebridge_jax.samplers import grids
from framebridge_jax.tasks import plans
from framebridge_jax.training import losses


def _zeros(video):
  return jnp.zeros(video.shape, jnp.float32)


@pytest.mark.parametrize('hold', [True, False])
def test_given_frames_that_are_not_held_are_noised_and_have_a_loss(hold):
  """At T of a diffusion, of clips of 0, a network that says z is all noise.

  Its mean square is 1 - alpha^2 over all frames, or over the unknown ones; the
  first frame, which alone is noised here, is a fourth of it or nothing.
  """
  model = samples.make(network=FirstOfZ())
  loss = toy_losses.make(
    None,
    model,
    encode=_zeros,
    hold_given=hold,
    weight=losses.OwnTarget(),
    task_mix=(('first', 1.0),),
    times=times.Ptss(p_end=1.0),
  )
  _, metrics = tiny.quick_jit(loss)(
    {}, toy_losses.make_batch(64), toy_losses.keys(64)
  )
  want = 0.0 if hold else 0.25
  assert metrics['mse'] == pytest.approx(want, rel=0.05)


class FirstOfZ(nn.Module):
  """Answers with the first frame that it sees, and 0 for the others."""

  @nn.compact
  def __call__(self, z, t, cond):
    first = jnp.arange(z.shape[1]) == 0
    return jnp.where(first[None, :, None, None, None], z, 0)


@pytest.mark.parametrize('what', ['image', 'prior'])
def test_the_image_and_the_prior_of_a_noised_first_frame_are_clean(what):
  """Of clips that stand still both are the answer, whatever the noise."""
  batch = toy_losses.make_batch()
  batch['video'] = batch['video'].at[:, 1:].set(batch['video'][:, :1])
  loss = toy_losses.make(
    None,
    samples.make(samples.BRIDGE, samples.Says(what)),
    hold_given=False,
    task_mix=(('first', 1.0),),
  )
  value, metrics = tiny.quick_jit(loss)({}, batch, toy_losses.keys())
  assert metrics['mse'] < 1e-12
  assert value < 1e-10


@pytest.mark.parametrize('process', [samples.BRIDGE, samples.DIFFUSION])
def test_a_given_frame_is_made_anew_from_a_prior_that_is_made_of_it(process):
  plan, source = plans.generate(3, 4), samples.pixels()
  model = samples.make(process)

  def sample(source):
    return samples.draw(model, plan, source=source, given=(0,))

  got = sample(source)
  assert np.isfinite(got).all()
  assert (np.abs(got - source)[:, 0].max((1, 2, 3)) > 1e-2).all()
  others = source.at[:, 1:].set(jnp.nan)
  np.testing.assert_array_equal(sample(others), got)
  moved = sample(source.at[1, 0].add(0.5))
  np.testing.assert_array_equal(moved[0], got[0])
  assert (np.abs(moved - got)[1].max((1, 2, 3)) > 1e-3).all()


def test_the_frames_made_anew_set_out_from_the_prior_and_see_the_image():
  """A network that says z: after one step from T, the prior itself."""
  source = samples.pixels()
  for what in ('z', 'image', 'prior'):
    got = samples.draw(
      samples.make(samples.BRIDGE, samples.Says(what)),
      plans.generate(1, 4),
      {},
      source=source,
      given=(0,),
    )
    want = np.broadcast_to(source[:, :1], source.shape)
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize('hold', [True, False])
def test_a_task_of_a_config_holds_the_first_frame_or_makes_it_anew(hold):
  config = framebridge_ucf101.get_config()
  config.hold_given = hold
  grid = grids.uniform(samples.BRIDGE, 3)
  task = build.make_task(config, grid, 3)
  assert task.given == (0,)
  np.testing.assert_array_equal(task.plan[:, 0] == 1, [hold] * 3 + [True])
  assert (task.plan[0, 1:] == 0).all()


def test_a_frame_that_is_held_and_not_given_is_kept_and_not_read():
  source = samples.pixels()
  got = samples.draw(
    samples.make(samples.BRIDGE, samples.Says('prior')),
    plans.keyframes(1, 4, known='3'),
    {},
    source=source,
    given=(0,),
  )
  np.testing.assert_array_equal(got[:, 3], source[:, 3])
  want = np.broadcast_to(source[:, :1], got[:, :3].shape)
  np.testing.assert_allclose(got[:, :3], want, atol=1e-6)
