"""Euler-Maruyama: the reverse SDE in plain steps of time."""

import dataclasses

import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import sde
from framebridge_jax.samplers import centred, loop


@dataclasses.dataclass(frozen=True, kw_only=True)
class EulerMaruyama:
  """A step along `flow + w^2 (reverse_drift - flow)` with noise `w g`.

  `noise_scale` w runs through all SDEs of the same marginals: 1 is the reverse
  SDE, 0 the probability flow.  Where the drift is singular, at T, the pinned
  step is taken instead; into s = 0 the answer itself.  Below 1 a bridge's steps
  just under T leave an error that more steps do not remove: take DBIM there.
  """

  noise_scale: float = 1.0

  def __post_init__(self):
    if not self.noise_scale >= 0:
      raise ValueError(
        f'noise_scale is {self.noise_scale:g}, want a number of at least 0'
      )

  @property
  def order(self) -> int:
    """1, in moments."""
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
    y = state.y
    x0_hat = denoise(y, t).x0
    inside = (t > 0) & (t < process.schedule.T)
    time = jnp.where(inside, t, 0.5 * process.schedule.T)
    # y is the process of a prior that is 0.
    at = (process, y, time, x0_hat, jnp.zeros_like(y))
    flow, reverse = sde.flow(*at), sde.reverse_drift(*at)
    drift = flow + self.noise_scale**2 * (reverse - flow)
    length = arrays.expand_like(t - s, y)
    g2 = arrays.expand_like(process.schedule.g2(time), y)
    spread = self.noise_scale * arrays.safe_sqrt(g2 * length)
    plain = y - length * drift + spread * noise
    pinned = centred.pinned_step(process, y, x0_hat, s=s, t=t, noise=noise)
    return loop.Single(loop.hold(inside & (s > 0), plain, pinned))
