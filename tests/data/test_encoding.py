"""Moments for a cache: those of the autoencoder, on any number of devices."""

import autoencoders
import numpy as np
import pytest

from framebridge_jax.data import codec, encoding
from framebridge_jax.porting import encoders

FRAMES = np.random.default_rng(0).integers(0, 256, (11, 16, 16, 3), np.uint8)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  path = tmp_path_factory.mktemp('encoding') / 'vae.safetensors'
  autoencoders.save(path)
  return path


def _encode(path, **changes):
  encoder = encoders.load(path, ('vae_kl',))
  how = {'chunk': 1, 'tile': 0, 'moments': True, 'dtype': np.dtype('f4')}
  return encoding.make_encode(encoder, **{**how, **changes})


def test_a_cache_holds_what_encoding_directly_gives(path, compilations):
  """Eleven frames on four devices: some wait, and one stands in for many."""
  encode = _encode(path)
  found = encode(FRAMES)
  assert found['mean'].shape == found['logvar'].shape == (11, 8, 8, 4)
  direct = codec.KL(weights=str(path)).encode(FRAMES[None])[0]
  scale = autoencoders.NETWORK.scale
  np.testing.assert_allclose(scale * found['mean'], direct, atol=2e-6)
  before = len(compilations)
  again = encode(FRAMES[:3])
  assert len(compilations) == before
  np.testing.assert_allclose(again['mean'], found['mean'][:3], atol=2e-6)


def test_the_log_variance_is_the_network_s(path):
  frames = codec.scaled(FRAMES)
  want = autoencoders.apply(autoencoders.make(), frames, method='encode')
  got = _encode(path, chunk=2)(FRAMES)
  np.testing.assert_allclose(got['logvar'], want.logvar, atol=1e-4)


def test_modes_in_half_precision_are_a_quarter(path):
  whole = _encode(path)(FRAMES)
  half = _encode(path, moments=False, dtype=np.dtype('f2'))(FRAMES)
  assert list(half) == ['mean']
  assert half['mean'].dtype == np.float16
  np.testing.assert_allclose(half['mean'], whole['mean'], rtol=1e-3, atol=1e-3)
