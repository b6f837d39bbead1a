"""What a network is shown of a noisy latent.

A view writes the latent as

  z = alpha x + sigma eps,   x = z0 - origin

at the time `t` that the network is to be told.  The plain view shows the
latent as it is (origin 0).  The residual view takes the prior out altogether
and scales what is left to unit variance: the network predicts the motion, and
one that says nothing answers with the prior.  `saf.Aligned` shows a bridge's
latent as a teacher's.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import sde


class View(NamedTuple):
  """What the network is shown: `z = alpha (z0 - origin) + sigma eps`."""

  z: Latents
  t: FrameTime
  alpha: FrameTime
  sigma: FrameTime
  origin: Latents


@runtime_checkable
class MakeView(Protocol):
  """A row of VIEWS; hashable, so that denoisers compare by value."""

  def __call__(
    self,
    process: sde.Process,
    zt: Latents,
    t: FrameTime,
    prior: Latents,
    noise: Latents,
  ) -> View:
    """Shows zt; unit `noise` stands in where zt holds nothing at all."""
    ...


def plain(
  process: sde.Process,
  zt: Latents,
  t: FrameTime,
  prior: Latents,
  noise: Latents,
) -> View:
  """The latent itself; of a bridge, eps is FrameBridge's psi (Eq. 6)."""
  del prior, noise
  schedule = process.schedule
  return View(zt, t, schedule.alpha(t), schedule.sigma(t), jnp.zeros_like(zt))


def residual(
  process: sde.Process,
  zt: Latents,
  t: FrameTime,
  prior: Latents,
  noise: Latents,
) -> View:
  """The latent less the prior, over `k = sqrt(a^2 + c^2)`.

  `z = (a / k) (z0 - prior) + (c / k) eps`, of variance near 1 at every time
  (FrameBridge Eq. 7's scaling).  At T, where a and c vanish, z is 0 and stands
  for pure noise.
  """
  del noise
  a, b, c = process.marginal(t)
  k = arrays.safe_sqrt(a**2 + c**2)
  alpha = arrays.safe_divide(a, k)
  sigma = arrays.safe_divide(c, k, 1.0)
  centred = zt - arrays.expand_like(a + b, zt) * prior
  grow = jnp.broadcast_to(arrays.expand_like(k, zt), zt.shape)
  return View(arrays.safe_divide(centred, grow), t, alpha, sigma, prior)


VIEWS: dict[str, MakeView] = {'plain': plain, 'residual': residual}
