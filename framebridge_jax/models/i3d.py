"""I3D, Inception v1 inflated to video (Carreira & Zisserman 2017).

The network behind FVD (Unterthiner et al. 2018): its 400 logits for the actions
of Kinetics, averaged over time, are the features.  Convolutions and pools are
padded as TensorFlow's SAME; norms are those of inference, without a scale and
with an epsilon of 1e-3.

A convolution over time and space is computed as one over space whose channels
are the frames that it reaches.  The sum is the same, and on a CPU XLA computes
it three to six times faster (benchmarks/results/metrics.md).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

CLASSES = 400
SIDE = 224
LEAST_FRAMES = 10  # fewer leave the last layers next to nothing

Clip = Float[Array, 'b f h w c']
Other = Float[Array, 'b g p q d']  # of other sides and features
Kernel = Float[Array, 'side side side c d']

_EPSILON = 1e-3


class Mixed(NamedTuple):
  """Channels of an Inception block, branch by branch."""

  own: int
  narrow: tuple[int, int]
  wide: tuple[int, int]
  pooled: int


class I3D(nn.Module):
  """Logits of clips.

  Attributes:
    classes: of the last layer.
    shrink: divides all channels, for tests; 1 is the published network.
  """

  classes: int = CLASSES
  shrink: int = 1

  @nn.compact
  def __call__(self, clips: Clip) -> Float[Array, 'b classes']:
    """Logits of clips [b, f, 224, 224, 3] in [-1, 1], averaged over time.

    Raises:
      ValueError: the clips are of fewer than LEAST_FRAMES frames, or of other
        sides.
    """
    frames, sides = clips.shape[1], clips.shape[2:4]
    if frames < LEAST_FRAMES or sides != (SIDE, SIDE):
      raise ValueError(
        f'clips have {frames} frames of {sides[0]} x {sides[1]}; I3D reads '
        f'{LEAST_FRAMES} frames or more of {SIDE} x {SIDE}'
      )
    x = self._unit(64, 7, 2, 'Conv3d_1a')(clips)
    x = _most(x, (1, 3, 3), (1, 2, 2))
    x = self._unit(64, 1, 1, 'Conv3d_2b')(x)
    x = self._unit(192, 3, 1, 'Conv3d_2c')(x)
    x = _most(x, (1, 3, 3), (1, 2, 2))
    for name, channels in BLOCKS.items():
      if name == 'Mixed_4b':
        x = _most(x, (3, 3, 3), (2, 2, 2))
      elif name == 'Mixed_5b':
        x = _most(x, (2, 2, 2), (2, 2, 2))
      x = Block(channels, self.shrink, name=name)(x)
    x = jnp.mean(x, axis=(2, 3))  # its sides are 7, as is the pool's window
    x = (x[:, :-1] + x[:, 1:]) / 2
    return jnp.mean(nn.Dense(self.classes, name='logits')(x), axis=1)

  def _unit(self, features, kernel, stride, name):
    return Unit(features // self.shrink, kernel, stride, name=name)


class Block(nn.Module):
  """Four branches over one input, side by side."""

  channels: Mixed
  shrink: int

  @nn.compact
  def __call__(self, x: Clip) -> Other:
    """What they find, joined."""

    def unit(features, kernel, name):
      return Unit(features // self.shrink, kernel, name=name)

    own, narrow, wide, pooled = self.channels
    branches = [
      unit(own, 1, 'own')(x),
      unit(narrow[1], 3, 'narrow')(unit(narrow[0], 1, 'narrow_in')(x)),
      unit(wide[1], 3, 'wide')(unit(wide[0], 1, 'wide_in')(x)),
      unit(pooled, 1, 'pooled')(_most(x, (3, 3, 3), (1, 1, 1))),
    ]
    return jnp.concatenate(branches, axis=-1)


class Unit(nn.Module):
  """Convolution with a cube, norm and ReLU."""

  features: int
  side: int
  stride: int = 1

  @nn.compact
  def __call__(self, x: Clip) -> Other:
    """Features of every place, or of every `stride`-th."""
    each = (self.features,)
    kernel = self.param(
      'kernel',
      nn.initializers.lecun_normal(),
      (self.side, self.side, self.side, x.shape[-1], self.features),
    )
    mean = self.param('mean', nn.initializers.zeros, each)
    variance = self.param('variance', nn.initializers.ones, each)
    bias = self.param('bias', nn.initializers.zeros, each)
    scale = jax.lax.rsqrt(variance + _EPSILON)
    # One factor more in the kernel costs nothing, one a pixel would.
    x = convolve(x, kernel * scale[None, None, None, None], self.stride)
    shift = bias - mean * scale
    return nn.relu(x + shift[None, None, None, None])


def convolve(x: Clip, kernel: Kernel, stride: int) -> Other:
  """A convolution over time and space, padded as SAME; see the module."""
  frames, taps = x.shape[1], len(kernel)
  left = -(-frames // stride)
  missing = max((left - 1) * stride + taps - frames, 0)
  before = missing // 2
  x = jnp.pad(x, ((0, 0), (before, missing - before), *((0, 0),) * 3))
  reach = (left - 1) * stride + 1
  x = jnp.concatenate(
    [x[:, tap : tap + reach : stride] for tap in range(taps)], axis=-1
  )
  y = jax.lax.conv_general_dilated(
    x.reshape(-1, *x.shape[2:]),
    jnp.concatenate(list(kernel), axis=-2),
    (stride, stride),
    'SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  return y.reshape(x.shape[0], left, *y.shape[1:])


def _most(x, window, stride):
  return nn.max_pool(x, window, stride, 'SAME')


BLOCKS = {
  'Mixed_3b': Mixed(64, (96, 128), (16, 32), 32),
  'Mixed_3c': Mixed(128, (128, 192), (32, 96), 64),
  'Mixed_4b': Mixed(192, (96, 208), (16, 48), 64),
  'Mixed_4c': Mixed(160, (112, 224), (24, 64), 64),
  'Mixed_4d': Mixed(128, (128, 256), (24, 64), 64),
  'Mixed_4e': Mixed(112, (144, 288), (32, 64), 64),
  'Mixed_4f': Mixed(256, (160, 320), (32, 128), 128),
  'Mixed_5b': Mixed(256, (160, 320), (32, 128), 128),
  'Mixed_5c': Mixed(384, (192, 384), (48, 128), 128),
}
