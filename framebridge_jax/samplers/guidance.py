"""Guidance as transforms of denoisers.

All are one step past a weak answer to a strong one and on,

  x0 = weak + scale (strong - weak),                                     (1)

and differ in what makes the weak answer weak: no class or text
(classifier-free), another text (negative condition), a smaller or less trained
network (autoguidance), no known frames (history guidance).  Both denoisers
must share one process and prior.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameMask, FrameTime, Latents
from framebridge_jax.samplers import loop

Scalar = Float[Array, '']


def extrapolate(
  strong: loop.Denoise, weak: loop.Denoise, scale: Scalar
) -> loop.Denoise:
  """Eq. 1: 1 is the strong answer, 0 the weak one.

  Classifier-free guidance (Ho & Salimans 2022) and negative conditions, by
  what `weak` is bound to; autoguidance (Karras et al. 2024) with a weak
  network.  A learned variance is the strong denoiser's own.
  """

  def guided(zt, t):
    answer, weak_x0 = strong(zt, t), weak(zt, t).x0
    return answer._replace(x0=weak_x0 + scale * (answer.x0 - weak_x0))

  return guided


def rescale(
  guided: loop.Denoise, strong: loop.Denoise, share: Scalar
) -> loop.Denoise:
  """Takes a guided answer back to the strong one's contrast.

  A `share` of the answer has the standard deviation, frame by frame, of the
  strong one (Lin et al. 2024, Eq. 15-16); 0 changes nothing.
  """

  def rescaled(zt, t):
    answer = guided(zt, t)
    axes = (2, 3, 4)
    wanted = jnp.std(strong(zt, t).x0, axis=axes, keepdims=True)
    found = jnp.std(answer.x0, axis=axes, keepdims=True)
    factor = share * arrays.safe_divide(wanted, found, 1.0) + (1 - share)
    return answer._replace(x0=factor * answer.x0)

  return rescaled


def between(
  guided: loop.Denoise, strong: loop.Denoise, low: Scalar, high: Scalar
) -> loop.Denoise:
  """Guides frames at times in [low, high] (Kynkaanniemi et al. 2024).

  The others get the strong answer.  A step with no frame in the interval does
  not ask the weak denoiser.
  """

  def limited(zt, t):
    inside = (t >= low) & (t <= high)
    return jax.lax.cond(
      jnp.any(inside),
      lambda: _choose(inside, guided(zt, t), strong(zt, t)),
      lambda: strong(zt, t),
    )

  return limited


def forgetful(
  denoise: loop.Denoise, known: FrameMask, shown: Latents, T: float
) -> loop.Denoise:
  """The weak branch of history guidance (Song et al. 2025).

  Known frames are hidden: `shown`, which holds nothing of them (noise, or a
  bridge's prior), stands in their place at time T.
  """

  def forgotten(zt: Latents, t: FrameTime):
    hidden = jnp.where(arrays.expand_like(known, zt), shown, zt)
    return denoise(hidden, jnp.where(known, T, t))

  return forgotten


def _choose(inside, first, second):
  return loop.hold(inside, first, second)
