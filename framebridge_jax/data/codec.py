"""Between pixels and latents.

A codec turns uint8 clips into latents and back, and says which latent frame
holds a pixel frame.  The identity codec's latents are pixels in [-1, 1]; for
a VAE they are what its encoder gives.

Training has a codec do its costly part `ahead`, once a batch and outside the
compiled step, whose program would else hold the weights as constants.
"""

import dataclasses
import functools
from typing import Protocol, runtime_checkable

import einops
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from framebridge_jax import files
from framebridge_jax.arrays import Latents, Pixels
from framebridge_jax.models import vae_kl
from framebridge_jax.porting import encoders

# An autoencoder changes size and channels.
Coded = Float[Array, 'b f p q d']
Shown = UInt8[Array, 'b f p q d']


@runtime_checkable
class Codec(Protocol):
  """A frozen dataclass; all is pure, and `encode` of `ahead` may be jitted."""

  @property
  def shows(self) -> bool:
    """Whether latents can be decoded."""
    ...

  @property
  def ahead_dtype(self) -> np.dtype:
    """Of what `ahead` gives, whose shape is that of the latents."""
    ...

  @property
  def fingerprint(self) -> str:
    """Of the weights that latents depend on; '' without any."""
    ...

  def latent_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
    """Shape [f, h, w, c] of the latents of a square clip."""
    ...

  def frame_map(self, frame: int) -> int:
    """The latent frame that holds a pixel frame."""
    ...

  def ahead(self, video: Pixels) -> Pixels | Latents:
    """What is done to a batch before the step; `encode` does the rest."""
    ...

  def encode(self, video: Pixels | Latents) -> Latents:
    """Latents of uint8 clips, or of what `ahead` made of them."""
    ...

  def decode(self, latents: Latents) -> Pixels:
    """The uint8 clips of latents."""
    ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
  """Latents are RGB pixels scaled from 0..255 to [-1, 1]."""

  @property
  def shows(self) -> bool:
    """True."""
    return True

  @property
  def ahead_dtype(self) -> np.dtype:
    """Bytes."""
    return np.dtype(np.uint8)

  @property
  def fingerprint(self) -> str:
    """None."""
    return ''

  def latent_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
    """The clip's own shape."""
    return frames, size, size, 3

  def frame_map(self, frame: int) -> int:
    """The same frame."""
    return frame

  def ahead(self, video: Pixels) -> Pixels:
    """Nothing: bytes travel best."""
    return video

  def encode(self, video: Pixels) -> Latents:
    """Scales to [-1, 1]; `decode` gives every byte back."""
    return scaled(video)

  def decode(self, latents: Latents) -> Pixels:
    """Rounds to the nearest byte; what lies outside [-1, 1] is clipped."""
    return to_bytes(latents)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cached:
  """Clips are latents already, as an autoencoder made them.

  `factor` is by how much the autoencoder shrinks a side.
  """

  channels: int = 4
  factor: int = 8

  @property
  def shows(self) -> bool:
    """False: the autoencoder is not at hand."""
    return False

  @property
  def ahead_dtype(self) -> np.dtype:
    """That of latents."""
    return np.dtype(np.float32)

  @property
  def fingerprint(self) -> str:
    """None."""
    return ''

  def latent_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
    """The shape of the autoencoder's latents."""
    return frames, size // self.factor, size // self.factor, self.channels

  def frame_map(self, frame: int) -> int:
    """The same frame: the autoencoder works frame by frame."""
    return frame

  def ahead(self, video: Latents | Pixels) -> Latents | Pixels:
    """Nothing."""
    return video

  def encode(self, video: Latents | Pixels) -> Latents:
    """The clips as they come.

    Raises:
      ValueError: they are pixels.
    """
    if video.dtype == jnp.uint8:
      raise ValueError(
        f'clips {video.shape} are pixels (uint8), codec cached wants latents; '
        f'use codec=identity'
      )
    return jnp.asarray(video, jnp.float32)

  def decode(self, latents: Latents) -> Pixels:
    """Refuses.

    Raises:
      ValueError: always: an autoencoder is wanted for pixels.
    """
    raise ValueError(
      f'latents {latents.shape} cannot be shown without their autoencoder'
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class KL:
  """Latents are the mode of a KL autoencoder, frame by frame, scaled.

  Attributes:
    weights: a weight file that `--mode=port` made of an autoencoder.
    chunk: frames in work at a time.
    tile: side in pixels of what is in work of a frame; 0: all of it.
  """

  weights: str = ''
  chunk: int = 8
  tile: int = 0

  def __post_init__(self) -> None:
    """Reads the file's header, no more.

    Raises:
      ValueError: there is no autoencoder, or an option is out of range.
    """
    network = self._network
    if self.chunk < 1:
      raise ValueError(f'chunk is {self.chunk}, want at least 1')
    vae_kl.judge_tile(self.tile, network.factor)

  @property
  def _network(self):
    return encoders.peek(self.weights, ('vae_kl',))

  @property
  def shows(self) -> bool:
    """True."""
    return True

  @property
  def ahead_dtype(self) -> np.dtype:
    """That of latents."""
    return np.dtype(np.float32)

  @property
  def fingerprint(self) -> str:
    """SHA-256 of the weight file."""
    return files.sha256(self.weights)

  def latent_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
    """The autoencoder's.

    Raises:
      ValueError: the size is no multiple of the autoencoder's factor.
    """
    network = self._network
    vae_kl.judge_sides((size, size), network.factor)
    side = size // network.factor
    return frames, side, side, network.channels

  def frame_map(self, frame: int) -> int:
    """The same frame."""
    return frame

  def ahead(self, video: Pixels | Latents) -> Coded:
    """Encodes, on the devices that the clips are on; leaves latents alone."""
    if video.dtype == jnp.uint8:
      return self._run(_encode, jnp.asarray(video))
    return jnp.asarray(video, jnp.float32)

  def encode(self, video: Pixels | Latents) -> Coded:
    """The same: nothing is left to do after `ahead`."""
    return self.ahead(video)

  def decode(self, latents: Latents) -> Shown:
    """Rounds to the nearest byte; what lies outside [-1, 1] is clipped."""
    return self._run(_decode, jnp.asarray(latents))

  def _run(self, way, x):
    """Each device works on its own clips, with a copy of the weights."""
    network, variables = _loaded(self.weights, files.mark(self.weights))
    return _jitted(way, network, x.sharding, self.chunk, self.tile)(
      variables, x
    )


@functools.lru_cache(maxsize=1)
def _loaded(path, changed):
  """An autoencoder that many calls use."""
  del changed  # a file that changed is another one
  encoder = encoders.load(path, ('vae_kl',))
  return encoder.network, encoder.variables


@functools.lru_cache(maxsize=8)
def _jitted(way, network, sharding, chunk, tile):
  def run(variables, x):
    return way(network, variables, x, chunk=chunk, tile=tile)

  if isinstance(sharding, jax.sharding.NamedSharding):
    clips = sharding.spec
    run = jax.shard_map(
      run, mesh=sharding.mesh, in_specs=(jax.P(), clips), out_specs=clips
    )
  return jax.jit(run)


def _encode(network, variables, video, **options):
  frames = einops.rearrange(scaled(video), 'b f h w c -> (b f) h w c')
  mean, _ = vae_kl.encode(network, variables, frames, **options)
  mean = einops.rearrange(mean, '(b f) h w c -> b f h w c', b=len(video))
  return network.scale * mean


def _decode(network, variables, latents, **options):
  z = einops.rearrange(latents / network.scale, 'b f h w c -> (b f) h w c')
  frames = vae_kl.decode(network, variables, z, **options)
  frames = einops.rearrange(frames, '(b f) h w c -> b f h w c', b=len(latents))
  return to_bytes(frames)


def scaled(
  frames: UInt8[Array | np.ndarray, '*lead h w c'],
) -> Float[Array, '*lead h w c']:
  """Bytes to [-1, 1]."""
  return jnp.asarray(frames, jnp.float32) / 127.5 - 1


def to_bytes(
  frames: Float[Array, '*lead h w c'],
) -> UInt8[Array, '*lead h w c']:
  """[-1, 1] to the nearest bytes; what lies outside is clipped."""
  pixels = jnp.round((frames + 1) * 127.5)
  return jnp.clip(pixels, 0, 255).astype(jnp.uint8)


CODECS = {'identity': Identity, 'cached': Cached, 'kl': KL}
