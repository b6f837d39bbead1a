"""The pinned step: DDPM's posterior, and the bridge's first-order SDE."""

import dataclasses

import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import sde
from framebridge_jax.samplers import centred, loop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ancestral:
  """`z_s = a x0_hat + b z_t + c eps` with `(a, b, c) = pinned(s, t)`.

  The reference process pinned at the answer and at the current point: exact
  at t = T and free of any division by the process's noise.  DDPM (Ho et al.
  2020), and FrameBridge's own sampler (Chen et al. 2023, SDE form).  A learned
  variance widens c^2 towards v (Nichol & Dhariwal 2021, Eq. 15).
  """

  @property
  def order(self) -> int:
    """1: the answer is that of the step's start."""
    return 1

  def init(self, y: Latents) -> loop.Single:
    """The centred latent and no memory."""
    return loop.Single(y)

  def step(
    self,
    process: sde.Process,
    denoise: loop.Denoise,
    state: loop.Single,
    *,
    s: FrameTime,
    t: FrameTime,
    noise: Latents,
  ) -> loop.Single:
    """One step from t to s <= t."""
    answer = denoise(state.y, t)
    if answer.spread is not None:
      noise = noise * _widening(process, answer.spread, s, t)
    return loop.Single(
      centred.pinned_step(process, state.y, answer.x0, s=s, t=t, noise=noise)
    )


def _widening(process, spread, s, t):
  """Standard deviation over the pinned step's c."""
  # A frame that stands at a T without signal has no transition to itself.
  _, v = process.schedule.transition(jnp.where(s < t, s, 0.0), t)
  c = process.schedule.pinned(s, t).c
  ratio = arrays.safe_divide(v, c**2, 1.0)
  return arrays.expand_like(ratio, spread) ** (0.5 * spread)
