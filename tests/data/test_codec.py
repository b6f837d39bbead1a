"""Codecs: what every one of them promises, and the identity's numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from framebridge_jax.data import codec

every = pytest.mark.parametrize('name', codec.CODECS)
IDENTITY = codec.Identity()


RNG = np.random.default_rng(0)
# What each codec is given for two clips of 4 frames of 64 x 64 pixels.
COMES = {
  'identity': lambda: RNG.integers(0, 256, (2, 4, 64, 64, 3), np.uint8),
  'cached': lambda: jnp.asarray(RNG.normal(size=(2, 4, 8, 8, 4)), jnp.float32),
}


@every
def test_latents_have_the_shape_that_the_codec_says(name):
  made = codec.CODECS[name]()
  latents = made.encode(COMES[name]())
  assert latents.shape == (2, *made.latent_shape(4, 64))
  assert latents.dtype == jnp.float32


@every
def test_every_pixel_frame_lies_in_a_latent_frame_in_order(name):
  made = codec.CODECS[name]()
  frames = [made.frame_map(i) for i in range(16)]
  assert frames[0] == 0
  assert frames == sorted(frames)
  assert frames[-1] == made.latent_shape(16, 32)[0] - 1


@every
def test_codecs_of_equal_numbers_are_equal(name):
  assert codec.CODECS[name]() == codec.CODECS[name]()
  assert hash(codec.CODECS[name]()) == hash(codec.CODECS[name]())


def test_the_identity_gives_every_byte_back():
  video = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16, 1)
  video = video.repeat(3, axis=-1)
  for decode in (IDENTITY.decode, jax.jit(IDENTITY.decode)):
    got = decode(IDENTITY.encode(video))
    assert got.dtype == jnp.uint8
    np.testing.assert_array_equal(got, video)


def test_the_identity_s_latents_run_from_minus_one_to_one():
  video = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 1, 3)
  latents = np.asarray(IDENTITY.encode(video)).ravel()
  np.testing.assert_allclose(latents, [-1, -0.6, 1], atol=1e-7)


def test_decoding_rounds_to_the_nearest_byte_and_clips():
  level = np.array([-1.7, -1.0, 0.4 / 127.5 - 1, 0.6 / 127.5 - 1, 1.0, 3.0])
  latents = jnp.asarray(level.reshape(1, 1, 2, 1, 3), jnp.float32)
  pixels = np.asarray(IDENTITY.decode(latents)).ravel()
  np.testing.assert_array_equal(pixels, [0, 0, 0, 1, 255, 255])


def test_the_identity_s_pixel_frames_are_its_latent_frames():
  assert [IDENTITY.frame_map(i) for i in range(16)] == list(range(16))


def test_cached_latents_are_taken_as_they_are():
  latents = COMES['cached']()
  np.testing.assert_array_equal(codec.Cached().encode(latents), latents)
  halves = latents.astype(jnp.bfloat16)
  assert codec.Cached().encode(halves).dtype == jnp.float32


def test_cached_latents_have_the_channels_and_the_side_of_their_autoencoder():
  assert codec.Cached().latent_shape(16, 256) == (16, 32, 32, 4)
  made = codec.Cached(channels=16, factor=4)
  assert made.latent_shape(16, 256) == (16, 64, 64, 16)


def test_cached_latents_cannot_be_shown():
  with pytest.raises(ValueError, match=r'\(2, 4, 8, 8, 4\).*autoencoder'):
    codec.Cached().decode(COMES['cached']())
