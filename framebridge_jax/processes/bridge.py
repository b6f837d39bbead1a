"""The bridge from a prior `zT` to a video `z0`, at per-frame times.

The reference diffusion pinned at both ends has the marginal

  z_t = a z0 + b zT + c eps,   (a, b, c) = schedule.pinned(t, T)         (1)

(FrameBridge Eq. 12).  With `r = alpha_T / alpha_t` and
`v = sigma2_T - r^2 sigma2_t`, the forward SDE that produces it is

  dz = (f z + g2 h) dt + g dw,   h = r (zT - r z) / v                    (2)

where `h = grad_z log p(zT | z_t = z)`.  FrameBridge Eq. 15 prints `h` with the
opposite sign and without `r`; simulated, that drift diverges.

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
  """A process between data at t = 0 and a prior at t = T."""

  schedule: schedules.Schedule

  def marginal(self, t: FrameTime) -> schedules.Coefficients:
    """a, b, c of Eq. 1: exactly (1, 0, 0) at t = 0, (0, 1, 0) at t = T."""
    return self.schedule.pinned(t, jnp.full_like(t, self.schedule.T))

  def h(self, zt: Latents, t: FrameTime, prior: Latents) -> Latents:
    """Gradient of log p(zT | z_t) (Eq. 2); t < T."""
    r, v = self.schedule.transition(t, jnp.full_like(t, self.schedule.T))
    r, v = (arrays.expand_like(x, zt) for x in (r, v))
    return r * (prior - r * zt) / v

  def drift(self, zt: Latents, t: FrameTime, prior: Latents) -> Latents:
    """Drift of the forward SDE, f z + g2 h (FrameBridge Eq. 4); t < T."""
    f, g2 = (
      arrays.expand_like(x, zt)
      for x in (self.schedule.f(t), self.schedule.g2(t))
    )
    return f * zt + g2 * self.h(zt, t, prior)


def perturb(
  process: Bridge, z0: Latents, prior: Latents, t: FrameTime, eps: Latents
) -> Latents:
  """Draws `z_t` (Eq. 1): training pairs, and the start of every task."""
  a, b, c = (arrays.expand_like(x, z0) for x in process.marginal(t))
  return a * z0 + b * prior + c * eps


PROCESSES = {'bridge': Bridge}
