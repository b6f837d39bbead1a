"""The one loop: what moves, what stands, and what it costs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import walks

import oracles
from framebridge_jax import arrays
from framebridge_jax.processes import bridge, schedules
from framebridge_jax.samplers import heun, loop
from framebridge_jax.tasks import plans

SAMPLERS = walks.SAMPLERS | {'heun:churn=0.3': heun.Heun(churn=0.3)}
every = pytest.mark.parametrize('name', SAMPLERS)
PROCESS = bridge.Bridge(schedule=schedules.EDM(T=2.0))
T = PROCESS.schedule.T
# Questions of 5 steps from T to 0, where they are not 5: Heun's second one is
# left out where it has no say, out of a bridge's T and into 0.
_QUESTIONS = {'heun': 8, 'heun:churn=0.3': 8, 'ddbm': 14}
SHAPE = (2, 4, 2, 1, 1)


def _draw(number, shape=SHAPE):
  return jnp.asarray(np.random.default_rng(number).normal(size=shape))


def _bent(zt, t, prior):
  """Any denoiser will do; this one is not affine and mixes the frames."""
  x0 = jnp.tanh(zt - 0.3 * prior) + 0.2 * jnp.roll(zt, 1, axis=1)
  return loop.Answer(x0 + arrays.expand_like(t, zt))


@functools.partial(jax.jit, static_argnames=('sampler', 'denoise'))
def _run(sampler, denoise, zt, times, prior, noise):
  return loop.run(
    sampler,
    PROCESS,
    functools.partial(denoise, prior=prior),
    zt,
    times,
    prior=prior,
    noise=lambda k: noise[k],
  )


def _times(u, batch=2):
  return jnp.asarray(np.repeat((T * (1 - u))[:, None], batch, axis=1))


@every
def test_frames_that_the_plan_never_moves_come_back_to_the_bit(name):
  """Known at 0, waiting at T, and resting between.

  The prior is large: to take it away and add it again would cost bits.
  """
  u = plans.progress(6, 4)
  u[:, 0], u[:, 2], u[:, 3] = 1.0, 0.0, 0.37
  zt, prior = _draw(0), 1e3 * _draw(1)
  out = _run(SAMPLERS[name], _bent, zt, _times(u), prior, _draw(2, (6, *SHAPE)))
  still = [0, 2, 3]
  np.testing.assert_array_equal(out[:, still], zt[:, still])
  assert (np.abs(out[:, 1] - zt[:, 1]) > 1e-3).all()


def _resting():
  """Known at 0, moving, resting between the ends, waiting at T."""
  rest = np.ones(6)
  u = np.stack([rest, np.linspace(0, 1, 6), 0.4 * rest, 0 * rest], axis=1)
  return u, [0, 2, 3]


@every
def test_a_nan_answer_for_standing_frames_reaches_nobody(name):
  """Not even through a second question, where other frames would show it."""
  u, still = _resting()

  def spoiled(zt, t, prior):
    x0 = _bent(zt, t, prior).x0
    return loop.Answer(x0.at[:, jnp.array(still)].set(jnp.nan))

  zt, prior = _draw(0), _draw(1)
  args = _times(u), prior, _draw(2, (5, *SHAPE))
  got, want = (
    _run(SAMPLERS[name], denoise, zt, *args) for denoise in (spoiled, _bent)
  )
  np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)


@every
def test_standing_frames_are_shown_as_they_are_in_every_question(name):
  u, still = _resting()
  zt, times, seen = 3 * _draw(0), _times(u), []

  def watched(zt, t, prior):
    jax.debug.callback(lambda *shown: seen.append(shown), zt, t)
    return _bent(zt, t, prior)

  _run(SAMPLERS[name], watched, zt, times, _draw(1), _draw(2, (5, *SHAPE)))
  jax.effects_barrier()
  assert len(seen) == _QUESTIONS.get(name, 5)
  for shown, t in seen:  # callbacks may cast to float32
    np.testing.assert_allclose(shown[:, still], zt[:, still], atol=1e-5)
    np.testing.assert_allclose(t[:, still], times[0][:, still], atol=1e-5)


@every
def test_a_finished_frame_stays_while_others_travel(name):
  """Frame 0 ends first; the same plan cut there has the same frame 0."""
  u = np.minimum(np.linspace(0, 2, 9)[:, None] * [1, 0.5, 0.5, 0.5], 1.0)
  zt, prior, noise = _draw(0), _draw(1), _draw(2, (8, *SHAPE))
  sampler = SAMPLERS[name]
  cut = np.minimum(u, u[4])  # padded: both share one compilation
  whole, cut = (
    _run(sampler, _bent, zt, _times(plan), prior, noise) for plan in (u, cut)
  )
  np.testing.assert_allclose(whole[:, 0], cut[:, 0], rtol=0, atol=1e-13)
  assert (np.abs(whole[:, 1:] - cut[:, 1:]) > 1e-3).any()


@every
def test_a_frame_at_zero_is_the_last_answer(name):
  """pinned(0; t) is (1, 0, 0): nothing of the latent or noise is left."""
  u = np.linspace(0, 1, 5)[:, None] * np.ones(4)
  answer = _draw(3)

  def constant(zt, t, prior):
    return loop.Answer(answer)

  out = _run(
    SAMPLERS[name],
    constant,
    _draw(0),
    _times(u),
    _draw(1),
    _draw(2, (4, *SHAPE)),
  )
  np.testing.assert_allclose(out, answer, rtol=0, atol=1e-13)


@every
def test_padding_changes_nothing_and_does_not_call_the_network(name):
  calls = []

  def counted(zt, t, prior):
    jax.debug.callback(lambda: calls.append(1))
    return _bent(zt, t, prior)

  zt, prior, noise = _draw(0), _draw(1), _draw(2, (9, *SHAPE))
  times = _times(plans.image_to_video(5, 4))
  outs = []
  for before in (0, 2, 4):
    plan = jnp.concatenate(
      [
        jnp.repeat(times[:1], before, axis=0),
        times,
        jnp.repeat(times[-1:], 4 - before, axis=0),
      ]
    )
    calls.clear()
    used = jnp.roll(noise, before, axis=0)
    outs.append(_run(SAMPLERS[name], counted, zt, plan, prior, used))
    jax.effects_barrier()
    assert len(calls) == _QUESTIONS.get(name, 5)
  for out in outs[1:]:
    np.testing.assert_allclose(out, outs[0], rtol=0, atol=1e-13)


@every
def test_the_same_noise_replays_the_same_sample_alone_or_in_a_batch(name):
  """Samples stand at their own times, too."""
  shape = (3, *SHAPE[1:])
  zt, prior, noise = _draw(0, shape), _draw(1, shape), _draw(2, (6, *shape))
  late = np.linspace(1, 0, 7)[:, None, None] * np.array([1, 0.8, 0.5])[:, None]
  times = jnp.asarray(T * late * np.ones(4))
  sampler = SAMPLERS[name]
  together = _run(sampler, _bent, zt, times, prior, noise)
  for i in range(3):
    alone = _run(
      sampler,
      _bent,
      zt[i : i + 1],
      times[:, i : i + 1],
      prior[i : i + 1],
      noise[:, i : i + 1],
    )
    np.testing.assert_allclose(alone[0], together[i], rtol=0, atol=1e-13)


@pytest.mark.parametrize('name', [x for x in SAMPLERS if x != 'euler_maruyama'])
def test_the_denoiser_is_shown_the_bridge_and_never_the_centred_latent(name):
  """Point data: what it sees at s must stand on the marginal of s."""
  seen = []
  point, prior = _draw(3), 5 * _draw(1)

  def watched(zt, t, prior):
    jax.debug.callback(lambda zt, t: seen.append((zt, t)), zt, t)
    return loop.Answer(point)

  times = _times(np.linspace(0, 1, 6)[:, None] * np.ones(4))
  silent = jnp.zeros((5, *SHAPE))
  _run(SAMPLERS[name], watched, prior, times, prior, silent)
  jax.effects_barrier()
  assert len(seen) == _QUESTIONS.get(name, 5)
  for zt, t in seen:
    late = np.maximum(t, 1e-9)  # the closed form divides by sigma
    a, b, _ = oracles.CLOSED['edm'].marginal(late, np.full_like(late, T))
    a, b = a[..., None, None, None], b[..., None, None, None]
    np.testing.assert_allclose(zt, a * point + b * prior, atol=1e-5)


def test_step_k_is_given_the_noise_of_step_k():
  """One step from T with the answer 0 leaves c_s times the noise."""
  closed = oracles.CLOSED['edm']
  zero = jnp.zeros(SHAPE)
  noise = _draw(2, (3, *SHAPE))

  def nothing(zt, t, prior):
    return loop.Answer(jnp.zeros_like(zt))

  for k in range(3):
    t = np.full((4, 2, 4), T)
    t[k + 1 :] = 0.5
    out = _run(
      SAMPLERS['ancestral'], nothing, zero, jnp.asarray(t), zero, noise
    )
    c = closed.marginal(np.array(0.5), np.array(T))[2]
    np.testing.assert_allclose(out, c * noise[k], rtol=1e-9)
