"""Priors are made of known frames and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from framebridge_jax.processes import priors

every = pytest.mark.parametrize('name', priors.PRIORS)
KNOWN = np.array(
  [[1, 0, 0, 0, 1], [0, 1, 0, 1, 0], [0, 0, 0, 0, 1], [1, 1, 0, 0, 0]], bool
)


def _clips():
  """Clips whose frame i holds 10 * sample + i, plus a pixel's 0.1s."""
  base = 10 * np.arange(4)[:, None] + np.arange(5)
  pixel = 0.1 * np.arange(6).reshape(2, 3, 1)
  return base[:, :, None, None, None] + pixel


@every
def test_prior_does_not_read_unknown_frames(name):
  prior = priors.PRIORS[name]
  z0, known = _clips(), jnp.asarray(KNOWN)
  spoiled = np.where(KNOWN[:, :, None, None, None], z0, np.nan)
  want = prior(jnp.asarray(z0), known)
  got = prior(jnp.asarray(spoiled), known)
  assert np.isfinite(got).all()
  np.testing.assert_array_equal(got, want)


@every
def test_prior_gradient_reaches_known_frames_only(name):
  prior = priors.PRIORS[name]
  grad = jax.grad(lambda z: jnp.sum(prior(z, jnp.asarray(KNOWN)) ** 2))(
    jnp.asarray(_clips() + 1)
  )
  touched = (np.asarray(grad) != 0).any(axis=(2, 3, 4))
  np.testing.assert_array_equal(touched, KNOWN)


@every
def test_prior_keeps_known_frames(name):
  z0 = _clips()
  got = np.asarray(priors.PRIORS[name](jnp.asarray(z0), jnp.asarray(KNOWN)))
  np.testing.assert_array_equal(got[KNOWN], z0[KNOWN])


def test_replicate_takes_the_nearest_known_frame_the_earlier_on_a_tie():
  nearest = np.array(
    [[0, 0, 0, 4, 4], [1, 1, 1, 3, 3], [4, 4, 4, 4, 4], [0, 1, 1, 1, 1]]
  )
  z0 = _clips()
  got = priors.replicate(jnp.asarray(z0), jnp.asarray(KNOWN))
  want = np.stack([clip[i] for clip, i in zip(z0, nearest, strict=True)])
  np.testing.assert_array_equal(got, want)
