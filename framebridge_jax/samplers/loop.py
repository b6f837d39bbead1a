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
from jaxtyping import Array, Float, Int

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
Noise = Callable[[Array], Latents]  # of a step
Times = Float[Array, 'rows b f']
Step = Int[Array, '']


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
  times: Times,
  *,
  prior: Latents,
  noise: Noise,
) -> Latents:
  """Takes zt from times[0] to times[-1] along the plan.

  `noise(k)` gives step k's unit noise.  Steps in which no frame moves never
  call the network, so plans may be padded.
  """
  state = begin(sampler, process, zt, times, prior=prior)
  state = walk(
    sampler, process, denoise, state, times, prior=prior, noise=noise
  )
  return end(process, state, zt, times, prior=prior)


def begin(
  sampler: Sampler,
  process: sde.Process,
  zt: Latents,
  times: Times,
  *,
  prior: Latents,
) -> Any:
  """The state at times[0]."""
  return sampler.init(zt - _shift(process, times[0], prior))


def walk(
  sampler: Sampler,
  process: sde.Process,
  denoise: Denoise,
  state: Any,
  times: Times,
  *,
  prior: Latents,
  noise: Noise,
  span: tuple[Step, Step] | None = None,
) -> Any:
  """Takes a state along the plan, or along the steps `span[0] <= k < span[1]`.

  The span is data: one program walks the plan at once and in parts, with
  results equal to the bit.
  """
  steps = jnp.arange(times.shape[0] - 1)
  first, last = (0, len(steps)) if span is None else span

  def centred(y, t):
    return denoise(y + _shift(process, t, prior), t)

  def advance(state, k, t, s):
    new = sampler.step(process, centred, state, s=s, t=t, noise=noise(k))
    return hold(s < t, new, state)

  def body(state, x):
    k, t, s = x
    moving = jnp.any(s < t) & (first <= k) & (k < last)
    state = jax.lax.cond(
      moving, advance, lambda state, *_: state, state, k, t, s
    )
    return state, None

  state, _ = jax.lax.scan(body, state, (steps, times[:-1], times[1:]))
  return state


def end(
  process: sde.Process,
  state: Any,
  zt: Latents,
  times: Times,
  *,
  prior: Latents,
) -> Latents:
  """The latents at times[-1]; frames that the plan never moved are zt's."""
  moved = arrays.expand_like(times[-1] < times[0], zt)
  return jnp.where(moved, placed(process, state.y, times[-1], prior=prior), zt)


def placed(
  process: sde.Process, y: Latents, t: FrameTime, *, prior: Latents
) -> Latents:
  """The latents at times t that a centred one stands for."""
  return y + _shift(process, t, prior)


def _shift(process, t, prior):
  return arrays.expand_like(process.marginal(t).b, prior) * prior


def hold(moves: FrameMask, new: Any, old: Any) -> Any:
  """The new state of the frames that move, the old one of the others."""
  return jax.tree.map(
    lambda n, o: jnp.where(arrays.expand_like(moves, n), n, o), new, old
  )
