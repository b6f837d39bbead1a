"""Diffusion: the schedule itself, with no prior.

z_t = alpha z0 + sigma eps                                             (1)
"""

import dataclasses

import jax.numpy as jnp

from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import schedules


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diffusion:
  """A process between data at t = 0 and noise at t = T."""

  schedule: schedules.Schedule

  def marginal(self, t: FrameTime) -> schedules.Coefficients:
    """alpha, 0, sigma of Eq. 1."""
    return schedules.Coefficients(
      self.schedule.alpha(t), jnp.zeros_like(t), self.schedule.sigma(t)
    )

  def time_of_snr(self, snr: FrameTime) -> FrameTime:
    """Time in [0, T] at which alpha^2 / sigma^2 is `snr`."""
    return self.schedule.inverse_snr(snr)

  def h(self, zt: Latents, t: FrameTime, prior: Latents) -> Latents:
    """Zero: nothing pulls towards a prior."""
    del t, prior
    return jnp.zeros_like(zt)
