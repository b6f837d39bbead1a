"""Codecs: what every one of them promises, and the identity's numbers."""

import os

import autoencoders
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
  'kl': lambda: RNG.integers(0, 256, (2, 4, 64, 64, 3), np.uint8),
  'cached': lambda: jnp.asarray(RNG.normal(size=(2, 4, 8, 8, 4)), jnp.float32),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Where an autoencoder is."""
  path = tmp_path_factory.mktemp('codec')
  autoencoders.save(path / 'vae.safetensors')
  return path


@pytest.fixture
def make(folder):
  """Makes a codec with options."""
  given = {'kl': {'weights': str(folder / 'vae.safetensors')}}
  return lambda name, **options: codec.CODECS[name](
    **{**given.get(name, {}), **options}
  )


@every
def test_latents_have_the_shape_that_the_codec_says(name, make):
  made = make(name)
  latents = made.encode(COMES[name]())
  assert latents.shape == (2, *made.latent_shape(4, 64))
  assert latents.dtype == jnp.float32


@every
def test_every_pixel_frame_lies_in_a_latent_frame_in_order(name, make):
  made = make(name)
  frames = [made.frame_map(i) for i in range(16)]
  assert frames[0] == 0
  assert frames == sorted(frames)
  assert frames[-1] == made.latent_shape(16, 32)[0] - 1


@every
def test_codecs_of_equal_numbers_are_equal(name, make):
  assert make(name) == make(name)
  assert hash(make(name)) == hash(make(name))


@every
def test_what_is_done_ahead_of_a_step_is_part_of_encoding(name, make):
  made, video = make(name), COMES[name]()
  ahead = made.ahead(video)
  assert ahead.dtype == made.ahead_dtype
  assert ahead.shape[1:] == made.latent_shape(4, 64)
  want = made.encode(video)
  np.testing.assert_allclose(jax.jit(made.encode)(ahead), want, atol=2e-7)


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


def test_an_autoencoder_s_latents_are_its_scaled_modes(folder, make):
  """Frame by frame, by the network itself."""
  video = COMES['kl']()[:, :, :16, :16]
  variables = autoencoders.make()
  frames = jnp.asarray(video.reshape(-1, 16, 16, 3), jnp.float32) / 127.5 - 1
  mean = autoencoders.apply(variables, frames, method='encode').mean
  want = 0.18215 * mean.reshape(2, 4, 8, 8, 4)
  got = make('kl', chunk=3).encode(video)
  np.testing.assert_allclose(got, want, atol=2e-6)
  pixels = autoencoders.apply(variables, mean, method='decode')
  shown = make('kl').decode(got).reshape(-1, 16, 16, 3)
  level = np.clip(np.round((np.asarray(pixels) + 1) * 127.5), 0, 255)
  assert np.abs(np.asarray(shown, np.float32) - level).max() <= 1
  assert len(np.unique(shown)) > 100, 'a picture of one colour says nothing'


def test_clips_are_encoded_where_they_are(make):
  """On four devices, with the latents of one; compiled once."""
  mesh = jax.make_mesh((2, 2), ('data', 'fsdp'))
  layout = jax.NamedSharding(mesh, jax.P(('data', 'fsdp')))
  video = RNG.integers(0, 256, (4, 3, 16, 16, 3), np.uint8)
  made = make('kl', chunk=2)
  want = made.ahead(video)
  got = made.ahead(jax.device_put(video, layout))
  assert got.sharding.is_equivalent_to(layout, got.ndim)
  np.testing.assert_allclose(got, want, atol=2e-6)


def test_equal_batches_are_compiled_for_once(make, compilations):
  made = make('kl', chunk=1)
  made.ahead(COMES['kl']()[:, :1, :8, :8])
  before = len(compilations)
  assert before
  make('kl', chunk=1).ahead(COMES['kl']()[:, :1, :8, :8] // 2)
  assert len(compilations) == before


def test_weights_that_change_on_disk_are_read_again(tmp_path, make):
  path = tmp_path / 'vae.safetensors'
  video = COMES['kl']()[:1, :1, :8, :8]
  latents = []
  for seed in (1, 2):
    autoencoders.save(path, seed)
    os.utime(path, (seed, seed))
    latents.append(make('kl', weights=str(path)).encode(video))
  assert np.abs(latents[0] - latents[1]).max() > 1e-3


@pytest.mark.parametrize(
  ('options', 'says'),
  [
    ({'weights': ''}, 'no weight file'),
    ({'weights': 'nowhere.safetensors'}, 'no weight file at nowhere'),
    ({'chunk': 0}, 'chunk is 0, want at least 1'),
    ({'tile': 12}, 'tile is 12, want a multiple of 8'),
  ],
)
def test_an_autoencoder_that_is_not_there_is_told_at_once(make, options, says):
  with pytest.raises(ValueError, match=says):
    make('kl', **options)


def test_weights_of_another_network_are_refused(tmp_path, make):
  path = tmp_path / 'other.safetensors'
  autoencoders.save(path, name='latte_s2')
  with pytest.raises(ValueError, match='holds a latte_s2, want vae_kl'):
    make('kl', weights=str(path))


def test_sides_that_an_autoencoder_cannot_halve_are_refused(make):
  with pytest.raises(ValueError, match='multiples of 2'):
    make('kl').latent_shape(4, 15)
