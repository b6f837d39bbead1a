"""What tests compare with: exact answers that no code of the package gives.

Every schedule of the table stands here a second time, as numpy closed forms
in the words of its paper.  The one that only tests know, `fading`, has `T = 2`
and neither constant variance nor constant signal.  `CLOSED` are all of them,
`BRIDGES` those over which a bridge can stand: `alpha` is not 0 at T.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from framebridge_jax import arrays
from framebridge_jax.processes import discrete, fading, schedules, sde
from framebridge_jax.samplers import loop


def gaussian_denoiser(
  process: sde.Process, mean: np.ndarray, cov: np.ndarray, prior: jax.Array
) -> loop.Denoise:
  """E[z0 | zt] of videos whose frames are N(mean [f], cov [f, f]).

  Pixels are independent copies and the prior is known.  Each frame tells
  `y = a z0 + c eps`; a frame with a = c = 0 (at T) tells nothing.
  """

  def one(y, a, c):
    silent = jnp.where((a == 0) & (c == 0), 1.0, 0.0).astype(y.dtype)
    seen = a[:, None] * cov * a[None, :] + jnp.diag(c**2 + silent)
    gain = jnp.linalg.solve(seen, a[:, None] * cov).T
    flat = y.reshape(len(a), -1) - (a * mean)[:, None]
    return (jnp.asarray(mean)[:, None] + gain @ flat).reshape(y.shape)

  def denoise(zt, t):
    a, b, c = process.marginal(t)
    x0 = jax.vmap(one)(zt - arrays.expand_like(b, zt) * prior, a, c)
    return loop.Answer(jnp.where(arrays.expand_like(t > 0, zt), x0, zt))

  return denoise


def conditional(
  mean: np.ndarray, cov: np.ndarray, known: tuple[int, ...], values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Moments of a Gaussian [f] whose frames `known` hold their `values`."""
  precision = np.linalg.inv(cov)
  free = [i for i in range(len(mean)) if i not in known]
  spread = np.linalg.inv(precision[np.ix_(free, free)])
  pull = precision[np.ix_(free, known)] @ (values - mean)[list(known)]
  full_mean, full_cov = np.array(values, float), np.zeros_like(cov)
  full_mean[free] = mean[free] - spread @ pull
  full_cov[np.ix_(free, free)] = spread
  return full_mean, full_cov


