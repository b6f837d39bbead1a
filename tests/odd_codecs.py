"""Codecs for tests: one whose latents hold several frames, one that counts."""

import dataclasses

import einops
import jax.numpy as jnp
import numpy as np

from framebridge_jax.data import codec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Causal(codec.Identity):
  """The first latent holds one frame, each other one two, on channels.

  As causal 3-D autoencoders do, and without any loss.
  """

  def latent_shape(self, frames, size):
    """Half as many frames, twice as many channels."""
    return 1 + frames // 2, size, size, 6

  def frame_map(self, frame):
    """1 + 2 + 2 + ..."""
    return (frame + 1) // 2

  def encode(self, video):
    """Pairs go on channels; the first frame makes a pair with itself."""
    video = codec.scaled(video)
    video = jnp.concatenate([video[:, :1], video], axis=1)
    return einops.rearrange(video, 'b (f two) h w c -> b f h w (two c)', two=2)

  def decode(self, latents):
    """Every byte back."""
    video = einops.rearrange(
      latents, 'b f h w (two c) -> b (f two) h w c', two=2
    )
    return codec.to_bytes(video[:, 1:])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counting(codec.Identity):
  """The identity, which keeps the shapes that it was asked to encode."""

  encoded: list = dataclasses.field(default_factory=list, compare=False)
  decoded: list = dataclasses.field(default_factory=list, compare=False)

  def encode(self, video):
    """Scales."""
    self.encoded.append(np.shape(video))
    return super().encode(video)

  def decode(self, latents):
    """Rounds."""
    self.decoded.append(np.shape(latents))
    return super().decode(latents)
