"""A small classifier of motion: the judge behind FD-phys.

It sees each frame beside its change from the frame before.  Blocks convolve in
space, then in time; the mean and the spread over all places are its features.
"""

from typing import NamedTuple

import einops
import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

SIDE = 32  # of the clips that the shipped one was trained on

_EPSILON = 1e-5
_TAPS = 3  # frames that a convolution in time reaches


class Read(NamedTuple):
  """What the network makes of clips."""

  logits: Float[Array, 'b classes']
  features: Float[Array, 'b d']


class MotionReader(nn.Module):
  """Class scores of clips, and the features that they are made of.

  Attributes:
    widths: channels of the blocks; each halves the side, and each but the last
      halves the number of frames.
    classes: kinds of motion.
  """

  widths: tuple[int, ...] = (48, 96, 160)
  classes: int = 10

  @nn.compact
  def __call__(self, clips: Float[Array, 'b f h w c']) -> Read:
    """Reads clips in [-1, 1]; features are [b, 2 * widths[-1]]."""
    change = jnp.diff(clips, axis=1, prepend=clips[:, :1])
    x = jnp.concatenate([clips, change], axis=-1)
    for i, width in enumerate(self.widths):
      frames = einops.rearrange(x, 'b f h w c -> (b f) h w c')
      frames = nn.Conv(width, (3, 3), strides=2, name=f'space_{i}')(frames)
      x = einops.rearrange(frames, '(b f) h w c -> b f h w c', b=len(clips))
      stride = 1 if i == len(self.widths) - 1 else 2
      x = nn.Dense(width, name=f'time_{i}')(_neighbours(x, stride))
      x = nn.silu(nn.GroupNorm(num_groups=8, name=f'norm_{i}')(x))
    x = einops.rearrange(x, 'b f h w c -> b (f h w) c')
    # The root of a variance of exactly 0 has no slope.
    spread = jnp.sqrt(jnp.var(x, axis=1) + _EPSILON)
    features = jnp.concatenate([jnp.mean(x, axis=1), spread], axis=-1)
    return Read(nn.Dense(self.classes, name='logits')(features), features)


def _neighbours(x, stride):
  """Channels of each frame and those beside it; zeros beyond the ends.

  A layer over them is a convolution in time, in the form that XLA computes
  fastest on a CPU.
  """
  frames = x.shape[1]
  x = jnp.pad(x, ((0, 0), (1, 1), *((0, 0),) * 3))
  return jnp.concatenate(
    [x[:, tap : tap + frames : stride] for tap in range(_TAPS)], axis=-1
  )
