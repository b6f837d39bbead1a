"""The only place where a network's output becomes the clean latent.

The denoiser joins network, process and prediction.  The network is shown a
*view* of the noisy latent,

  z = alpha x + sigma eps,   x = z0 - origin

and `x0_hat = origin + skip z + out raw`.  The plain view shows the latent as
it is (origin 0).  The residual view takes the prior out altogether and scales
what is left to unit variance: the network predicts the motion, and one that
says nothing answers with the prior.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameMask, FrameTime, Labels, Latents
from framebridge_jax.models import latte
from framebridge_jax.processes import bridge, predictions, priors
from framebridge_jax.samplers import loop


class View(NamedTuple):
  """What the network is shown: `z = alpha (z0 - origin) + sigma eps`."""

  z: Latents
  alpha: FrameTime
  sigma: FrameTime
  origin: Latents


class Given(NamedTuple):
  """What is given besides zt and t; a pytree of arrays that crosses jit."""

  prior: Latents
  cond: Any


def condition(label: Labels, prior: Latents, known: FrameMask) -> latte.Cond:
  """What the network sees: the class, the prior, each frame's anchor."""
  anchor = priors.nearest_known(known)
  return latte.Cond(label=label, image=prior, anchor=anchor)


def plain(
  process: bridge.Bridge, zt: Latents, t: FrameTime, prior: Latents
) -> View:
  """The latent itself; eps then is FrameBridge's psi (Eq. 6)."""
  del prior
  schedule = process.schedule
  return View(zt, schedule.alpha(t), schedule.sigma(t), jnp.zeros_like(zt))


def residual(
  process: bridge.Bridge, zt: Latents, t: FrameTime, prior: Latents
) -> View:
  """The latent less the prior, over `k = sqrt(a^2 + c^2)`.

  `z = (a / k) (z0 - prior) + (c / k) eps`, of variance near 1 at every time
  (FrameBridge Eq. 7's scaling).  At T, where a and c vanish, z is 0 and stands
  for pure noise.
  """
  a, b, c = process.marginal(t)
  k = arrays.safe_sqrt(a**2 + c**2)
  alpha = arrays.safe_divide(a, k)
  sigma = arrays.safe_divide(c, k, 1.0)
  centred = zt - arrays.expand_like(a + b, zt) * prior
  grow = jnp.broadcast_to(arrays.expand_like(k, zt), zt.shape)
  return View(arrays.safe_divide(centred, grow), alpha, sigma, prior)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Denoiser:
  """Answers `(zt, t)` with x0_hat; known frames (t = 0) come back as given.

  Attributes:
    network: linen module `(z, t, cond) -> raw`; compares by value.
    process: where `zt` stands at `t`.
    prediction: a row of PREDICTIONS.
    view: a row of VIEWS.
    clock_scale: the network is fed `clock_scale * t`.
  """

  network: nn.Module
  process: bridge.Bridge
  prediction: Callable[[FrameTime, FrameTime], predictions.Prediction]
  view: Callable[..., View] = plain
  clock_scale: float = 1000.0

  def __call__(
    self, variables: Any, zt: Latents, t: FrameTime, given: Given
  ) -> loop.Answer:
    """Estimates z0 [b, f, h, w, c] from zt at per-frame times t [b, f]."""
    view = self.view(self.process, zt, t, given.prior)
    skip, out, scale = (
      arrays.expand_like(x, zt) for x in self.prediction(view.alpha, view.sigma)
    )
    raw = self.network.apply(
      variables, scale * view.z, self.clock_scale * t, given.cond
    ).astype(zt.dtype)
    x0_hat = view.origin + skip * view.z + out * raw
    return loop.Answer(jnp.where(arrays.expand_like(t > 0, zt), x0_hat, zt))

  def bind(self, variables: Any, given: Given) -> loop.Denoise:
    """Leaves only `(zt, t)` open, which is all that a sampler may see."""
    return lambda zt, t: self(variables, zt, t, given)


VIEWS = {'plain': plain, 'residual': residual}
