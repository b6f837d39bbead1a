"""DBIM(eta), first order; eta = 0 is the first-order probability-flow ODE."""

import dataclasses

import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import bridge
from framebridge_jax.samplers import loop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Implicit:
  """`y_s = a_s x0_hat + kept eps_hat + fresh eps` (DBIM, Zheng et al. 2024).

  `eps_hat = (y_t - a_t x0_hat) / c_t`; `kept^2 + fresh^2 = c_s^2`.  `eta`
  scales the fresh noise from none (0, deterministic) to the ancestral step's
  (1).  A bridge at T holds no noise, so there all of it is fresh whatever
  eta: DBIM's boot noise.
  """

  eta: float = 0.0

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
    y = state.y
    x0_hat = denoise(y, t).x0
    a_t, _, c_t = process.marginal(t)
    a_s = process.marginal(s).a
    _, b, c = process.schedule.pinned(s, t)
    boot = c_t == 0
    # c_s^2 - (eta c)^2, without the difference that goes negative in float32.
    kept = arrays.safe_sqrt((b * c_t) ** 2 + (1 - self.eta**2) * c**2)
    kept = jnp.where(boot, 0.0, kept)
    fresh = jnp.where(boot, c, self.eta * c)
    a_s, a_t, c_t, kept, fresh = (
      arrays.expand_like(x, y) for x in (a_s, a_t, c_t, kept, fresh)
    )
    eps_hat = arrays.safe_divide(
      y - a_t * x0_hat, jnp.broadcast_to(c_t, y.shape)
    )
    return loop.Single(a_s * x0_hat + kept * eps_hat + fresh * noise)
