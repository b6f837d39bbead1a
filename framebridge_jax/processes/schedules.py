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

Each schedule factors its own `v`, because the difference in Eq. 1 cancels: in
float32 a subtraction leaves `a` two digits at `t = T - 1e-6`.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime

Transition = tuple[FrameTime, FrameTime]


class Coefficients(NamedTuple):
  """`z = a z0 + b anchor + c eps`; the anchor is the later end."""

  a: FrameTime
  b: FrameTime
  c: FrameTime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
  """Base of all schedules; times run from 0 (clean) to `T`.

  A subclass gives `log_alpha` and `sigma2`, and `time_of_snr` if it is to be
  inverted.  It overrides `transition` where Eq. 1 would cancel, and `alpha`
  where `log_alpha` is infinite.

  Raises:
    ValueError: a number of the schedule is not positive.
  """

  T: float = 1.0

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if field.type is float and not 0 < value < math.inf:
        raise ValueError(
          f'{field.name} of {type(self).__name__} is {value:g}, want above 0'
        )

  @property
  def fades_out(self) -> bool:
    """Whether `alpha` is 0 at T, so that no signal is left there."""
    return False

  def log_alpha(self, t: FrameTime) -> FrameTime:
    """Log of the signal's scale."""
    raise NotImplementedError

  def sigma2(self, t: FrameTime) -> FrameTime:
    """Variance of the noise; 0 at t = 0."""
    raise NotImplementedError

  def time_of_snr(self, snr: FrameTime) -> FrameTime:
    """Time of a positive finite SNR, not clamped; see `inverse_snr`."""
    raise NotImplementedError(f'{type(self).__name__} has no time_of_snr')

  def transition(self, s: FrameTime, t: FrameTime) -> Transition:
    """The scale r and the variance v of Eq. 1, for s <= t."""
    r = jnp.exp(self.log_alpha(t) - self.log_alpha(s))
    return r, self.sigma2(t) - r**2 * self.sigma2(s)

  def alpha(self, t: FrameTime) -> FrameTime:
    """Scale of the signal."""
    return jnp.exp(self.log_alpha(t))

  def sigma(self, t: FrameTime) -> FrameTime:
    """Standard deviation of the noise; its derivative at t = 0 reads 0."""
    return arrays.safe_sqrt(self.sigma2(t))

  def snr(self, t: FrameTime) -> FrameTime:
    """Signal-to-noise ratio alpha^2 / sigma^2; infinite at t = 0."""
    return arrays.safe_divide(self.alpha(t) ** 2, self.sigma2(t), jnp.inf)

  def inverse_snr(self, snr: FrameTime) -> FrameTime:
    """Time at which the SNR is `snr` in [0, inf], clamped to [0, T].

    The input is clamped, too: most closed forms are inf/inf at snr = 0.
    """
    least = jnp.maximum(self.snr(jnp.full_like(snr, self.T)), _LEAST_SNR)
    within = jnp.clip(snr, least, 1 / _LEAST_SNR)
    t = jnp.clip(self.time_of_snr(within), 0.0, self.T)
    t = jnp.where(snr > 1 / _LEAST_SNR, 0.0, t)
    return jnp.where(snr <= least, self.T, t)

  def teacher_time(self, snr: FrameTime) -> FrameTime:
    """Time to ask a network at that was trained on this schedule (SAF)."""
    return self.inverse_snr(snr)

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
    sigma2_s, sigma2_t = self.sigma2(s_safe), self.sigma2(t_safe)
    # A z_t without noise is z0: a = 1, before a gradient's squares underflow.
    noise = jnp.where(sigma2_t > _LEAST_NOISE, sigma2_t, 0.0)
    fresh = jnp.where(s > 0, arrays.safe_divide(v, noise, 1.0), 1.0)
    share = arrays.safe_divide(sigma2_s, noise)
    return Coefficients(
      a=jnp.where(moves, self.alpha(s_safe) * fresh, 0.0),
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

  def transition(self, s: FrameTime, t: FrameTime) -> Transition:
    """Gives r = 1 and v factored."""
    v = (t - s) * (self.b0 + 0.5 * (self.b1 - self.b0) * (t + s))
    return jnp.ones_like(v), v

  def time_of_snr(self, snr: FrameTime) -> FrameTime:
    """Positive root of sigma2(t) = 1 / snr, in its stable form."""
    q = 1 / snr
    root = jnp.sqrt(self.b0**2 + 2 * (self.b1 - self.b0) * q)
    return 2 * q / (self.b0 + root)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BridgeGconst(Schedule):
  """Constant g2 and alpha = 1: over it, a bridge is the Brownian bridge.

  `rate` is g2, the variance gained per unit of time (Chen et al. 2023).
  """

  rate: float = 1.0

  def log_alpha(self, t: FrameTime) -> FrameTime:
    """0: the signal keeps its scale."""
    return jnp.zeros_like(t)

  def sigma2(self, t: FrameTime) -> FrameTime:
    """Integral of g2."""
    return self.rate * t

  def transition(self, s: FrameTime, t: FrameTime) -> Transition:
    """Gives r = 1 and v factored."""
    v = self.rate * (t - s)
    return jnp.ones_like(v), v

  def time_of_snr(self, snr: FrameTime) -> FrameTime:
    """Solves rate t = 1 / snr."""
    return 1 / (self.rate * snr)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VP(Schedule):
  """Constant variance with beta = b0 + t (b1 - b0) (FVDM 2.2.2)."""

  b0: float = 0.1
  b1: float = 20.0

  def log_alpha(self, t: FrameTime) -> FrameTime:
    """Minus half the integral of beta."""
    return -t * (0.5 * self.b0 + 0.25 * (self.b1 - self.b0) * t)

  def sigma2(self, t: FrameTime) -> FrameTime:
    """1 - alpha^2."""
    return -jnp.expm1(2 * self.log_alpha(t))

  def transition(self, s: FrameTime, t: FrameTime) -> Transition:
    """Gives v = 1 - r^2 from a factored log r."""
    rate = 0.5 * self.b0 + 0.25 * (self.b1 - self.b0) * (t + s)
    log_r = -(t - s) * rate
    return jnp.exp(log_r), -jnp.expm1(2 * log_r)

  def time_of_snr(self, snr: FrameTime) -> FrameTime:
    """Positive root of -2 log_alpha(t) = log(1 + 1 / snr)."""
    q = 0.5 * jnp.log1p(1 / snr)
    half = 0.5 * self.b0
    return 2 * q / (half + jnp.sqrt(half**2 + (self.b1 - self.b0) * q))


@dataclasses.dataclass(frozen=True, kw_only=True)
class VE(Schedule):
  """Geometric noise at alpha = 1, shifted so that t = 0 is clean (DDBM-VE).

  `sigma2 = sigma_min^2 ((sigma_max / sigma_min)^(2 t) - 1)`: the usual
  geometric schedule still holds `sigma_min` of noise at t = 0.
  """

  sigma_min: float = 0.02
  sigma_max: float = 50.0

  def __post_init__(self):
    super().__post_init__()
    if self.sigma_max <= self.sigma_min:
      raise ValueError(
        f'sigma_max {self.sigma_max:g} of VE is not above its sigma_min '
        f'{self.sigma_min:g}; noise has to grow'
      )

  def log_alpha(self, t: FrameTime) -> FrameTime:
    """0: the signal keeps its scale."""
    return jnp.zeros_like(t)

  def sigma2(self, t: FrameTime) -> FrameTime:
    """Grows by a constant factor, but for the shift."""
    return self.sigma_min**2 * jnp.expm1(self._rate * t)

  def transition(self, s: FrameTime, t: FrameTime) -> Transition:
    """Gives r = 1 and v factored."""
    start = self.sigma_min**2 * jnp.exp(self._rate * s)
    v = start * jnp.expm1(self._rate * (t - s))
    return jnp.ones_like(v), v

  def time_of_snr(self, snr: FrameTime) -> FrameTime:
    """Solves sigma2(t) = 1 / snr."""
    return jnp.log1p(1 / (snr * self.sigma_min**2)) / self._rate

  @property
  def _rate(self):
    return 2 * math.log(self.sigma_max / self.sigma_min)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EDM(Schedule):
  """`alpha = 1, sigma = t` up to T = 80 (Karras et al. 2022)."""

  T: float = 80.0

  def log_alpha(self, t: FrameTime) -> FrameTime:
    """0: the signal keeps its scale."""
    return jnp.zeros_like(t)

  def sigma2(self, t: FrameTime) -> FrameTime:
    """t^2."""
    return t * t

  def transition(self, s: FrameTime, t: FrameTime) -> Transition:
    """Gives r = 1 and v factored."""
    return jnp.ones_like(t), (t - s) * (t + s)

  def time_of_snr(self, snr: FrameTime) -> FrameTime:
    """Solves t^2 = 1 / snr."""
    return jax.lax.rsqrt(snr)


_LEAST_SNR = 1e-16  # it and its inverse may be squared or rooted
_LEAST_NOISE = 1e-18  # a variance


def _derivative(fn, t):
  return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]
