"""Where samples set out from, and which models can."""

import jax.numpy as jnp
import numpy as np
import pytest

import samples
import toys
from framebridge_jax import denoiser
from framebridge_jax.processes import (
  bridge,
  clocks,
  diffusion,
  discrete,
  fading,
  priors,
  schedules,
)
from framebridge_jax.samplers import grids
from framebridge_jax.tasks import plans


@pytest.mark.parametrize('noise', [0.0, 1.0, 2.0])
def test_start_noise_scales_what_frames_set_out_with(noise):
  """FrameBridge's public start: the prior itself, just below T."""
  source = samples.pixels(shape=(32, 32, 1))
  got = samples.draw(
    samples.make(samples.BRIDGE, network=samples.Says('z')),
    samples.ONE_STEP,
    {},
    grid=grids.framebridge(samples.BRIDGE, 1),
    motion={'start_noise': noise},
    source=source,
  )
  t = 1000 / 1001
  end, now = (0.01 * x + 7.99 * x**2 / 2 for x in (1, t))
  c = np.sqrt(now * (1 - now / end))
  off = np.asarray(got - source[:, :1])[:, 1:]
  assert off.std() == pytest.approx(noise * c, rel=0.05, abs=1e-6)


STRENGTHS = np.array([0.0, 0.2, 0.6, 1.0])


def test_edited_frames_set_out_from_their_noised_originals():
  """Each from its own time; a strength of 1 does not read the original."""
  source = samples.pixels(shape=(32, 32, 1)).at[:, 3].set(jnp.nan)
  got = np.asarray(
    samples.draw(
      samples.make(network=samples.Says('z')),
      plans.edit_frames(1, STRENGTHS),
      {},
      source=source,
    )
  )
  np.testing.assert_array_equal(got[:, 0], source[:, 0])
  for frame in (1, 2, 3):
    t = STRENGTHS[frame]
    alpha = np.exp(-0.5 * (0.1 * t + 19.9 * t * t / 2))
    # The prior, which is the known frame, stands in for one that is unread.
    original = np.asarray(source[:, 0 if frame == 3 else frame])
    noise = (got[:, frame] - alpha * original) / np.sqrt(1 - alpha**2)
    assert noise.std() == pytest.approx(1, rel=0.05)
    assert abs(noise.mean()) < 0.1
    assert abs(np.corrcoef(noise.ravel(), original.ravel())[0, 1]) < 0.1


def test_progressive_and_staggered_frames_end_clean_and_finite():
  for plan in (
    plans.progressive(6, 4, slope=0.3),
    plans.staggered(8, 4),
    plans.rolling(3, 4),
  ):
    noise = toys.conditioning(priors.gaussian)
    got = samples.draw(samples.make(), plan, conditioning=noise)
    assert np.isfinite(got).all()


def test_a_bridge_needs_a_known_frame_and_a_diffusion_none():
  plan = plans.generate(2, 4)
  with pytest.raises(ValueError, match='no frame is given.*diffusion model'):
    samples.draw(samples.make(samples.BRIDGE), plan)
  assert np.isfinite(samples.draw(samples.make(), plan)).all()


@pytest.mark.parametrize(
  'schedule',
  [fading.Flow(), fading.Cosine(), discrete.Discrete(zero_terminal=True)],
  ids=str,
)
def test_a_prediction_of_noise_cannot_start_where_there_is_only_noise(schedule):
  process = diffusion.Diffusion(schedule=schedule)
  plan = plans.image_to_video(2, 4)
  with pytest.raises(ValueError, match='no signal is left at t = 1.*v or x0'):
    samples.draw(samples.make(process, prediction='eps'), plan)
  assert np.isfinite(
    samples.draw(samples.make(process, prediction='v'), plan)
  ).all()
  # From half of the way there is something to hear.
  part = plans.edit(2, 4, strength=0.5)
  got = samples.draw(samples.make(process, prediction='eps'), part)
  assert np.isfinite(got).all()


def test_an_aligned_teacher_generates_and_its_noise_is_the_sample_s():
  """At T it sees noise of the sample's own key: the same in any row."""
  teacher = samples.make(
    diffusion.Diffusion(schedule=discrete.Discrete()),
    prediction='v',
    clock=clocks.Table(),
  )
  model = denoiser.align(
    teacher, bridge.Bridge(schedule=schedules.BridgeGmax())
  )
  plan = plans.image_to_video(3, 4)
  both = samples.draw(model, plan)
  assert np.isfinite(both).all()
  elsewhere = samples.draw(
    model,
    plan,
    source=samples.pixels()[::-1].at[1].multiply(0.5),
    label=jnp.array([1, 3], jnp.int32),
    keys=samples.keys([1, 5]),
  )
  np.testing.assert_array_equal(elsewhere[0], both[1])
  other = samples.draw(model, plan, keys=samples.keys(range(2), seed=3))
  assert np.abs(other - both)[:, 1:].max() > 1e-2
