"""Between pixels and latents.

A codec turns uint8 clips into latents and back, and says which latent frame
holds a pixel frame.  The identity codec's latents are pixels in [-1, 1]; for
a VAE they are what its encoder gives.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax.numpy as jnp

from framebridge_jax.arrays import Latents, Pixels


@runtime_checkable
class Codec(Protocol):
  """A frozen dataclass; both ways are pure and may run under jit."""

  @property
  def shows(self) -> bool:
    """Whether latents can be decoded."""
    ...

  def latent_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
    """Shape [f, h, w, c] of the latents of a square clip."""
    ...

  def frame_map(self, frame: int) -> int:
    """The latent frame that holds a pixel frame."""
    ...

  def encode(self, video: Pixels) -> Latents:
    """Latents of uint8 clips."""
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

  def latent_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
    """The clip's own shape."""
    return frames, size, size, 3

  def frame_map(self, frame: int) -> int:
    """The same frame."""
    return frame

  def encode(self, video: Pixels) -> Latents:
    """Scales to [-1, 1]; `decode` gives every byte back."""
    return jnp.asarray(video, jnp.float32) / 127.5 - 1

  def decode(self, latents: Latents) -> Pixels:
    """Rounds to the nearest byte; what lies outside [-1, 1] is clipped."""
    pixels = jnp.round((latents + 1) * 127.5)
    return jnp.clip(pixels, 0, 255).astype(jnp.uint8)


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

  def latent_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
    """The shape of the autoencoder's latents."""
    return frames, size // self.factor, size // self.factor, self.channels

  def frame_map(self, frame: int) -> int:
    """The same frame: the autoencoder works frame by frame."""
    return frame

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


CODECS = {'identity': Identity, 'cached': Cached}
