"""The time that a network is fed, for a frame at process time t.

Each network was trained on one such map; the denoiser applies it and nobody
else.
"""

import dataclasses

import jax.numpy as jnp

from framebridge_jax.arrays import FrameTime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continuous:
  """`scale t`: networks trained on continuous time in [0, 1]."""

  scale: float = 1000.0

  def __call__(self, t: FrameTime) -> FrameTime:
    """Proportional to t."""
    return self.scale * t


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
  """`entries t - 1`: networks trained on a table, whose first index is 0.

  Real-valued between entries; a clean frame reads as the first.  FrameBridge's
  public code has 1001 here: it stands its 1000 indices at (n + 1) / 1001.
  """

  entries: int = 1000

  def __call__(self, t: FrameTime) -> FrameTime:
    """Index of t, at least 0."""
    return jnp.maximum(self.entries * t - 1, 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogSigma:
  """`log(sigma) / 4` with sigma = t (Karras et al. 2022).

  A clean frame reads as `sigma_min`, the least noise seen in training.
  """

  sigma_min: float = 0.002

  def __post_init__(self):
    if not self.sigma_min > 0:
      raise ValueError(f'sigma_min is {self.sigma_min:g}, want above 0')

  def __call__(self, t: FrameTime) -> FrameTime:
    """Quarter of the log noise level."""
    return jnp.log(jnp.maximum(t, self.sigma_min)) / 4


CLOCKS = {'continuous': Continuous, 'table': Table, 'log_sigma': LogSigma}
