"""The KL autoencoder: chunks, tiles, moments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from framebridge_jax.models import vae_kl

NETWORK = vae_kl.AutoencoderKL(widths=(8, 8), blocks=1, groups=2)
RNG = np.random.default_rng(0)
FRAMES = jnp.asarray(RNG.normal(size=(5, 12, 20, 3)), jnp.float32)
LATENTS = jnp.asarray(RNG.normal(size=(5, 6, 10, 4)), jnp.float32)


@functools.cache
def _variables():
  make = tiny.quick_jit(NETWORK.init)
  return tiny.shaken(make(jax.random.key(0), FRAMES[:1]))


@functools.partial(
  tiny.quick_jit, static_argnums=0, static_argnames=('chunk', 'tile')
)
def _run(way, variables, x, **options):
  return way(NETWORK, variables, x, **options)


def _encode(frames, **options):
  return _run(vae_kl.encode, _variables(), frames, **options)


def _decode(latents, **options):
  return _run(vae_kl.decode, _variables(), latents, **options)


@pytest.mark.parametrize('chunk', [1, 2, 3])
def test_chunks_change_nothing(chunk):
  """5 frames are not divided by 2 and 3."""
  whole, parted = (_encode(FRAMES, chunk=n) for n in (5, chunk))
  for want, got in zip(whole, parted, strict=True):
    assert np.abs(got - want).max() <= 1e-6 * np.abs(want).max()
  want, got = (_decode(LATENTS, chunk=n) for n in (5, chunk))
  assert np.abs(got - want).max() <= 1e-6 * np.abs(want).max()


def test_a_frame_knows_nothing_of_the_others():
  """Which is why a latent frame holds one pixel frame."""
  changed = FRAMES.at[3].add(1)
  moved = jnp.any(
    _encode(changed, chunk=5).mean != _encode(FRAMES, chunk=5).mean,
    axis=(1, 2, 3),
  )
  assert moved.tolist() == [False, False, False, True, False]


def test_frames_that_fit_in_a_tile_are_not_cut():
  want, got = (_encode(FRAMES, chunk=5, tile=n) for n in (0, 24))
  assert (got.mean == want.mean).all()


def test_memory_is_that_of_a_chunk():
  """Of what the compiled program holds besides its input and output."""

  def temporaries(count, chunk):
    frames = jax.ShapeDtypeStruct((count, 32, 32, 3), np.float32)
    program = _run.lower(vae_kl.encode, _variables(), frames, chunk=chunk)
    return program.compile().memory_analysis().temp_size_in_bytes

  assert temporaries(16, chunk=2) < 0.3 * temporaries(16, chunk=16)
  # Four times the frames: the padded input alone grows.
  grown = temporaries(64, chunk=2) - temporaries(16, chunk=2)
  assert grown <= 2 * 48 * 32 * 32 * 3 * 4


def test_sampled_latents_have_the_moments():
  mean = jnp.array([0.5, -1.0]).reshape(1, 1, 1, 2)
  logvar = jnp.log(jnp.array([0.25, 4.0])).reshape(1, 1, 1, 2)
  noise = RNG.normal(size=(200_000, 1, 1, 2)).astype(np.float32)
  moments = vae_kl.Moments(mean, logvar)
  drawn = jax.vmap(lambda e: moments.sample(e[None])[0])(noise)
  np.testing.assert_allclose(drawn.mean(0)[0, 0], [0.5, -1.0], atol=0.02)
  np.testing.assert_allclose(drawn.std(0)[0, 0], [0.5, 2.0], rtol=0.01)


def test_log_variances_are_clipped_as_in_public_code():
  wild = jax.tree.map(lambda x: 1e4 * x, _variables())
  logvar = _run(vae_kl.encode, wild, FRAMES, chunk=5).logvar
  assert logvar.min() == -30
  assert logvar.max() == 20


def test_half_precision_stays_near_and_gives_float32():
  half = NETWORK.clone(dtype=jnp.bfloat16)
  variables = jax.tree.map(lambda x: x.astype(jnp.bfloat16), _variables())
  encode = tiny.quick_jit(lambda v, x: half.apply(v, x, method='encode'))
  got = encode(variables, FRAMES).mean
  want = _encode(FRAMES, chunk=5).mean
  assert got.dtype == jnp.float32
  assert np.abs(got - want).max() < 0.1 * np.abs(want).max()


@pytest.mark.parametrize(
  ('size', 'tile', 'says'),
  [((12, 15), 0, '12 x 15.*multiples of 2'), ((12, 16), 20, 'tile is 20')],
)
def test_sides_and_tiles_that_do_not_fit_are_refused(size, tile, says):
  frames = jnp.zeros((1, *size, 3))
  with pytest.raises(ValueError, match=says):
    vae_kl.encode(NETWORK, {}, frames, chunk=1, tile=tile)
