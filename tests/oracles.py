"""What tests compare with: exact answers that no code of the package gives.

Schedules are written twice, in jax for the package and in numpy as closed
forms.  The two that only tests know have `alpha != 1` (with the bridge's own
schedule every transition's r is 1, and a lost r would show nowhere) and, one
of them, `T != 1` and neither constant variance nor constant signal.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from framebridge_jax import arrays
from framebridge_jax.processes import bridge, schedules
from framebridge_jax.samplers import loop


def gaussian_denoiser(
  process: bridge.Bridge, mean: np.ndarray, cov: np.ndarray, prior: jax.Array
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
class VP(schedules.Schedule):
  """Constant variance, `beta = 0.1 + 19.9 t`."""

  def log_alpha(self, t):
    return -0.25 * 19.9 * t**2 - 0.05 * t

  def sigma2(self, t):
    return -jnp.expm1(2 * self.log_alpha(t))


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
    """FrameBridge Eq. 12 in its own words, SNRs, with T at any t."""
    ratio = self._snr(t) / self._snr(s)
    return (
      self.alpha(s) * (1 - ratio),
      ratio * self.alpha(s) / self.alpha(t),
      np.sqrt(self.sigma2(s) * (1 - ratio)),
    )

  def _snr(self, t):
    return self.alpha(t) ** 2 / self.sigma2(t)


def _vp_alpha(t):
  return np.exp(-0.5 * (0.1 * t + 19.9 * t * t / 2))


CLOSED = {
  'bridge_gmax': Closed(
    schedule=schedules.BridgeGmax(),
    alpha=np.ones_like,
    sigma2=lambda t: (50 - 0.01) * t * t / 2 + 0.01 * t,
    f=np.zeros_like,
    g2=lambda t: 0.01 + t * (50 - 0.01),
  ),
  'vp': Closed(
    schedule=VP(),
    alpha=_vp_alpha,
    sigma2=lambda t: 1 - _vp_alpha(t) ** 2,
    f=lambda t: -(0.1 + 19.9 * t) / 2,
    g2=lambda t: 0.1 + 19.9 * t,
  ),
  'fading': Closed(
    schedule=Fading(),
    alpha=lambda t: np.exp(-0.7 * t),
    sigma2=lambda t: 0.3 * t + t * t,
    f=lambda t: np.full_like(t, -0.7),
    g2=lambda t: 0.3 + 2 * t + 1.4 * (0.3 * t + t * t),
  ),
}
