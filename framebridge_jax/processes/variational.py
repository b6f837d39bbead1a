"""Learned variances, and the variational bound that trains them.

A network may answer, besides x0_hat, with a `spread` in [0, 1]: where the
variance of a reverse step from t to s stands between the two that are right
for point data and, over a schedule of constant variance, for unit Gaussians,

  log variance = spread log v + (1 - spread) log c^2,                    (1)

with v of the transition and c of the pinned step (Nichol & Dhariwal 2021,
Eq. 15).  Both steps have the mean `a x0_hat + b z_t`, so their divergence is

  KL = (log(variance / c^2) + (c^2 + a^2 |x0 - x0_hat|^2) / variance - 1) / 2,
                                                                         (2)

and the last step, to s = 0, is scored by the likelihood of z0 in its bin of
`width` (Ho et al. 2020, Eq. 13).  At s = 0, where c = 0, Eq. 1 reads the next
table entry's c.
"""

import jax
import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import schedules


def log_variance(
  schedule: schedules.Schedule, s: FrameTime, t: FrameTime, spread: Latents
) -> Latents:
  """Eq. 1, for 0 <= s < t; at s = 0 with c of the step from 2t to t.

  Beyond T / 2, where there is no such step, of the one from t to t / 2.
  """
  _, v = schedule.transition(s, t)
  # At s = 0 c vanishes, and that of the step before stands in.
  scale = jnp.where(2 * t <= schedule.T, 2.0, 1.0)
  at = jnp.where(s > 0, s, t * scale / 2)
  after = jnp.where(s > 0, t, t * scale)
  low = 2 * jnp.log(schedule.pinned(at, after).c)
  low, high = (arrays.expand_like(x, spread) for x in (low, jnp.log(v)))
  return spread * high + (1 - spread) * low


def bound(
  schedule: schedules.Schedule,
  s: FrameTime,
  t: FrameTime,
  *,
  z0: Latents,
  x0_hat: Latents,
  spread: Latents,
  width: float = 2 / 255,
) -> Latents:
  """Terms of the variational bound in nats an entry, for 0 <= s < t.

  Args:
    schedule: of the process.
    s: where each frame's step ends [b, f].
    t: where it begins.
    z0: clean latents; at s = 0 they are taken to stand in [-1, 1].
    x0_hat: the answer; stop its gradient to train the spread alone.
    spread: in [0, 1].
    width: of the bins that z0's entries are rounded to.
  """
  log_var = log_variance(schedule, s, t, spread)
  a, _, c = (arrays.expand_like(x, z0) for x in schedule.pinned(s, t))
  log_c2 = 2 * jnp.log(jnp.where(c > 0, c, jnp.ones_like(c)))
  apart = (a * (z0 - x0_hat)) ** 2
  divergence = 0.5 * (log_var - log_c2 - 1 + (c**2 + apart) * jnp.exp(-log_var))
  likelihood = _log_bin(z0, x0_hat, jnp.exp(0.5 * log_var), width)
  return jnp.where(arrays.expand_like(s == 0, z0), -likelihood, divergence)


def _log_bin(z0, mean, std, width):
  """Log probability of z0's bin; the outer bins reach to infinity."""
  below = jax.scipy.stats.norm.cdf((z0 - mean - width / 2) / std)
  above = jax.scipy.stats.norm.cdf((z0 - mean + width / 2) / std)
  below = jnp.where(z0 < -1 + width / 2, 0.0, below)
  above = jnp.where(z0 > 1 - width / 2, 1.0, above)
  return jnp.log(jnp.maximum(above - below, _LEAST))


_LEAST = 1e-12  # of a bin's probability
