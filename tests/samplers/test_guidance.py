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


def _both(zt, t, scale=7.5):
  """The guided answer, and the strong one that it was made of."""
  strong = _strong(zt, t)
  guided = guidance.extrapolate(strong, _weak(zt, t), jnp.asarray(scale))
  return guided, strong


def _answers(scale):
  zt, t = _zt(), jnp.asarray(TIMES)
  z, time = np.asarray(zt), TIMES[:, :, None, None, None]
  return _both(zt, t, scale)[0].x0, np.sin(z) + time, z**2 - 3 * time


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


def _guided(both, strong):
  """What each kind of guidance makes of the answers."""
  zt, t, one = _zt(), jnp.asarray(TIMES), jnp.asarray(1.0)
  answer, own = both(zt, t)
  return {
    'extrapolate': answer,
    'rescale': guidance.rescale(answer, own, jnp.asarray(0.7)),
    'between': guidance.between(both, strong, 0 * one, one)(zt, t),
  }


KINDS = ['extrapolate', 'rescale', 'between']


@pytest.mark.parametrize('name', KINDS)
def test_learned_variance_is_the_strong_answers(name):
  answer = _guided(_both, _strong)[name]
  np.testing.assert_allclose(answer.spread, np.cos(_zt()), rtol=1e-12)


@pytest.mark.parametrize('name', KINDS)
def test_no_learned_variance_stays_none(name):
  def strong(zt, t):
    return loop.Answer(_strong(zt, t).x0)

  def both(zt, t):
    one, weak = strong(zt, t), _weak(zt, t)
    return guidance.extrapolate(one, weak, jnp.asarray(2.0)), one

  assert _guided(both, strong)[name].spread is None


def _contrast(x):
  """Standard deviation of each frame."""
  return np.array([[np.std(frame) for frame in clip] for clip in np.asarray(x)])


@pytest.mark.parametrize('share', [0.0, 0.7, 1.0])
def test_rescaled_contrast_is_lins_mixture(share):
  """Lin et al. 2024, Eq. 15-16: phi x std_strong / std + (1 - phi) x."""
  zt, t = _zt(), jnp.asarray(TIMES)
  answer, own = _both(zt, t)
  x, strong = np.asarray(answer.x0), np.asarray(own.x0)
  factor = (_contrast(strong) / _contrast(x))[:, :, None, None, None]
  got = guidance.rescale(answer, own, jnp.asarray(share)).x0
  want = share * x * factor + (1 - share) * x
  np.testing.assert_allclose(got, want, rtol=1e-10)
  if share == 1:
    np.testing.assert_allclose(_contrast(got), _contrast(strong), rtol=1e-10)


def test_a_flat_answer_is_not_divided_by_its_contrast():
  flat = loop.Answer(jnp.full(SHAPE, 0.5))
  strong = _strong(_zt(), jnp.asarray(TIMES))
  x0 = guidance.rescale(flat, strong, jnp.asarray(1.0)).x0
  np.testing.assert_array_equal(x0, np.full(SHAPE, 0.5))


def test_only_frames_inside_the_interval_are_guided():
  """Its ends belong to it; the others have the strong answer to the bit."""
  zt, t = _zt(), jnp.asarray(TIMES)
  low, high = jnp.asarray(0.2), jnp.asarray(0.7)
  got = guidance.between(_both, _strong, low, high)(zt, t).x0
  inside = (TIMES >= 0.2) & (TIMES <= 0.7)
  assert inside.sum() == 3
  strong, guided = _strong(zt, t).x0, _both(zt, t)[0].x0
  np.testing.assert_array_equal(got[~inside], strong[~inside])
  np.testing.assert_allclose(got[inside], guided[inside], rtol=1e-12)


@pytest.mark.parametrize(
  ('low', 'high', 'calls'), [(0.15, 0.5, 1), (0.75, 0.95, 0), (2.0, 3.0, 0)]
)
def test_the_weak_denoiser_is_not_asked_where_no_frame_is_guided(
  low, high, calls
):
  asked = []

  def both(zt, t):
    jax.debug.callback(lambda: asked.append(1))
    return _both(zt, t)

  limited = guidance.between(both, _strong, jnp.asarray(low), jnp.asarray(high))
  answer = jax.jit(limited)(_zt(), jnp.asarray(TIMES))
  jax.block_until_ready(answer)
  jax.effects_barrier()
  assert len(asked) == calls


def test_history_guidance_hides_known_frames_at_the_end_of_time():
  """Shown in their place: what holds nothing of them, at T."""
  known = np.array([[True, False, False], [False, True, False]])
  zt, t, shown = _zt(), jnp.asarray(TIMES), 100 + _zt()
  z, time = guidance.forget(zt, t, jnp.asarray(known), shown, jnp.asarray(80.0))
  np.testing.assert_array_equal(z[known], shown[known])
  np.testing.assert_array_equal(z[~known], zt[~known])
  np.testing.assert_array_equal(time, np.where(known, 80.0, TIMES))


def test_scales_are_arguments_that_do_not_trace_again():
  traces = []

  @jax.jit
  def guided(scale, share, low, high):
    traces.append(1)

    def both(zt, t):
      x, strong = _both(zt, t, scale)
      return guidance.rescale(x, strong, share), strong

    limited = guidance.between(both, _strong, low, high)
    return limited(_zt(), jnp.asarray(TIMES)).x0

  of = functools.partial(jnp.asarray, dtype=jnp.float64)
  one = guided(of(2.0), of(0.0), of(0.0), of(1.0))
  other = guided(of(5.0), of(0.7), of(0.2), of(0.8))
  assert len(traces) == 1
  assert np.abs(one - other).max() > 0.1
