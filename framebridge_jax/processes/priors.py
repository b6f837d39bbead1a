"""The bridge's end point zT, made of known frames and nothing else."""

from collections.abc import Callable

import einops
import jax.numpy as jnp
from jaxtyping import Array, Int

from framebridge_jax.arrays import FrameMask, Latents

PriorFn = Callable[[Latents, FrameMask], Latents]


def nearest_known(known: FrameMask) -> Int[Array, 'b f']:
  """Index of each frame's nearest known frame, the earlier on a tie.

  A known frame is its own nearest; at least one frame must be known.
  """
  position = jnp.arange(known.shape[1])
  distance = jnp.abs(position[:, None] - position[None, :])
  far = jnp.full_like(distance, known.shape[1])
  distance = jnp.where(known[:, None, :], distance[None], far[None])
  return jnp.argmin(distance, axis=-1)


def replicate(z0: Latents, known: FrameMask) -> Latents:
  """Every frame becomes its nearest known frame.

  With the first frame known this is FrameBridge's replicated prior.  Frames
  outside `known` are not read.
  """
  nearest = einops.rearrange(nearest_known(known), 'b f -> b f 1 1 1')
  return jnp.take_along_axis(z0, nearest, axis=1)


PRIORS: dict[str, PriorFn] = {'replicate': replicate}
