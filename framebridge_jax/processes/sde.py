"""What every process has: its pairs, its score and its equations of motion.

With the drift `f`, the diffusion `g2` and the pull `h` of the process's end
(0 for a diffusion), the process solves

  dz = (f z + g2 h) dt + g dw                       forward SDE          (1)
  dz = (f z - g2 (score - h)) dt + g dw             reverse SDE          (2)
  dz = (f z - g2 (score / 2 - h)) dt                probability flow     (3)

where the last two run from T to 0 and the score is that of
`q(z_t | z0 = x0_hat, zT)`,

  score = -(z_t - a x0_hat - b zT) / c^2.                                (4)

Equation 1 is FrameBridge Eq. 4 (an ordinary Wiener process; the bar over its
w is a slip), 2 and 3 are its reverse and DDBM's flow.  FVDM Eq. 10 puts the
factor 1/2 of Eq. 3 into Eq. 2; simulated, that has too little noise.
"""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import schedules


@runtime_checkable
class Process(Protocol):
  """`z_t = a z0 + b prior + c eps`, and the pull of its end."""

  schedule: schedules.Schedule

  def marginal(self, t: FrameTime) -> schedules.Coefficients:
    """a, b and c at per-frame times."""
    ...

  def time_of_snr(self, snr: FrameTime) -> FrameTime:
    """Time in [0, T] at which a^2 / c^2 is `snr`."""
    ...

  def h(self, zt: Latents, t: FrameTime, prior: Latents) -> Latents:
    """Gradient of log p(prior | z_t); 0 without a prior."""
    ...


def perturb(
  process: Process, z0: Latents, prior: Latents, t: FrameTime, eps: Latents
) -> Latents:
  """Draws `z_t`: training pairs, and the start of every task.

  Raises:
    ValueError: an argument has another shape, or does not hold numbers.
  """
  arrays.require('z0', z0, 'floating', arrays.CLIPS)
  arrays.require('prior', prior, 'floating', z0.shape)
  arrays.require('t', t, 'floating', z0.shape[:2])
  arrays.require('eps', eps, 'floating', z0.shape)
  a, b, c = (arrays.expand_like(x, z0) for x in process.marginal(t))
  # What stands where there is no noise, NaN included, has no say.
  eps = jnp.where(c == 0, jnp.zeros_like(eps), eps)
  return a * z0 + b * prior + c * eps


def score(
  process: Process, zt: Latents, t: FrameTime, x0_hat: Latents, prior: Latents
) -> Latents:
  """Eq. 4; reads 0 where `c = 0` (t = 0, and T of a bridge)."""
  a, b, c = process.marginal(t)
  gain = arrays.expand_like(arrays.safe_divide(-jnp.ones_like(c), c**2), zt)
  a, b = (arrays.expand_like(x, zt) for x in (a, b))
  return gain * (zt - a * x0_hat - b * prior)


def forward_drift(
  process: Process, zt: Latents, t: FrameTime, prior: Latents
) -> Latents:
  """Drift of Eq. 1."""
  f, g2 = _rates(process, zt, t)
  return f * zt + g2 * process.h(zt, t, prior)


def reverse_drift(
  process: Process, zt: Latents, t: FrameTime, x0_hat: Latents, prior: Latents
) -> Latents:
  """Drift of Eq. 2, per unit of forward time."""
  f, g2 = _rates(process, zt, t)
  pull = process.h(zt, t, prior) - score(process, zt, t, x0_hat, prior)
  return f * zt + g2 * pull


def flow(
  process: Process, zt: Latents, t: FrameTime, x0_hat: Latents, prior: Latents
) -> Latents:
  """Velocity of Eq. 3, per unit of forward time."""
  f, g2 = _rates(process, zt, t)
  pull = process.h(zt, t, prior) - score(process, zt, t, x0_hat, prior) / 2
  return f * zt + g2 * pull


def _rates(process, zt, t):
  schedule = process.schedule
  return (arrays.expand_like(x, zt) for x in (schedule.f(t), schedule.g2(t)))
