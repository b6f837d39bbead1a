"""Guidance: straight lines through two answers, and what bends them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from framebridge_jax.samplers import guidance, loop

SHAPE = (2, 3, 2, 2, 2)
TIMES = np.array([[0.0, 0.2, 1.0], [0.7, 0.7, 0.1]])


def _zt():
  return jnp.linspace(-1.0, 2.0, 48).reshape(SHAPE)


def _strong(zt, t):
  return loop.Answer(jnp.sin(zt) + t[:, :, None, None, None], jnp.cos(zt))


def _weak(zt, t):
  x0 = zt**2 - 3 * t[:, :, None, None, None]
  return loop.Answer(x0, jnp.full_like(zt, jnp.nan))


def _answers(scale):
  zt, t = _zt(), jnp.asarray(TIMES)
  guided = guidance.extrapolate(_strong, _weak, jnp.asarray(scale))
  z, time = np.asarray(zt), TIMES[:, :, None, None, None]
  return guided(zt, t).x0, np.sin(z) + time, z**2 - 3 * time


def test_scale_one_is_the_strong_answer():
  got, strong, _ = _answers(1.0)
  np.testing.assert_allclose(got, strong, atol=1e-12)


def test_scale_zero_is_the_weak_answer():
  got, _, weak = _answers(0.0)
  np.testing.assert_allclose(got, weak, atol=1e-12)


@pytest.mark.parametrize('scale', [-1.0, 0.25, 7.5])
def test_answer_moves_from_weak_to_strong_in_proportion_to_scale(scale):
  """Classifier-free, negative and autoguidance by what `weak` is."""
  got, strong, weak = _answers(scale)
  np.testing.assert_allclose((got - weak) / (strong - weak), scale, rtol=1e-9)


def _scaled(scale=7.5):
  return guidance.extrapolate(_strong, _weak, jnp.asarray(scale))


def _transforms():
  low, high = jnp.asarray(0.0), jnp.asarray(1.0)
  return {
    'extrapolate': _scaled(),
    'rescale': guidance.rescale(_scaled(), _strong, jnp.asarray(0.7)),
    'between': guidance.between(_scaled(), _strong, low, high),
  }


@pytest.mark.parametrize('name', ['extrapolate', 'rescale', 'between'])
def test_learned_variance_is_the_strong_answers(name):
  answer = _transforms()[name](_zt(), jnp.asarray(TIMES))
  np.testing.assert_allclose(answer.spread, np.cos(_zt()), rtol=1e-12)


@pytest.mark.parametrize('name', ['extrapolate', 'rescale', 'between'])
def test_no_learned_variance_stays_none(name):
  def plain(denoise):
    return lambda zt, t: loop.Answer(denoise(zt, t).x0)

  strong, one = plain(_strong), jnp.asarray(1.0)
  guided = guidance.extrapolate(strong, plain(_weak), 2 * one)
  answer = {
    'extrapolate': guided,
    'rescale': guidance.rescale(guided, strong, one),
    'between': guidance.between(guided, strong, 0 * one, one),
  }[name](_zt(), jnp.asarray(TIMES))
  assert answer.spread is None


def _contrast(x):
  """Standard deviation of each frame."""
  return np.array([[np.std(frame) for frame in clip] for clip in np.asarray(x)])


@pytest.mark.parametrize('share', [0.0, 0.7, 1.0])
def test_rescaled_contrast_is_lins_mixture(share):
  """Lin et al. 2024, Eq. 15-16: phi x std_strong / std + (1 - phi) x."""
  zt, t = _zt(), jnp.asarray(TIMES)
  x, strong = np.asarray(_scaled()(zt, t).x0), np.asarray(_strong(zt, t).x0)
  factor = (_contrast(strong) / _contrast(x))[:, :, None, None, None]
  got = guidance.rescale(_scaled(), _strong, jnp.asarray(share))(zt, t).x0
  want = share * x * factor + (1 - share) * x
  np.testing.assert_allclose(got, want, rtol=1e-10)
  if share == 1:
    np.testing.assert_allclose(_contrast(got), _contrast(strong), rtol=1e-10)


def test_a_flat_answer_is_not_divided_by_its_contrast():
  def flat(zt, t):
    return loop.Answer(jnp.full_like(zt, 0.5))

  rescaled = guidance.rescale(flat, _strong, jnp.asarray(1.0))
  x0 = rescaled(_zt(), jnp.asarray(TIMES)).x0
  np.testing.assert_array_equal(x0, np.full(SHAPE, 0.5))


def test_only_frames_inside_the_interval_are_guided():
  """Its ends belong to it; the others have the strong answer to the bit."""
  zt, t = _zt(), jnp.asarray(TIMES)
  low, high = jnp.asarray(0.2), jnp.asarray(0.7)
  got = guidance.between(_scaled(), _strong, low, high)(zt, t).x0
  inside = (TIMES >= 0.2) & (TIMES <= 0.7)
  assert inside.sum() == 3
  strong, guided = _strong(zt, t).x0, _scaled()(zt, t).x0
  np.testing.assert_array_equal(got[~inside], strong[~inside])
  np.testing.assert_allclose(got[inside], guided[inside], rtol=1e-12)


@pytest.mark.parametrize(
  ('low', 'high', 'calls'), [(0.15, 0.5, 1), (0.75, 0.95, 0), (2.0, 3.0, 0)]
)
def test_the_weak_denoiser_is_not_asked_where_no_frame_is_guided(
  low, high, calls
):
  asked = []

  def counted(zt, t):
    jax.debug.callback(lambda: asked.append(1))
    return _weak(zt, t)

  guided = guidance.extrapolate(_strong, counted, jnp.asarray(2.0))
  limited = guidance.between(
    guided, _strong, jnp.asarray(low), jnp.asarray(high)
  )
  answer = jax.jit(limited)(_zt(), jnp.asarray(TIMES))
  jax.block_until_ready(answer)
  jax.effects_barrier()
  assert len(asked) == calls


def test_history_guidance_hides_known_frames_at_the_end_of_time():
  """Shown in their place: what holds nothing of them, at T."""
  seen = []

  def watched(zt, t):
    seen.append((zt, t))
    return _strong(zt, t)

  known = np.array([[True, False, False], [False, True, False]])
  zt, t, shown = _zt(), jnp.asarray(TIMES), 100 + _zt()
  weak = guidance.forgetful(watched, jnp.asarray(known), shown, 80.0)
  answer = weak(zt, t)
  ((z, time),) = seen
  np.testing.assert_array_equal(z[known], shown[known])
  np.testing.assert_array_equal(z[~known], zt[~known])
  np.testing.assert_array_equal(time, np.where(known, 80.0, TIMES))
  np.testing.assert_array_equal(answer.x0, _strong(z, time).x0)


def test_no_value_of_a_known_frame_reaches_the_forgetful_answer():
  known = jnp.array([[True, False, False], [False, True, False]])
  weak = guidance.forgetful(_mixing, known, jnp.zeros(SHAPE), 1.0)
  t = jnp.asarray(TIMES)
  spoiled = jnp.where(known[..., None, None, None], jnp.nan, _zt())
  np.testing.assert_array_equal(weak(_zt(), t).x0, weak(spoiled, t).x0)


def _mixing(zt, t):
  return loop.Answer(zt + zt.mean(axis=1, keepdims=True))


def test_scales_are_arguments_that_do_not_trace_again():
  traces = []

  @jax.jit
  def guided(scale, share, low, high):
    traces.append(1)
    x = guidance.extrapolate(_strong, _weak, scale)
    x = guidance.rescale(x, _strong, share)
    x = guidance.between(x, _strong, low, high)
    return x(_zt(), jnp.asarray(TIMES)).x0

  of = functools.partial(jnp.asarray, dtype=jnp.float64)
  one = guided(of(2.0), of(0.0), of(0.0), of(1.0))
  other = guided(of(5.0), of(0.7), of(0.2), of(0.8))
  assert len(traces) == 1
  assert np.abs(one - other).max() > 0.1
