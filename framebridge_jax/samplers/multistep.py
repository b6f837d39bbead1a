"""Multistep exponential integrators: DPM-Solver++, and DBIM of order 2 and 3.

On the clock `l = log(a / c)` the probability flow of `y` is solved by

  y_s = (c_s / c_t) y_t + a_s int_0^h e^(u - h) x0(l_t + u) du,          (1)

`h = l_s - l_t`.  With the answer held constant that is DDIM; past answers give
it a slope and a curvature, whose integrals are

  p2 = h - 1 + e^-h,   p3 = h^2 / 2 - p2.                                (2)

DPM-Solver++(2M) (Lu et al. 2022) takes the answer at the middle instead,
`p2 = h (1 - e^-h) / 2`.  The SDE's integral has `2 e^(2u - 2h)` in place of
the kernel of Eq. 1.

A step that has no past, or whose past or present stands at an end of the
clock, drops the terms that it cannot know: start-up steps are of lower order.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime, Latents
from framebridge_jax.processes import sde
from framebridge_jax.samplers import centred, loop


class Past(NamedTuple):
  """The centred latent, and the latest answers with their clocks.

  Most recent first; a clock of -inf means that there is no such answer.
  """

  y: Latents
  x0: tuple[Latents, ...]
  clock: tuple[FrameTime, ...]


def taylor(h: FrameTime) -> FrameTime:
  """Integral of a slope's part, exact (Eq. 2's p2)."""
  return h + jnp.expm1(-h)


def midpoint(h: FrameTime) -> FrameTime:
  """The slope's part as DPM-Solver++(2M) has it."""
  return -0.5 * h * jnp.expm1(-h)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Multistep:
  """Deterministic; `order` answers, this one included, make each step.

  Order 3 is met only when the first steps are smaller than the rest (graded
  as the cube, say); from a cold start its lower-order steps show.
  """

  order: int = 2
  slope_weight: Callable[[FrameTime], FrameTime] = taylor

  def __post_init__(self):
    if self.order not in (1, 2, 3):
      raise ValueError(f'order is {self.order}, want 1, 2 or 3')

  def init(self, y: Latents) -> Past:
    """The centred latent and an empty past."""
    return _empty(y, self.order - 1)

  def step(
    self,
    process: sde.Process,
    denoise: loop.Denoise,
    state: Past,
    *,
    s: FrameTime,
    t: FrameTime,
    noise: Latents,
  ) -> Past:
    """One step from t to s <= t; `noise` is used at T of a bridge alone."""
    x0_hat = denoise(state.y, t).x0
    eps_hat = centred.noise_in(process, state.y, x0_hat, t, noise)
    line = _fit(process, state, x0_hat, s, t)
    p2 = self.slope_weight(line.h)
    p3 = 0.5 * line.h**2 - taylor(line.h)
    p2, p3, a_s = (
      arrays.expand_like(x, x0_hat) for x in (p2, p3, process.marginal(s).a)
    )
    y = centred.combine(process, x0_hat, eps_hat, s)
    y += a_s * (p2 * line.slope + p3 * line.curvature)
    return _remember(state, y, x0_hat, centred.clock(process, t))


@dataclasses.dataclass(frozen=True, kw_only=True)
class StochasticMultistep:
  """SDE-DPM-Solver++(2M): the pinned step with the answer at its middle.

  Within a step the answer does not follow the noise that the step adds, but
  the slope of the next step does: moments converge with order 2.
  """

  @property
  def order(self) -> int:
    """2, though a step's answer ignores its own noise."""
    return 2

  def init(self, y: Latents) -> Past:
    """The centred latent and an empty past."""
    return _empty(y, 1)

  def step(
    self,
    process: sde.Process,
    denoise: loop.Denoise,
    state: Past,
    *,
    s: FrameTime,
    t: FrameTime,
    noise: Latents,
  ) -> Past:
    """One step from t to s <= t."""
    x0_hat = denoise(state.y, t).x0
    line = _fit(process, state, x0_hat, s, t)
    ahead = x0_hat + arrays.expand_like(line.h, x0_hat) / 2 * line.slope
    y = centred.pinned_step(process, state.y, ahead, s=s, t=t, noise=noise)
    return _remember(state, y, x0_hat, centred.clock(process, t))


class _Line(NamedTuple):
  """The answer along the clock: `x0 + slope u + curvature u^2 / 2`."""

  h: FrameTime
  slope: Latents
  curvature: Latents


def _empty(y, count):
  gone = jnp.full(y.shape[:2], -jnp.inf, y.dtype)
  return Past(y, (jnp.zeros_like(y),) * count, (gone,) * count)


def _remember(state, y, x0_hat, clock_t):
  count = len(state.x0)
  return Past(y, (x0_hat, *state.x0)[:count], (clock_t, *state.clock)[:count])


def _fit(process, state, x0_hat, s, t):
  """Divided differences over the past; 0 for what it does not reach."""
  zero = jnp.zeros_like(x0_hat)
  h, usable = _gap(centred.clock(process, s), centred.clock(process, t))
  if not state.x0:
    return _Line(h, zero, zero)
  h1, ok = _gap(centred.clock(process, t), state.clock[0])
  # Over a far smaller gap a difference of answers is rounding.
  ok &= usable & (h1 > _LEAST_SHARE * h)
  first = _divided(x0_hat - state.x0[0], h1, ok)
  if len(state.x0) == 1:
    return _Line(h, first, zero)
  h2, further = _gap(state.clock[0], state.clock[1])
  second = _divided(state.x0[0] - state.x0[1], h2, ok & further)
  curve = _divided(first - second, h1 + h2, ok & further)
  return _Line(h, first + arrays.expand_like(h1, zero) * curve, 2 * curve)


def _gap(later, earlier):
  """Clock between two points, and whether both are inside; 1 where not."""
  ok = jnp.isfinite(later) & jnp.isfinite(earlier)
  later, earlier = (
    jnp.where(ok, x, jnp.zeros_like(x)) for x in (later, earlier)
  )
  ok &= later > earlier
  return jnp.where(ok, later - earlier, jnp.ones_like(later)), ok


_LEAST_SHARE = 1e-4


def _divided(difference, gap, ok):
  gap, ok = (arrays.expand_like(x, difference) for x in (gap, ok))
  return jnp.where(ok, difference / gap, jnp.zeros_like(difference))
