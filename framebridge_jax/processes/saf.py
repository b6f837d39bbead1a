"""SNR-aligned fine-tuning: a bridge's latent as a teacher's (FrameBridge 4.2).

A teacher denoises `alpha~ z0 + sigma~ eps`.  A bridge's latent less its prior
has the same form at another time,

  z~ = (z_t - b zT) / k = (a/k) z0 + (c/k) eps,
  t~ = SNR~^-1(a^2 / c^2),   a^2 / c^2 = SNR_t - SNR_T,                  (1)
  k = sqrt((a^2 + c^2) / (alpha~^2 + sigma~^2)),   ~ at t~.              (2)

For a teacher of constant variance k is FrameBridge's sqrt(a^2 + c^2) (Eq. 7,
24); Eq. 2 carries it to EDM and flow teachers.  Targets are the teacher's own,
written with the coefficients `a/k` and `c/k` that z~ really holds: those of a
clamped or interpolated `t~` differ from them.

At t = T both a and c vanish.  The limit is pure noise at the teacher's last
time: z~ becomes `sigma~` times fresh noise.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import discrete, schedules, sde, views


@runtime_checkable
class Lookup(Protocol):
  """Finds the teacher's time of an SNR in [0, inf]."""

  def __call__(self, teacher: schedules.Schedule, snr: FrameTime) -> FrameTime:
    """Gives the time [b, f]."""
    ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Own:
  """The schedule's own answer: exact, and for tables linear in SNR."""

  def __call__(self, teacher: schedules.Schedule, snr: FrameTime) -> FrameTime:
    """Clamped to the teacher's times."""
    return teacher.teacher_time(snr)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SnrLinear:
  """Linear in SNR between a table's entries (FrameBridge D.3.1).

  `reach` is by how many entries a time may leave the table; 0 clamps.
  """

  reach: float = 0.0

  def __post_init__(self):
    _check_reach(self.reach)

  def __call__(self, teacher: discrete.Discrete, snr: FrameTime) -> FrameTime:
    """Time (n + 1) / N with a real-valued n."""
    return discrete.time_between_entries(
      snr, discrete.snrs(teacher), self.reach
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AmplitudeLinear:
  """Linear in alpha / sigma between entries, as FrameBridge's public code.

  Beyond the table that code follows no straight line.  It adds the greatest
  `a / c` of the bridge on its grid (`greatest`, 169.1877 there) to the first
  entry, and lets a table that ends above 0 go on to 0 in one more entry.  Where
  `greatest` is 0, times clamp, or leave the table by `reach` as in SnrLinear.
  """

  reach: float = 0.0
  greatest: float = 0.0

  def __post_init__(self):
    _check_reach(self.reach)

  def __call__(self, teacher: discrete.Discrete, snr: FrameTime) -> FrameTime:
    """Time (n + 1) / N with a real-valued n."""
    entries = np.sqrt(discrete.snrs(teacher))
    if self.greatest:
      entries[0] += self.greatest
      entries = entries if entries[-1] == 0 else np.append(entries, 0.0)
    time = discrete.time_between_entries(
      arrays.safe_sqrt(snr), entries, self.reach
    )
    return time * (len(entries) / discrete.ENTRIES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Aligned:
  """The view of a teacher trained on another schedule (Eq. 1 and 2)."""

  teacher: schedules.Schedule
  lookup: Lookup = Own()

  def __call__(
    self,
    process: sde.Process,
    zt: Latents,
    t: FrameTime,
    prior: Latents,
    noise: Latents,
  ) -> views.View:
    """Shows zt at the teacher's time; `noise` is what it sees at T."""
    a, b, c = process.marginal(t)
    silent = (a == 0) & (c == 0)
    t_seen = self._teacher_time(a, c, silent)
    alpha, sigma = self.teacher.alpha(t_seen), self.teacher.sigma(t_seen)
    norm2 = (a**2 + c**2) / (alpha**2 + sigma**2)
    k = jnp.sqrt(jnp.where(silent, jnp.ones_like(norm2), norm2))
    centred = zt - arrays.expand_like(b, zt) * prior
    return views.View(
      z=jnp.where(
        arrays.expand_like(silent, zt),
        arrays.expand_like(sigma, zt) * noise,
        centred / arrays.expand_like(k, zt),
      ),
      t=t_seen,
      alpha=jnp.where(silent, alpha, a / k),
      sigma=jnp.where(silent, sigma, c / k),
      origin=jnp.zeros_like(zt),
    )

  def _teacher_time(self, a, c, silent):
    # Squares of c near t = 0 overflow when divided by.
    clean = c**2 <= 1e-16 * a**2
    ratio = a**2 / jnp.where(clean, jnp.ones_like(c), c**2)
    snr = jnp.where(clean, jnp.inf, ratio)
    return jnp.where(silent, self.teacher.T, self.lookup(self.teacher, snr))


def _check_reach(reach):
  if not reach >= 0:
    raise ValueError(f'reach is {reach:g} entries, want at least 0')


LOOKUPS = {
  'own': Own,
  'snr_linear': SnrLinear,
  'amplitude_linear': AmplitudeLinear,
}
