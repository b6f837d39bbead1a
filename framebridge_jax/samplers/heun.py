"""Heun's second-order steps: EDM's with churn, and DDBM's hybrid.

On `y / a` with the clock `c / a` the probability flow has the noise itself as
its slope, so Euler's step is DDIM and the trapezoid of two noises is Heun.
"""

import dataclasses

import jax
import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import sde
from framebridge_jax.samplers import centred, loop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heun:
  """EDM's sampler (Karras et al. 2022, Alg. 2) for any process.

  A step is of first order where the slope is singular: into s = 0, and out of
  a T where no signal is left.

  Attributes:
    churn: by which share `c / a` is raised with fresh noise before a step;
      EDM's gamma, `S_churn / num_steps`, at most 0.41 there.
    churn_from: least time of a step that churns.
    churn_to: greatest.
    churn_noise: scale of that noise, EDM's S_noise.
  """

  churn: float = 0.0
  churn_from: float = 0.0
  churn_to: float = float('inf')
  churn_noise: float = 1.0

  def __post_init__(self):
    if not (0 <= self.churn < float('inf') and self.churn_noise >= 0):
      raise ValueError(
        f'churn is {self.churn:g} and churn_noise {self.churn_noise:g}, want '
        f'numbers of at least 0'
      )

  @property
  def order(self) -> int:
    """2; with churn, where that falls as 1 / num_steps, as EDM's does."""
    return 2

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
    """One step from t to s <= t, of two questions."""
    moves = s < t
    t, y = self._stir(process, state.y, t, noise, moves)
    x0_hat = denoise(y, t).x0
    eps_t = centred.noise_in(process, y, x0_hat, t, noise)
    euler = centred.combine(process, x0_hat, eps_t, s)
    ahead = loop.hold(moves, euler, y)
    now, then = process.marginal(t), process.marginal(s)
    smooth = (then.c > 0) & (now.a > 0) & (now.c > 0)

    def ask_again():
      x0_then = denoise(ahead, s).x0
      return centred.noise_in(process, ahead, x0_then, s, eps_t)

    # Where every step is of first order, the second question has no say.
    eps_s = jax.lax.cond(jnp.any(moves & smooth), ask_again, lambda: eps_t)
    shrink = arrays.safe_divide(then.a, now.a)
    change = then.c - now.c * shrink
    shrink, change = (arrays.expand_like(x, y) for x in (shrink, change))
    heun = shrink * y + change * 0.5 * (eps_t + eps_s)
    return loop.Single(loop.hold(smooth, heun, euler))

  def _stir(self, process, y, t, noise, moves):
    """Goes back along the clock, to where the added noise belongs."""
    if not self.churn:
      return t, y
    a, _, c = process.marginal(t)
    stirs = moves & (a > 0) & (c > 0)
    stirs &= (t >= self.churn_from) & (t <= self.churn_to)
    snr = arrays.safe_divide(a, c * (1 + self.churn)) ** 2
    back = jnp.maximum(process.time_of_snr(snr), t)
    back = jnp.where(stirs, back, t)
    a_back, _, c_back = process.marginal(back)
    shrink = arrays.safe_divide(a_back, a)
    added = self.churn_noise * arrays.safe_sqrt(c_back**2 - (shrink * c) ** 2)
    shrink, added = (arrays.expand_like(x, y) for x in (shrink, added))
    return back, loop.hold(stirs, shrink * y + added * noise, y)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HybridHeun:
  """DDBM's hybrid (Zhou et al. 2024, Alg. 1): part SDE, the rest Heun.

  `churn` is the share of each step that the SDE takes.  That part is the
  pinned step, which starts at T without a boot of its own, in place of DDBM's
  Euler-Maruyama.
  """

  churn: float = 0.33

  def __post_init__(self):
    if not 0 <= self.churn < 1:
      raise ValueError(f'churn is {self.churn:g}, want a number in [0, 1)')

  @property
  def order(self) -> int:
    """The SDE's, unless it takes no part."""
    return 1 if self.churn else 2

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
    """One step from t to s <= t, of three questions."""
    moves = s < t
    between = jnp.where(moves, t + self.churn * (s - t), t)
    if self.churn:
      x0_hat = denoise(state.y, t).x0
      y = centred.pinned_step(
        process, state.y, x0_hat, s=between, t=t, noise=noise
      )
      state = loop.hold(moves, loop.Single(y), state)
    return Heun().step(process, denoise, state, s=s, t=between, noise=noise)
