"""Every task on Gaussian videos, through the whole of sampling.

With the exact network, what a task makes has the mean and the covariance that
the known frames leave: closed forms that no code of the package gives.  Nine
thousand clips a call leave 0.015 of chance.
"""

import functools

import gaussian_clips
import jax.numpy as jnp
import numpy as np
import pytest

from framebridge_jax.samplers import table as samplers
from framebridge_jax.tasks import long_video, plans

SIDE, FRAMES = 48, gaussian_clips.FRAMES
VALUES = np.repeat(gaussian_clips.VALUES[None], 4, axis=0)
# A sampler's steps, and the error that these leave in its covariance.
SAMPLERS = {
  'ancestral': (128, 0.09),
  'dbim2': (48, 0.04),
  'heun': (48, 0.04),
  'dpmpp_2m_sde': (48, 0.04),
}
TASKS = {
  'i2v': {},
  'interpolate': {},
  'keyframes': {'known': '0 2 3'},
  'extend': {'overlap': 2},
  'next_frame': {},
  'inpaint_time': {'missing': '1 4'},
}
every = pytest.mark.parametrize('process', gaussian_clips.PROCESSES)
with_all = pytest.mark.parametrize('sampler', SAMPLERS)


def _draw(process, sampler, plan, source=VALUES, **more):
  return gaussian_clips.draw(
    gaussian_clips.PROCESSES[process],
    samplers.SAMPLERS[sampler](),
    plan,
    source,
    side=SIDE,
    **more,
  )


def _check(clips, mean, cov, tolerance):
  got_mean, got_cov = gaussian_clips.moments(clips)
  np.testing.assert_allclose(got_mean, mean, rtol=0, atol=0.03)
  np.testing.assert_allclose(got_cov, cov, rtol=0, atol=tolerance)


@functools.cache
def _found(process, sampler, task):
  steps, _ = SAMPLERS[sampler]
  plan = plans.TASKS[task](steps, FRAMES, **TASKS[task])
  return _draw(process, sampler, plan).latents, plans.known_frames(plan)


@every
@with_all
@pytest.mark.parametrize('task', TASKS)
def test_a_task_makes_what_its_known_frames_leave_open(process, sampler, task):
  clips, known = _found(process, sampler, task)
  _check(clips, *gaussian_clips.conditional(known), SAMPLERS[sampler][1])
  want = np.broadcast_to(
    VALUES[:, known, None, None, None], clips[:, known].shape
  )
  np.testing.assert_array_equal(clips[:, known], np.float32(want))


def test_without_known_frames_a_diffusion_makes_the_clips_themselves():
  for plan in (plans.generate(48, FRAMES), plans.staggered(96, FRAMES)):
    clips = _draw('diffusion', 'dpmpp_2m_sde', plan).latents
    mean = np.full(FRAMES, gaussian_clips.MEAN)
    _check(clips, mean, gaussian_clips.covariance(), 0.06)


def _edited(process, strength, source):
  """Moments of clips that set out from noised originals (SDEdit).

  Given the known frames the others are N(mu, S).  They are shown as
  y = a source + c eps and answered with a draw of x | y, y = a x + c eps.
  """
  known = tuple(np.flatnonzero(strength == 0))
  free = np.flatnonzero(strength)
  mean, cov = gaussian_clips.conditional(known)
  mu, S = mean[free], cov[np.ix_(free, free)]
  # The grid of the test, at the first step.
  t = jnp.asarray(strength[None, free], jnp.float32)
  case = gaussian_clips.PROCESSES[process]
  a, _, c = (np.asarray(x[0], np.float64) for x in case.marginal(t))
  A, C2 = np.diag(a), np.diag(c**2)
  G = S @ A @ np.linalg.inv(A @ S @ A + C2)
  mean[free] = mu + G @ A @ (source[free] - mu)
  cov[np.ix_(free, free)] = S - G @ A @ S + G @ C2 @ G.T
  return mean, cov


@every
@pytest.mark.parametrize('task', ['edit', 'progressive'])
def test_an_edit_is_a_draw_given_the_noised_original(process, task):
  """Each frame from its own time; one frame is known.

  Of a sampler that adds noise: a flow carries what is no draw of the model to
  somewhere else.
  """
  if task == 'edit':
    plan = plans.edit_frames(64, np.array([0, 0.3, 0.1, 0.5, 0.2, 0.4]))
    source = VALUES
  else:  # frames set out as copies of the picture, early ones from below T
    plan = plans.progressive(64, FRAMES, slope=0.15, first=0)
    source = np.repeat(VALUES[:, :1], FRAMES, axis=1)
  clips = _draw(process, 'dpmpp_2m_sde', plan, source, straight=True).latents
  _check(clips, *_edited(process, 1 - plan[0], source[0]), 0.04)


def _long(process, walk, pieces, steps):
  """Clips that go on from two known frames, in windows that know two."""

  def make(number, plan, source, carried=None):
    return _draw(
      process,
      'dpmpp_2m_sde',
      plan,
      source,
      seed=number,
      carried=carried,
      steps=steps,
    )

  start = np.broadcast_to(
    VALUES[:, :2, None, None, None], (4, 2, SIDE, SIDE, 1)
  )
  made = walk(
    make,
    jnp.asarray(start, jnp.float32),
    num_steps=steps,
    frames=FRAMES,
    handover=long_video.Handover(overlap=2),
  )
  return jnp.concatenate([start, *(next(made) for _ in range(pieces))], axis=1)


@every
@pytest.mark.parametrize(
  ('walk', 'pieces'), [(long_video.extend, 2), (long_video.roll, 6)]
)
def test_a_long_clip_is_one_clip_of_that_length(process, walk, pieces):
  """Windows that know the frames before them lose nothing of this process."""
  clips = _long(process, walk, pieces, 64)
  frames = clips.shape[1]
  mean, cov = gaussian_clips.oracles.conditional(
    np.full(frames, gaussian_clips.MEAN),
    gaussian_clips.covariance(frames),
    (0, 1),
    np.append(VALUES[0, :2], np.zeros(frames - 2)),
  )
  assert frames == {2: 10, 6: 8}[pieces]
  _check(clips, mean, cov, 0.06)
