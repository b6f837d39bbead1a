"""Videos of two kinds: how often samplers make each of them.

The denoiser is exact, so that a wrong share is the sampler's own.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import walks

from framebridge_jax import arrays
from framebridge_jax.processes import sde
from framebridge_jax.samplers import loop


class Mixture(NamedTuple):
  """Videos [f] of several kinds, each N(means[k], cov) with its weight."""

  weights: np.ndarray
  means: np.ndarray
  cov: np.ndarray

  def sample(self, count):
    """Draws [f, count], in the weights' exact shares."""
    kinds = np.searchsorted(
      np.cumsum(self.weights), (np.arange(count) + 0.5) / count
    )
    noise = np.random.default_rng(0).normal(size=(count, len(self.cov)))
    return (self.means[kinds] + noise @ np.linalg.cholesky(self.cov).T).T


MIXTURE = Mixture(
  weights=np.array([0.3, 0.7]),
  means=np.array([[-1.0, -0.6], [0.8, 1.1]]),
  cov=0.09 * np.array([[1.0, 0.6], [0.6, 1.0]]),
)


def share(
  process: sde.Process,
  sampler: loop.Sampler,
  plans: Sequence[np.ndarray],
  pixels: int,
) -> np.ndarray:
  """Share of the first kind of MIXTURE after each of n plans [steps + 1, 2].

  Plans go from T to 0; the pixels are the particles.
  """
  rows = max(len(times) for times in plans)
  times = np.stack([walks.pad(times, rows) for times in plans], axis=1)
  z = np.asarray(_sample(process, sampler, times, pixels))
  first, second = MIXTURE.means
  # Linear discriminant: both kinds have one covariance.
  normal = np.linalg.solve(MIXTURE.cov, second - first)
  log_odds = np.log(MIXTURE.weights[1] / MIXTURE.weights[0])
  side = (z - (first + second) / 2) @ normal + log_odds
  return (side < 0).mean(axis=1)


def mixture_denoiser(
  process: sde.Process, mixture: Mixture, prior: jax.Array
) -> loop.Denoise:
  """E[z0 | zt] of a mixture; pixels are independent draws of it.

  The exact answer of each kind, averaged with the odds that the latent
  speaks for it.
  """

  log_weights = jnp.log(jnp.asarray(mixture.weights))

  def one(y, a, c):
    silent = jnp.where((a == 0) & (c == 0), 1.0, 0.0).astype(y.dtype)
    seen = a[:, None] * mixture.cov * a[None, :] + jnp.diag(c**2 + silent)
    gain = jnp.linalg.solve(seen, a[:, None] * mixture.cov).T
    inverse = jnp.linalg.inv(seen)

    def kind(mean):
      apart = y.reshape(len(a), -1) - (a * mean)[:, None]
      fit = -0.5 * (apart * (inverse @ apart)).sum(axis=0)
      return mean[:, None] + gain @ apart, fit

    x0, fit = jax.vmap(kind)(jnp.asarray(mixture.means))
    odds = jax.nn.softmax(fit + log_weights[:, None], axis=0)
    return (odds[:, None] * x0).sum(axis=0).reshape(y.shape)

  def denoise(zt, t):
    a, b, c = process.marginal(t)
    x0 = jax.vmap(one)(zt - arrays.expand_like(b, zt) * prior, a, c)
    return loop.Answer(jnp.where(arrays.expand_like(t > 0, zt), x0, zt))

  return denoise


@functools.partial(jax.jit, static_argnums=(0, 1, 3))
def _sample(process, sampler, times, pixels):
  shape = (*times.shape[1:], pixels, 1, 1)
  key = jax.random.key(0)
  shares = jnp.linspace(0, 1, 2 * pixels + 1)[1::2]
  quantiles = jax.scipy.special.ndtri(shares)[None, None, :, None, None]

  def draw(k):
    """Unit noise whose quantiles are met; shuffled, so that no two agree."""
    even = jnp.broadcast_to(quantiles, shape)
    key_k = jax.random.fold_in(key, k)
    return jax.random.permutation(key_k, even, axis=2, independent=True)

  prior = jnp.broadcast_to(_pixels(jnp.array([[0.2, -0.4]])), shape)
  a, b, c = (_pixels(x) for x in process.marginal(times[0]))
  clip = MIXTURE.sample(pixels)[None, ..., None, None]
  out = loop.run(
    sampler,
    process,
    mixture_denoiser(process, MIXTURE, prior),
    a * clip + b * prior + c * draw(len(times)),
    times,
    prior=prior,
    noise=draw,
  )
  return jnp.moveaxis(out[..., 0, 0], 1, 2)


def _pixels(x):
  return x[..., None, None, None]
