"""Schedules that hold no signal at T: for diffusion, not for bridges.

`alpha(T) = 0` exactly, so `log_alpha`, `f` and `g2` are infinite there.  A
process pinned at such a `z_T` does not feel it at any t < T (b = 0), so that a
bridge would ignore its prior.
"""

import dataclasses
import math

import jax.numpy as jnp

from framebridge_jax.arrays import FrameTime
from framebridge_jax.processes import schedules


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flow(schedules.Schedule):
  """`alpha = 1 - sigma`; sigma is t, or t pushed towards 1 by `shift`.

  `sigma = shift t / (1 + (shift - 1) t)` (Esser et al. 2024, Eq. 23): a shift
  above 1 spends more of the time at high noise, as large frames want.
  """

  T: float = dataclasses.field(default=1.0, init=False)
  shift: float = 1.0

  @property
  def fades_out(self) -> bool:
    """True: pure noise at T."""
    return True

  def alpha(self, t: FrameTime) -> FrameTime:
    """1 - sigma, without the cancellation."""
    return (1 - t) / self._stretch(t)

  def log_alpha(self, t: FrameTime) -> FrameTime:
    """Log of `alpha`; -inf at T."""
    return jnp.log1p(-t) - jnp.log1p((self.shift - 1) * t)

  def sigma2(self, t: FrameTime) -> FrameTime:
    """Square of the shifted time."""
    return self._shifted(t) ** 2

  def transition(
    self, s: FrameTime, t: FrameTime
  ) -> tuple[FrameTime, FrameTime]:
    """Factors v as (sigma_t - sigma_s)(sigma_t alpha_s + sigma_s alpha_t)."""
    alpha_s, alpha_t = self.alpha(s), self.alpha(t)
    rise = self.shift * (t - s) / (self._stretch(t) * self._stretch(s))
    mixed = self._shifted(t) * alpha_s + self._shifted(s) * alpha_t
    return alpha_t / alpha_s, rise * mixed / alpha_s**2

  def time_of_snr(self, snr: FrameTime) -> FrameTime:
    """Solves (1 - sigma) / sigma = sqrt(snr) and undoes the shift."""
    sigma = 1 / (1 + jnp.sqrt(snr))
    return sigma / (self.shift - (self.shift - 1) * sigma)

  def _stretch(self, t):
    return 1 + (self.shift - 1) * t

  def _shifted(self, t):
    return self.shift * t / self._stretch(t)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine(schedules.Schedule):
  """`alpha = cos(angle) / cos(angle_0)` at constant variance.

  The angle runs evenly from `angle_0 = s / (1 + s) pi / 2` to `pi / 2`, with
  `s = offset` (Nichol & Dhariwal 2021, Eq. 17, without their table's clip).
  """

  T: float = dataclasses.field(default=1.0, init=False)
  offset: float = 0.008

  @property
  def fades_out(self) -> bool:
    """True: pure noise at T."""
    return True

  def alpha(self, t: FrameTime) -> FrameTime:
    """In two forms: one is exactly 1 at t = 0, the other exactly 0 at T."""
    turned = t * self._pace
    early = jnp.cos(turned) - math.tan(self._start) * jnp.sin(turned)
    late = jnp.sin((1 - t) * self._pace) / math.cos(self._start)
    return jnp.where(t < 0.5, early, late)

  def log_alpha(self, t: FrameTime) -> FrameTime:
    """Log of `alpha`; -inf at T."""
    return jnp.log(self.alpha(t))

  def sigma2(self, t: FrameTime) -> FrameTime:
    """1 - alpha^2, as a product of sines."""
    turned = t * self._pace
    product = jnp.sin(turned) * jnp.sin(turned + 2 * self._start)
    return product / math.cos(self._start) ** 2

  def transition(
    self, s: FrameTime, t: FrameTime
  ) -> tuple[FrameTime, FrameTime]:
    """Gives v = 1 - r^2 as a product of sines."""
    left_s, left_t = ((1 - x) * self._pace for x in (s, t))
    # The sum and pi less it have one sine; the smaller one has the digits.
    turned = (s + t) * self._pace + 2 * self._start
    total = jnp.where(s + t < 1, turned, left_s + left_t)
    product = jnp.sin((t - s) * self._pace) * jnp.sin(total)
    return jnp.sin(left_t) / jnp.sin(left_s), product / jnp.sin(left_s) ** 2

  def time_of_snr(self, snr: FrameTime) -> FrameTime:
    """By the tangent of the angle, which is sharp at both ends."""
    alpha = jnp.sqrt(snr / (1 + snr))
    sigma2 = 1 / (1 + snr)
    cosine = alpha * math.cos(self._start)
    sine = jnp.sqrt(sigma2 + (alpha * math.sin(self._start)) ** 2)
    return (jnp.arctan2(sine, cosine) - self._start) / self._pace

  @property
  def _pace(self):
    return math.pi / 2 / (1 + self.offset)

  @property
  def _start(self):
    return self.offset * self._pace
