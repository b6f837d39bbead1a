"""Priors are made of known frames and of noise alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from framebridge_jax.processes import priors

every = pytest.mark.parametrize('name', priors.PRIORS)
KNOWN = np.array(
  [
    [1, 0, 0, 0, 1],
    [0, 1, 0, 1, 0],
    [0, 0, 0, 0, 1],
    [1, 1, 0, 0, 0],
    [0, 0, 0, 0, 0],
  ],
  bool,
)
NONE = 4  # the sample without a known frame


def _clips():
  """Clips whose frame i holds 10 * sample + i, plus a pixel's 0.1s."""
  base = 10 * np.arange(5)[:, None] + np.arange(5)
  pixel = 0.1 * np.arange(6).reshape(2, 3, 1)
  return base[:, :, None, None, None] + pixel


def _noise():
  return jnp.asarray(np.random.default_rng(0).normal(size=_clips().shape))


def _prior(name, z0, noise=None):
  noise = _noise() if noise is None else noise
  return priors.PRIORS[name](jnp.asarray(z0), jnp.asarray(KNOWN), noise)


@every
def test_prior_does_not_read_unknown_frames(name):
  z0 = _clips()
  spoiled = np.where(KNOWN[:, :, None, None, None], z0, np.nan)
  got = _prior(name, spoiled)
  assert np.isfinite(got).all()
  np.testing.assert_array_equal(got, _prior(name, z0))


@every
def test_prior_gradient_reaches_known_frames_only(name):
  """Of unknown frames there is none, not even NaN where they are NaN."""
  spoiled = np.where(KNOWN[:, :, None, None, None], _clips() + 1, np.nan)
  grad = np.asarray(
    jax.grad(lambda z: jnp.sum(_prior(name, z) ** 2))(jnp.asarray(spoiled))
  )
  assert np.isfinite(grad).all()
  touched = (grad != 0).any(axis=(2, 3, 4))
  np.testing.assert_array_equal(touched, KNOWN)


@every
def test_prior_keeps_known_frames(name):
  got = np.asarray(_prior(name, _clips()))
  np.testing.assert_array_equal(got[KNOWN], _clips()[KNOWN])


@every
def test_prior_without_a_known_frame_is_zero_or_the_noise(name):
  got = _prior(name, _clips())[NONE]
  want = _noise()[NONE] if name == 'gaussian' else np.zeros_like(got)
  np.testing.assert_array_equal(got, want)


@every
def test_only_the_gaussian_prior_reads_the_noise(name):
  z0 = _clips()
  changed = _prior(name, z0, 1 + _noise()) != _prior(name, z0)
  where = np.asarray(changed).all(axis=(2, 3, 4))
  want = ~KNOWN if name == 'gaussian' else np.zeros_like(KNOWN)
  np.testing.assert_array_equal(where, want)
  np.testing.assert_array_equal(np.asarray(changed).any(axis=(2, 3, 4)), want)


def test_gaussian_is_the_noise_wherever_nothing_is_known():
  got = np.asarray(_prior('gaussian', _clips()))
  np.testing.assert_array_equal(got[~KNOWN], np.asarray(_noise())[~KNOWN])


# Which frame each frame takes, sample by sample.
TAKEN = {
  'replicate': [[0, 0, 0, 4, 4], [1, 1, 1, 3, 3], [4] * 5, [0, 1, 1, 1, 1]],
  'hold_last': [[0, 0, 0, 0, 4], [1, 1, 1, 3, 3], [4] * 5, [0, 1, 1, 1, 1]],
}


@pytest.mark.parametrize('name', TAKEN)
def test_each_frame_takes_its_nearest_or_its_last_known_frame(name):
  """Replicate: the earlier on a tie.  Hold-last: before any, the first."""
  z0 = _clips()
  want = np.stack(
    [clip[i] for clip, i in zip(z0[:NONE], TAKEN[name], strict=True)]
  )
  np.testing.assert_array_equal(_prior(name, z0)[:NONE], want)


def test_blend_is_the_straight_line_between_known_neighbours():
  """Ends are held; each clip's known frames get values of their own."""
  rng = np.random.default_rng(1)
  z0 = rng.normal(size=_clips().shape)
  got = np.asarray(_prior('blend', z0))
  for clip in range(NONE):
    known = np.flatnonzero(KNOWN[clip])
    flat = z0[clip].reshape(5, -1)
    want = np.stack(
      [np.interp(np.arange(5), known, pixel[known]) for pixel in flat.T], 1
    )
    np.testing.assert_allclose(got[clip].reshape(5, -1), want, atol=1e-12)


def test_replicate_from_the_first_frame_is_framebridge_s_prior():
  z0 = jnp.asarray(_clips())
  known = jnp.zeros((5, 5), bool).at[:, 0].set(True)
  got = priors.replicate(z0, known, _noise())
  np.testing.assert_array_equal(got, jnp.repeat(z0[:, :1], 5, axis=1))
