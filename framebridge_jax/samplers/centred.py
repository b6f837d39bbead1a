"""What samplers compute with: the latent `y = a z0 + c eps` and its clock."""

import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import sde


def noise_in(
  process: sde.Process,
  y: Latents,
  x0_hat: Latents,
  t: FrameTime,
  fresh: Latents,
) -> Latents:
  """The unit noise in y, given the answer; `fresh` where y holds none.

  That is at T of a bridge, where all noise of a step must be fresh whatever
  the sampler (DBIM's boot noise), and at t = 0.
  """
  a, _, c = (arrays.expand_like(x, y) for x in process.marginal(t))
  found = arrays.safe_divide(y - a * x0_hat, jnp.broadcast_to(c, y.shape))
  return jnp.where(c > 0, found, fresh)


def combine(
  process: sde.Process, x0_hat: Latents, eps_hat: Latents, s: FrameTime
) -> Latents:
  """The point on the marginal of s that an answer and a noise make."""
  a, _, c = (arrays.expand_like(x, x0_hat) for x in process.marginal(s))
  return a * x0_hat + c * eps_hat


def pinned_step(
  process: sde.Process,
  y: Latents,
  x0_hat: Latents,
  *,
  s: FrameTime,
  t: FrameTime,
  noise: Latents,
) -> Latents:
  """One step of the process pinned at the answer and at the current point."""
  a, b, c = (arrays.expand_like(x, y) for x in process.schedule.pinned(s, t))
  return a * x0_hat + b * y + c * noise


def clock(process: sde.Process, t: FrameTime) -> FrameTime:
  """log(a / c), on which answers are extrapolated (DBIM writes log(b / c)).

  -inf where nothing of z0 is left, +inf where there is no noise.
  """
  a, _, c = process.marginal(t)
  inside = (a > 0) & (c > 0)
  a, c = (jnp.where(inside, x, jnp.ones_like(x)) for x in (a, c))
  ends = jnp.where(t > 0, -jnp.inf, jnp.inf)
  return jnp.where(inside, jnp.log(a) - jnp.log(c), ends)
