"""Guidance as arithmetic on answers.

All are one step past a weak answer to a strong one and on,

  x0 = weak + scale (strong - weak),                                     (1)

and differ in what makes the weak answer weak: no class or text
(classifier-free), another text (negative condition), a smaller or less trained
network (autoguidance), no known frames (history guidance).  Both denoisers
must share one process and prior.

The answers come together: whoever asks puts the questions into one batch.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameMask, FrameTime, Latents
from framebridge_jax.samplers import loop

Scalar = Float[Array, '']
# The guided answer and the strong one that it was made of.
Both = Callable[[Latents, FrameTime], tuple[loop.Answer, loop.Answer]]


def extrapolate(
  strong: loop.Answer, weak: loop.Answer, scale: Scalar
) -> loop.Answer:
  """Eq. 1: 1 is the strong answer, 0 the weak one.

  Classifier-free guidance (Ho & Salimans 2022) and negative conditions, by
  what the weak answer is to; autoguidance (Karras et al. 2024) with a weak
  network.  A learned variance is the strong answer's own.
  """
  return strong._replace(x0=weak.x0 + scale * (strong.x0 - weak.x0))


def rescale(
  guided: loop.Answer, strong: loop.Answer, share: Scalar
) -> loop.Answer:
  """Takes a guided answer back to the strong one's contrast.

  A `share` of the answer has the standard deviation, frame by frame, of the
  strong one (Lin et al. 2024, Eq. 15-16); 0 changes nothing.
  """
  axes = (2, 3, 4)
  wanted = jnp.std(strong.x0, axis=axes, keepdims=True)
  found = jnp.std(guided.x0, axis=axes, keepdims=True)
  factor = share * arrays.safe_divide(wanted, found, 1.0) + (1 - share)
  return guided._replace(x0=factor * guided.x0)


def between(
  both: Both, strong: loop.Denoise, low: Scalar, high: Scalar
) -> loop.Denoise:
  """Guides frames at times in [low, high] (Kynkaanniemi et al. 2024).

  The others get the strong answer.  A step with no frame in the interval asks
  for that alone.
  """

  def limited(zt, t):
    inside = (t >= low) & (t <= high)
    return jax.lax.cond(
      jnp.any(inside),
      lambda: loop.hold(inside, *both(zt, t)),
      lambda: strong(zt, t),
    )

  return limited


def forget(
  zt: Latents, t: FrameTime, known: FrameMask, shown: Latents, time: Array
) -> tuple[Latents, FrameTime]:
  """The question in which known frames are hidden.

  `shown` stands in their place at `time`.  Noise, or a bridge's prior, at T is
  the weak branch of history guidance (Song et al. 2025); the known frames
  themselves with a little noise, at the time of that noise, make a model trust
  them less.
  """
  hidden = jnp.where(arrays.expand_like(known, zt), shown, zt)
  return hidden, jnp.where(known, time, t)
