"""The bridge from a prior `zT` to a video `z0`, at per-frame times.

The reference diffusion pinned at both ends has the marginal

  z_t = a z0 + b zT + c eps,   (a, b, c) = schedule.pinned(t, T)         (1)

(FrameBridge Eq. 12).  With `r = alpha_T / alpha_t` and
`v = sigma2_T - r^2 sigma2_t`, the end pulls on its way by

  h = grad_z log p(zT | z_t = z) = r (zT - r z) / v.                     (2)

FrameBridge Eq. 15 prints `h` with the opposite sign and without `r`;
simulated, that drift diverges.

A bridge minus its prior is a diffusion: `y = z_t - b zT = a z0 + c eps`, and
because `b(s; t) b_t = b_s` the pinned step keeps its form on `y`.  Samplers
therefore work on `y` and never see a prior.
"""

import dataclasses

import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import schedules


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bridge:
  """A process between data at t = 0 and a prior at t = T.

  Raises:
    ValueError: the schedule holds no signal at T.
  """

  schedule: schedules.Schedule

  def __post_init__(self):
    if self.schedule.fades_out:
      raise ValueError(
        f'{self.schedule} has alpha = 0 at T, where a bridge would ignore its '
        f'prior; use process diffusion, or a schedule that keeps some signal'
      )

  def marginal(self, t: FrameTime) -> schedules.Coefficients:
    """a, b, c of Eq. 1: exactly (1, 0, 0) at t = 0, (0, 1, 0) at t = T."""
    return self.schedule.pinned(t, jnp.full_like(t, self.schedule.T))

  def time_of_snr(self, snr: FrameTime) -> FrameTime:
    """Time in [0, T] at which a^2 / c^2 = SNR_t - SNR_T is `snr`."""
    end = self.schedule.snr(jnp.full_like(snr, self.schedule.T))
    return self.schedule.inverse_snr(snr + end)

  def h(self, zt: Latents, t: FrameTime, prior: Latents) -> Latents:
    """Gradient of log p(zT | z_t) (Eq. 2); 0 at T, where it is singular."""
    r, v = self.schedule.transition(t, jnp.full_like(t, self.schedule.T))
    r, pull = (arrays.expand_like(x, zt) for x in (r, arrays.safe_divide(r, v)))
    return pull * (prior - r * zt)
