"""The bridge's end point zT, made of known frames and of noise alone.

A prior is a function `(z0, known, noise) -> zT`.  It may read the known frames
of `z0` and unit noise, and nothing else.  Known frames keep their place.  With
no known frame at all (plain diffusion) it is 0.
"""

from collections.abc import Callable

import einops
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameMask, Latents

PriorFn = Callable[[Latents, FrameMask, Latents], Latents]
FrameIndex = Int[Array, 'b f']


def nearest_known(known: FrameMask) -> FrameIndex:
  """Index of each frame's nearest known frame, the earlier on a tie.

  A known frame is its own nearest; 0 where none is known.
  """
  before, after = _neighbours(known)
  position = jnp.arange(known.shape[1])[None]
  return jnp.where(after - position < position - before, after, before)


def replicate(z0: Latents, known: FrameMask, noise: Latents) -> Latents:
  """Every frame becomes its nearest known frame.

  With the first frame known this is FrameBridge's replicated prior.
  """
  del noise
  return _take(z0, known, nearest_known(known))


def blend(z0: Latents, known: FrameMask, noise: Latents) -> Latents:
  """Between two known neighbours, the straight line from one to the other.

  Before the first and after the last known frame, that frame.
  """
  del noise
  before, after = _neighbours(known)
  position = jnp.arange(known.shape[1])[None]
  gap = (after - before).astype(z0.dtype)
  share = arrays.safe_divide((position - before).astype(z0.dtype), gap)
  share = arrays.expand_like(share, z0)
  first, second = (_take(z0, known, index) for index in (before, after))
  return first + share * (second - first)


def hold_last(z0: Latents, known: FrameMask, noise: Latents) -> Latents:
  """Every frame becomes the known frame before it, or else the first one."""
  del noise
  before, _ = _neighbours(known)
  return _take(z0, known, before)


def gaussian(z0: Latents, known: FrameMask, noise: Latents) -> Latents:
  """Unit noise: a bridge that learns no more from its prior than a diffusion.

  FrameBridge's Table 5 compares with it.
  """
  known = arrays.expand_like(known, z0)
  return jnp.where(known, z0, noise)


def _neighbours(known):
  """Indices of the nearest known frames at or before, and at or after.

  Where there is none on one side, the one of the other side.
  """
  last = known.shape[1] - 1
  position = jnp.broadcast_to(jnp.arange(last + 1), known.shape)
  before = jax.lax.cummax(jnp.where(known, position, -1), axis=1)
  after = jax.lax.cummin(
    jnp.where(known, position, last + 1), axis=1, reverse=True
  )
  none = (before < 0) & (after > last)
  only_before, only_after = after > last, before < 0
  before, after = (
    jnp.where(only_after, after, before),
    jnp.where(only_before, before, after),
  )
  return jnp.where(none, 0, before), jnp.where(none, 0, after)


def _take(z0, known, index):
  """Picks frames; unknown ones read 0, so that none leaks."""
  seen = jnp.where(arrays.expand_like(known, z0), z0, jnp.zeros_like(z0))
  index = einops.rearrange(index, 'b f -> b f 1 1 1')
  return jnp.take_along_axis(seen, index, axis=1)


PRIORS: dict[str, PriorFn] = {
  'replicate': replicate,
  'blend': blend,
  'hold_last': hold_last,
  'gaussian': gaussian,
}
