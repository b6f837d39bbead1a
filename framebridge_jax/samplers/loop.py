"""The one loop that runs every sampler.

Samplers work on the centred latent `y = zt - b prior = a z0 + c eps`: a
bridge minus its prior is a diffusion, so no sampler sees a prior.  One rule
holds known, waiting, finished and padded frames: **where a frame's time does
not move, nothing of its state moves.**  Every leaf of a sampler's state
therefore begins with `[b, f]`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameMask, FrameTime, Latents
from framebridge_jax.processes import sde


class Answer(NamedTuple):
  """A denoiser's answer; known frames come back as they were given.

  Attributes:
    x0: the clean latent.
    spread: of a learned variance, where it stands between the pinned step's
      c^2 (0) and the transition's v (1), see `processes.variational`.
  """

  x0: Latents
  spread: Latents | None = None


Denoise = Callable[[Latents, FrameTime], Answer]


@runtime_checkable
class Sampler(Protocol):
  """A frozen dataclass; `state.y` is the centred latent.

  `order` is the declared order of convergence inside (0, T): of moments for
  samplers that add noise.  A step may ask the denoiser more than once; the
  frames that it does not move must stand still in every question (`hold`).
  """

  @property
  def order(self) -> int:
    """Declared order of convergence."""
    ...

  def init(self, y: Latents) -> Any:
    """State before the first step."""
    ...

  def step(
    self,
    process: sde.Process,
    denoise: Denoise,
    state: Any,
    *,
    s: FrameTime,
    t: FrameTime,
    noise: Latents,
  ) -> Any:
    """Moves the state from times t to times s <= t."""
    ...


class Single(NamedTuple):
  """State of a sampler without memory."""

  y: Latents


def run(
  sampler: Sampler,
  process: sde.Process,
  denoise: Denoise,
  zt: Latents,
  times: Float[Array, 'steps b f'],
  *,
  prior: Latents,
  noise: Callable[[Array], Latents],
) -> Latents:
  """Takes zt from times[0] to times[-1] along the plan.

  `noise(k)` gives step k's unit noise.  Steps in which no frame moves never
  call the network, so plans may be padded.
  """

  def shift(t):
    return arrays.expand_like(process.marginal(t).b, zt) * prior

  def centred(y, t):
    return denoise(y + shift(t), t)

  def advance(state, k, t, s):
    new = sampler.step(process, centred, state, s=s, t=t, noise=noise(k))
    return hold(s < t, new, state)

  def body(state, x):
    k, t, s = x
    moving = jnp.any(s < t)
    state = jax.lax.cond(
      moving, advance, lambda state, *_: state, state, k, t, s
    )
    return state, None

  state = sampler.init(zt - shift(times[0]))
  steps = jnp.arange(times.shape[0] - 1)
  state, _ = jax.lax.scan(body, state, (steps, times[:-1], times[1:]))
  moved = arrays.expand_like(times[-1] < times[0], zt)
  return jnp.where(moved, state.y + shift(times[-1]), zt)


def hold(moves: FrameMask, new: Any, old: Any) -> Any:
  """The new state of the frames that move, the old one of the others."""
  return jax.tree.map(
    lambda n, o: jnp.where(arrays.expand_like(moves, n), n, o), new, old
  )
