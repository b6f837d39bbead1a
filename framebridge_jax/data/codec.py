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


CODECS = {'identity': Identity}
