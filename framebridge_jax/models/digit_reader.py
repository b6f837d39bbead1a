"""A small convolutional reader of digits: the judge of generated clips."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class DigitReader(nn.Module):
  """Class scores of single frames, wherever the digit stands.

  Attributes:
    widths: channels of the stages; each after the first halves the side.
    classes: number of digits.
  """

  widths: tuple[int, ...] = (24, 48, 96)
  classes: int = 10

  @nn.compact
  def __call__(
    self, frames: Float[Array, 'n h w c']
  ) -> Float[Array, 'n classes']:
    """Logits of frames in [-1, 1]."""
    x = frames
    for stage, width in enumerate(self.widths):
      stride = 1 if stage == 0 else 2
      x = nn.Conv(width, (3, 3), strides=stride)(x)
      x = nn.silu(nn.GroupNorm(num_groups=8)(x))
      x = nn.Conv(width, (3, 3))(x)
      x = nn.silu(nn.GroupNorm(num_groups=8)(x))
    x = jnp.max(x, axis=(1, 2))
    return nn.Dense(self.classes)(x)