def affine_moments(
  fn: Callable[[jax.Array], jax.Array], noise: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Mean and covariance of an affine fn of unit noise, without sampling."""
  zero = jnp.zeros_like(noise)
  out, pull = jax.vjp(fn, zero)
  (jacobian,) = jax.vmap(pull)(jnp.eye(out.size, dtype=out.dtype))
  jacobian = jacobian.reshape(out.size, -1)
  return out, jacobian @ jacobian.T


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fading(schedules.Schedule):
  """Signal and variance both change, and time runs to 2."""

  T: float = 2.0

  def log_alpha(self, t):
    return -0.7 * t

  def sigma2(self, t):
    return 0.3 * t + t**2


class Closed(NamedTuple):
  """A schedule beside its closed forms in numpy."""

  schedule: schedules.Schedule
  alpha: Callable[[np.ndarray], np.ndarray]
  sigma2: Callable[[np.ndarray], np.ndarray]
  f: Callable[[np.ndarray], np.ndarray]
  g2: Callable[[np.ndarray], np.ndarray]

  def marginal(self, s, t):
    """FrameBridge Eq. 12 in its own words, SNRs, with T at any t.

    Where alpha is 0 at t, so is the ratio, and z_t does not say a word.
    """
    s, t = np.broadcast_arrays(s, t)
    alpha = self.alpha(t)
    ratio = alpha**2 / self.sigma2(t) / self.snr(s)
    heard = np.divide(
      self.alpha(s), alpha, out=np.zeros_like(alpha), where=alpha != 0
    )
    return (
      self.alpha(s) * (1 - ratio),
      ratio * heard,
      np.sqrt(self.sigma2(s) * (1 - ratio)),
    )

  def snr(self, t):
    """alpha^2 / sigma^2."""
    return self.alpha(t) ** 2 / self.sigma2(t)


def _preserving(schedule, alpha, f):
  """Closed forms of constant variance: g2 = -2 f keeps it."""
  return Closed(
    schedule=schedule,
    alpha=alpha,
    sigma2=lambda t: 1 - alpha(t) ** 2,
    f=f,
    g2=lambda t: -2 * f(t),
  )


def _cosine():
  """Nichol & Dhariwal 2021, Eq. 17, whose f(t) is alpha^2 up to a factor."""

  def angle(t):
    return (t + 0.008) / 1.008 * np.pi / 2

  return _preserving(
    fading.Cosine(),
    alpha=lambda t: np.where(
      t == 1, 0 * t, np.cos(angle(t)) / np.cos(angle(0.0))
    ),
    f=lambda t: -np.tan(angle(t)) * np.pi / 2 / 1.008,
  )


def _flow(shift):
  """alpha = 1 - sigma, sigma / alpha = shift t / (1 - t)."""

  def sigma(t):
    return shift * t / (1 - t + shift * t)

  def pace(t):
    return shift / (1 - t + shift * t) ** 2

  return Closed(
    schedule=fading.Flow(shift=float(shift)),
    alpha=lambda t: (1 - t) / (1 - t + shift * t),
    sigma2=lambda t: sigma(t) ** 2,
    f=lambda t: -pace(t) / (1 - sigma(t)),
    g2=lambda t: 2 * sigma(t) * pace(t) / (1 - sigma(t)),
  )


def alpha_bars(betas, snr_shift=1, zero_terminal=False):
  """Products of 1 - beta; SNRs divided; the root moved (Lin et al. 2024)."""
  bars = [1 - betas[0]]
  for beta in betas[1:]:
    bars.append(bars[-1] * (1 - beta))
  snr = np.array(bars) / (1 - np.array(bars)) / snr_shift
  root = np.sqrt(snr / (1 + snr))
  if zero_terminal:
    root = (root - root[-1]) / (root[0] - root[-1]) * root[0]
  return root**2


def cosine_betas():
  """Nichol & Dhariwal 2021: at most 0.999."""
  t = np.arange(1001) / 1000
  bars = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
  return [min(1 - bars[n + 1] / bars[n], 0.999) for n in range(1000)]


def _table(schedule, bars):
  """A geometric line from entry to entry, from 1 at t = 0.

  The last is straight in alpha where it ends in 0.
  """
  nodes = np.concatenate([[1.0], np.sqrt(bars)])
  count = len(bars)

  def segment(t):
    x = np.asarray(t) * count
    n = np.clip(np.floor(x), 0, count - 1).astype(int)
    return nodes[n], nodes[n + 1], x - n

  def alpha(t):
    low, high, share = segment(t)
    return np.where(high == 0, low * (1 - share), low * (high / low) ** share)

  def f(t):
    low, high, share = segment(t)
    with np.errstate(divide='ignore'):
      straight, geometric = -1 / (1 - share), np.log(high / low)
    return count * np.where(high == 0, straight, geometric)

  return _preserving(schedule, alpha, f)


_LINEAR = np.linspace(1e-4, 0.02, 1000)
_SCALED_LINEAR = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
CLOSED = {
  'bridge_gmax': Closed(
    schedule=schedules.BridgeGmax(),
    alpha=np.ones_like,
    sigma2=lambda t: (50 - 0.01) * t * t / 2 + 0.01 * t,
    f=np.zeros_like,
    g2=lambda t: 0.01 + t * (50 - 0.01),
  ),
  'bridge_gconst': Closed(
    schedule=schedules.BridgeGconst(),
    alpha=np.ones_like,
    sigma2=lambda t: 1.0 * t,
    f=np.zeros_like,
    g2=np.ones_like,
  ),
  'vp': _preserving(
    schedules.VP(),
    alpha=lambda t: np.exp(-0.5 * (0.1 * t + 19.9 * t * t / 2)),
    f=lambda t: -(0.1 + 19.9 * t) / 2,
  ),
  've': Closed(
    schedule=schedules.VE(),
    alpha=np.ones_like,
    sigma2=lambda t: (0.02 * (50 / 0.02) ** t) ** 2 - 0.02**2,
    f=np.zeros_like,
    g2=lambda t: 2 * np.log(50 / 0.02) * (0.02 * (50 / 0.02) ** t) ** 2,
  ),
  'edm': Closed(
    schedule=schedules.EDM(),
    alpha=np.ones_like,
    sigma2=lambda t: t * t,
    f=np.zeros_like,
    g2=lambda t: 2 * t,
  ),
  'cosine': _cosine(),
  'flow': _flow(1),
  'flow_shift_3': _flow(3),
  'table_linear': _table(discrete.Discrete(), alpha_bars(_LINEAR)),
  'table_scaled_linear': _table(
    discrete.Discrete(table='scaled_linear'), alpha_bars(_SCALED_LINEAR)
  ),
  'table_cosine': _table(
    discrete.Discrete(table='cosine'), alpha_bars(cosine_betas())
  ),
  'table_cogvideox_2b': _table(
    discrete.Discrete(table='scaled_linear', snr_shift=3.0, zero_terminal=True),
    alpha_bars(_SCALED_LINEAR, snr_shift=3, zero_terminal=True),
  ),
  'fading': Closed(
    schedule=Fading(),
    alpha=lambda t: np.exp(-0.7 * t),
    sigma2=lambda t: 0.3 * t + t * t,
    f=lambda t: np.full_like(t, -0.7),
    g2=lambda t: 0.3 + 2 * t + 1.4 * (0.3 * t + t * t),
  ),
}
BRIDGES = {
  name: closed
  for name, closed in CLOSED.items()
  if closed.alpha(np.array(closed.schedule.T)) > 0
}
