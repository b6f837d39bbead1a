"""The pinned step: the bridge's first-order SDE, and DDPM's posterior."""

import dataclasses

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import bridge
from framebridge_jax.samplers import loop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ancestral:
  """`z_s = a x0_hat + b z_t + c eps` with `(a, b, c) = pinned(s, t)`.

  The reference process pinned at the answer and at the current point: exact
  at t = T and free of any division by the bridge's noise.  FrameBridge's own
  sampler (Chen et al. 2023, SDE form).
  """

  def init(self, y: Latents) -> loop.Single:
    """The centred latent and no memory."""
    return loop.Single(y)

  def step(
    self,
    process: bridge.Bridge,
    denoise: loop.Denoise,
    state: loop.Single,
    *,
    s: FrameTime,
    t: FrameTime,
    noise: Latents,
  ) -> loop.Single:
    """One step from t to s <= t."""
    x0_hat = denoise(state.y, t).x0
    a, b, c = (
      arrays.expand_like(x, state.y) for x in process.schedule.pinned(s, t)
    )
    return loop.Single(a * x0_hat + b * state.y + c * noise)
