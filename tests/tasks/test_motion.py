"""What makes clips move more or less, by what the network is shown."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import samples
import toys
from framebridge_jax.processes import priors
from framebridge_jax.samplers import grids
from framebridge_jax.tasks import generate, plans

SHAPE = (32, 32, 1)


def _draw(says, plan=samples.ONE_STEP, process=samples.DIFFUSION, **more):
  more.setdefault('source', samples.pixels(shape=SHAPE))
  model = samples.make(process, samples.Says(says))
  return np.asarray(samples.draw(model, plan, {}, **more))


@pytest.mark.parametrize('heat', [0.0, 0.5, 2.0])
def test_temperature_scales_the_noise_that_frames_set_out_with(heat):
  """Of a diffusion at T: the latent is noise of that scale and no more."""
  got = _draw('z', motion={'temperature': heat})[:, 1:]
  sigma = np.sqrt(1 - np.exp(-(0.1 + 19.9 / 2)))  # VP at T
  assert got.std() == pytest.approx(heat * sigma, rel=0.05, abs=1e-3)


@pytest.mark.parametrize('heat', [0.0, 0.5, 2.0])
def test_temperature_scales_the_noise_of_the_way(heat):
  """A bridge sets out from its prior: all noise is that of its first step."""
  source = samples.pixels(shape=SHAPE)
  plan = plans.image_to_video(2, 4)
  got = _draw(
    'z',
    plan,
    samples.BRIDGE,
    source=source,
    motion={'temperature': heat},
    grid=grids.uniform(samples.BRIDGE, 2),
  )
  # The last step answers with what it is shown: z at half of the way, which
  # is a mixture of the first answer (the prior) and of the prior, and noise.
  half, end = (0.01 * x + 7.99 * x**2 / 2 for x in (0.5, 1.0))
  c = np.sqrt(half * (1 - half / end))
  off = (got - np.asarray(source[:, :1]))[:, 1:]
  assert off.std() == pytest.approx(heat * c, rel=0.05, abs=1e-5)


@pytest.mark.parametrize('says', ['prior', 'image'])
def test_noise_on_the_image_is_on_all_that_is_made_of_it(says):
  """FrameBridge Table 7: in the prior and in the condition; once a clip."""
  source = samples.pixels(shape=SHAPE)
  got = _draw(says, source=source, motion={'image_noise': 0.4})
  off = got[:, 1:] - np.asarray(source[:, :1])
  assert off.std() == pytest.approx(0.4, rel=0.05)
  np.testing.assert_array_equal(off[:, 0], off[:, 2])
  np.testing.assert_array_equal(got[:, 0], source[:, 0])
  clean = _draw(says, source=source)
  np.testing.assert_array_equal(clean[:, 1], source[:, 0])


def _shown(says, share, process=samples.DIFFUSION):
  return _draw(says, process=process, motion={'known_time': share})


def test_known_frames_are_shown_at_a_small_time():
  """Three frames at T, and one at 0.2 instead of 0."""
  got = _shown('time', 0.2)[:, 1:]
  np.testing.assert_allclose(got, (3 + 0.2) / 4, rtol=1e-5)
  np.testing.assert_allclose(_shown('time', 0.0)[:, 1:], 3 / 4, rtol=1e-5)


class Watching(samples.Says):
  """Answers every frame with what it is shown of the first one."""

  def __call__(self, z, t, cond):
    return jnp.broadcast_to(z[:, :1], z.shape)


@pytest.mark.parametrize('process', [samples.DIFFUSION, samples.BRIDGE])
def test_known_frames_are_shown_with_the_noise_of_that_time(process):
  """Of a bridge from themselves to themselves: their place does not move."""
  source, t = samples.pixels(shape=SHAPE), 0.3
  model = samples.make(process, Watching('z'))
  got = samples.draw(
    model, samples.ONE_STEP, {}, source=source, motion={'known_time': t}
  )
  if process is samples.DIFFUSION:
    a = np.exp(-0.5 * (0.1 * t + 19.9 * t * t / 2))
    c = np.sqrt(1 - a * a)
  else:
    now, end = (0.01 * x + 7.99 * x**2 / 2 for x in (t, 1.0))
    a, c = 1.0, np.sqrt(now * (1 - now / end))
  noise = (np.asarray(got)[:, 1] - a * np.asarray(source)[:, 0]) / c
  assert noise.std() == pytest.approx(1, rel=0.05)
  assert abs(noise.mean()) < 0.1
  np.testing.assert_array_equal(got[:, 0], source[:, 0])


def test_a_stride_is_heard_by_a_model_that_hears_one():
  class Heard(samples.Says):
    def __call__(self, z, t, cond):
      stride = cond.stride[:, None, None, None, None]
      return jnp.broadcast_to(stride, z.shape)

  conditioning = dataclasses.replace(toys.conditioning(), stride=3.0)
  for stride, want in ((None, 3.0), (5.0, 5.0)):
    got = samples.draw(
      samples.make(network=Heard('z')),
      samples.ONE_STEP,
      {},
      conditioning=conditioning,
      motion={'stride': stride},
      guide=generate.Guidance(scale=2.0),
    )
    np.testing.assert_allclose(got[:, 1:], want)


@pytest.mark.parametrize(
  ('motion', 'message'),
  [
    ({'temperature': -1.0}, 'temperature is -1, want a number of at least 0'),
    ({'image_noise': float('nan')}, 'image_noise is nan'),
    ({'known_time': 1.0}, 'known_time is 1, want a share'),
    ({'stride': 5.0}, 'stride is 5 and this model hears none'),
  ],
)
def test_motion_out_of_range_is_refused(motion, message, compilations):
  with pytest.raises(ValueError, match=message):
    samples.draw(
      samples.make(),
      samples.ONE_STEP,
      conditioning=toys.conditioning(priors.blend),
      motion=motion,
    )
  assert not compilations


def test_motion_does_not_compile_again_but_for_the_kind_of_it():
  from framebridge_jax.tasks import programs

  samples.draw(samples.make(), samples.ONE_STEP)
  before = programs.advance._cache_size()
  for heat, noise in ((0.5, 0.0), (1.2, 0.3)):
    motion = {'temperature': heat, 'image_noise': noise}
    samples.draw(samples.make(), samples.ONE_STEP, motion=motion)
  assert programs.advance._cache_size() == before
  for share in (0.1, 0.2):
    samples.draw(samples.make(), samples.ONE_STEP, motion={'known_time': share})
  assert programs.advance._cache_size() == before + 1
