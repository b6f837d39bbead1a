"""Reference schedules: how much signal and noise a frame holds at a time.

A schedule is the diffusion `z_t = alpha z0 + sigma eps` over which a process
is built.  It gives `log_alpha` and `sigma2`; everything else follows.  With

  r = alpha_t / alpha_s,    v = sigma2_t - r^2 sigma2_s                  (1)

the transition is `z_t | z_s = r z_s + sqrt(v) eps`, and the process pinned at
`z0` and at a later point `(t, z_t)` is, at s <= t,

  z_s = a z0 + b z_t + c eps,
  a = alpha_s v / sigma2_t,   b = r sigma2_s / sigma2_t,
  c^2 = v sigma2_s / sigma2_t.                                           (2)

Equation 2 is the bridge's marginal for `t = T` (FrameBridge Eq. 12, whose
division by `alpha_t` it avoids) and its reverse step for any other `t`.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime


class Coefficients(NamedTuple):
  """`z = a z0 + b anchor + c eps`; the anchor is the later end."""

  a: FrameTime
  b: FrameTime
  c: FrameTime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
  """Base of all schedules; times run from 0 (clean) to `T`."""

  T: float = 1.0

  def log_alpha(self, t: FrameTime) -> FrameTime:
    """Log of the signal's scale."""
    raise NotImplementedError

  def sigma2(self, t: FrameTime) -> FrameTime:
    """Variance of the noise; 0 at t = 0."""
    raise NotImplementedError

  def transition(
    self, s: FrameTime, t: FrameTime
  ) -> tuple[FrameTime, FrameTime]:
    """R and v of Eq. 1; override where the difference would cancel."""
    r = jnp.exp(self.log_alpha(t) - self.log_alpha(s))
    return r, self.sigma2(t) - r**2 * self.sigma2(s)

  def alpha(self, t: FrameTime) -> FrameTime:
    """Scale of the signal."""
    return jnp.exp(self.log_alpha(t))

  def sigma(self, t: FrameTime) -> FrameTime:
    """Standard deviation of the noise; its derivative at t = 0 reads 0."""
    return arrays.safe_sqrt(self.sigma2(t))

  def f(self, t: FrameTime) -> FrameTime:
    """Drift of the reference SDE, d log(alpha) / dt."""
    return _derivative(self.log_alpha, t)

  def g2(self, t: FrameTime) -> FrameTime:
    """Squared diffusion coefficient, d sigma^2 / dt - 2 f sigma^2."""
    return _derivative(self.sigma2, t) - 2 * self.f(t) * self.sigma2(t)

  def pinned(self, s: FrameTime, t: FrameTime) -> Coefficients:
    """`z_s` given `z0` and `z_t` for s <= t (Eq. 2).

    Where `s == t` the point does not move: exactly (0, 1, 0).  The ends are
    told by comparing times, because arithmetic leaves a residue there.
    """
    moves = s < t
    t_safe = jnp.where(moves, t, jnp.full_like(t, self.T))
    s_safe = jnp.where(moves, s, jnp.zeros_like(s))
    r, v = self.transition(s_safe, t_safe)
    share = self.sigma2(s_safe) / self.sigma2(t_safe)
    a = self.alpha(s_safe) * v / self.sigma2(t_safe)
    return Coefficients(
      a=jnp.where(moves, a, 0.0),
      b=jnp.where(moves, r * share, 1.0),
      c=jnp.where(moves, arrays.safe_sqrt(v * share), 0.0),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BridgeGmax(Schedule):
  """FrameBridge's schedule: alpha = 1, g2 = b0 + t (b1 - b0) (D.3.1).

  The noise at the end is `sigma2(1) = (b0 + b1) / 2`: 25 in the paper's
  latent space, where data is long; pixels in [-1, 1] want less.
  """

  b0: float = 0.01
  b1: float = 50.0

  def log_alpha(self, t: FrameTime) -> FrameTime:
    """0: the signal keeps its scale."""
    return jnp.zeros_like(t)

  def sigma2(self, t: FrameTime) -> FrameTime:
    """Integral of g2."""
    return t * (self.b0 + 0.5 * (self.b1 - self.b0) * t)

  def transition(
    self, s: FrameTime, t: FrameTime
  ) -> tuple[FrameTime, FrameTime]:
    """Gives r = 1, and v factored so that it does not cancel."""
    v = (t - s) * (self.b0 + 0.5 * (self.b1 - self.b0) * (t + s))
    return jnp.ones_like(v), v


def _derivative(fn, t):
  return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]


SCHEDULES = {'bridge_gmax': BridgeGmax}
