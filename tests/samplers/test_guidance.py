"""Classifier-free guidance is a straight line through two answers."""

import jax.numpy as jnp
import numpy as np
import pytest

from framebridge_jax.samplers import guidance, loop

SHAPE = (2, 3, 2, 2, 1)


def _given(zt, t):
  return loop.Answer(jnp.sin(zt) + t[:, :, None, None, None])


def _null(zt, t):
  return loop.Answer(zt**2 - 3 * t[:, :, None, None, None])


def _answers(scale):
  zt = jnp.linspace(-1.0, 2.0, 24).reshape(SHAPE)
  t = jnp.array([[0.0, 0.2, 1.0], [0.7, 0.7, 0.1]])
  guided = guidance.classifier_free(_given, _null, jnp.asarray(scale))
  z, time = np.asarray(zt), np.asarray(t)[:, :, None, None, None]
  return guided(zt, t).x0, np.sin(z) + time, z**2 - 3 * time


def test_scale_one_is_the_conditional_answer():
  got, given, _ = _answers(1.0)
  np.testing.assert_allclose(got, given, atol=1e-12)


def test_scale_zero_is_the_unconditional_answer():
  got, _, null = _answers(0.0)
  np.testing.assert_allclose(got, null, atol=1e-12)


@pytest.mark.parametrize('scale', [-1.0, 0.25, 7.5])
def test_answer_moves_from_null_to_given_in_proportion_to_scale(scale):
  got, given, null = _answers(scale)
  np.testing.assert_allclose((got - null) / (given - null), scale, rtol=1e-9)
