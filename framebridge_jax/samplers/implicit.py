"""DDIM(eta) and DBIM(eta), first order; eta = 0 is the flow's Euler step."""

import dataclasses

import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import sde
from framebridge_jax.samplers import centred, loop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Implicit:
  """`y_s = a_s x0_hat + kept eps_hat + fresh eps`.

  `eps_hat = (y_t - a_t x0_hat) / c_t`; `kept^2 + fresh^2 = c_s^2`.  `eta`
  scales the fresh noise from none (0, deterministic) to the ancestral step's
  (1): DDIM (Song et al. 2021) of a diffusion, DBIM (Zheng et al. 2024) of a
  bridge.  A bridge at T holds no noise, so there all of it is fresh whatever
  eta: DBIM's boot noise.

  With eta = 0 it is Euler's step of the probability flow, taken on y / a with
  the clock c / a: EDM's Euler, and the first-order PF-ODE of Chen et al. 2023.
  """

  eta: float = 0.0

  def __post_init__(self):
    if not 0 <= self.eta <= 1:
      raise ValueError(f'eta is {self.eta:g}, want a number in [0, 1]')

  @property
  def order(self) -> int:
    """1, as Euler's step."""
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
    c_t = process.marginal(t).c
    a_s = process.marginal(s).a
    _, b, c = process.schedule.pinned(s, t)
    boot = c_t == 0
    # c_s^2 - (eta c)^2, without the difference that goes negative in float32.
    kept = arrays.safe_sqrt((b * c_t) ** 2 + (1 - self.eta**2) * c**2)
    kept = jnp.where(boot, 0.0, kept)
    fresh = jnp.where(boot, c, self.eta * c)
    a_s, kept, fresh = (arrays.expand_like(x, y) for x in (a_s, kept, fresh))
    eps_hat = centred.noise_in(process, y, x0_hat, t, noise)
    return loop.Single(a_s * x0_hat + kept * eps_hat + fresh * noise)
