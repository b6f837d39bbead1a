"""Clips longer than a model's window: one window after the other, in latents.

`extend` makes a window behind the last frames of the one before; `roll` moves
a window along frame by frame, its frames ever cleaner from right to left.
Both go on for as long as they are asked, and hand latents over, never pixels:
no codec's error is made twice.

Windows drift: what a window gets a little wrong the next one takes for given.
Two remedies: the clip's first frame is kept in every window (`anchor`), and
what is made is brought back to its contrast and colour (`match`).
"""

import dataclasses
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from framebridge_jax.arrays import Latents
from framebridge_jax.tasks import generate, plans


@runtime_checkable
class MakeWindow(Protocol):
  """Makes one window of every clip; noise is that of the window's number."""

  def __call__(
    self,
    number: int,
    plan: plans.Plan,
    source: Latents,
    carried: Latents | None = None,
  ) -> generate.Made:
    """See `generate.go_on`."""
    ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Handover:
  """What one window leaves to the next.

  Attributes:
    overlap: last frames that the next window knows.
    anchor: whether it also knows the clip's first frame, before these.
    match: share of the way back to the first frame's mean and standard
      deviation, channel by channel, for every frame that is made.
  """

  overlap: int = 4
  anchor: bool = False
  match: float = 0.0

  def known(self, frames: int) -> int:
    """Known frames at the front of a window.

    Raises:
      ValueError: there are none, or no others.
    """
    known = self.overlap + self.anchor
    if self.overlap < 1 or known >= frames:
      raise ValueError(
        f'overlap is {self.overlap}{" and an anchor" if self.anchor else ""}; '
        f'want 1 to {frames - 1 - self.anchor} of a window of {frames} frames'
      )
    if not 0 <= self.match <= 1:
      raise ValueError(f'match is {self.match:g}, want a share from 0 to 1')
    return known


def extend(
  make: MakeWindow,
  clips: Latents,
  *,
  num_steps: int,
  frames: int,
  handover: Handover,
) -> Iterator[Latents]:
  """Frames behind clips, `frames` less the known ones at a time, endlessly.

  Args:
    make: makes a window.
    clips: latents of at least `overlap` frames.
    num_steps: of each window.
    frames: of a window.
    handover: what a window knows of those before.
  """
  known = handover.known(frames)
  plan = plans.progress(num_steps, frames, known=range(known))
  first, tail = clips[:, :1], clips[:, -handover.overlap :]
  number = 0
  while True:
    front = jnp.concatenate([first, tail], axis=1) if handover.anchor else tail
    rest = jnp.zeros((len(front), frames - known, *front.shape[2:]))
    source = jnp.concatenate([front, rest.astype(front.dtype)], axis=1)
    made = make(number, plan, source).latents[:, known:]
    made = matched(made, first, handover.match)
    yield made
    tail = jnp.concatenate([tail, made], axis=1)[:, -handover.overlap :]
    number += 1


def roll(
  make: MakeWindow,
  clips: Latents,
  *,
  num_steps: int,
  frames: int,
  handover: Handover,
) -> Iterator[Latents]:
  """Frames behind clips, one at a time, endlessly.

  Every frame is on its way while `frames` less the known ones go by, in about
  `num_steps` steps altogether.  Arguments are those of `extend`.

  Raises:
    ValueError: an anchor is asked for.
  """
  if handover.anchor:
    raise ValueError(
      'a rolling window has no anchor: its frames move up past it; use extend'
    )
  known = handover.known(frames)
  moving = frames - known
  ticks = -(-num_steps // moving)
  start = plans.rolling_start(num_steps, frames, overlap=known)
  tick = plans.rolling(ticks, frames, overlap=known)
  first, front = clips[:, :1], clips[:, -known:]
  rest = jnp.zeros((len(front), moving, *front.shape[2:]), front.dtype)
  made = make(0, start, jnp.concatenate([front, rest], axis=1))
  number = 1
  while True:
    new = made.latents[:, known : known + 1]
    new = matched(new, first, handover.match)
    yield new
    front = jnp.concatenate([front, new], axis=1)[:, -known:]
    # The window moves on by a frame, and what travels in it moves up.
    carried = jnp.roll(made.centred, -1, axis=1)
    source = jnp.concatenate([front, rest], axis=1)
    made = make(number, tick, source, carried)
    number += 1


def matched(
  made: Latents, first: Float[Array, 'b 1 h w c'], share: float
) -> Latents:
  """Takes frames a share of the way to the first one's statistics.

  Mean and standard deviation over height and width, channel by channel, as
  AdaIN does (Huang & Belongie 2017); 0 changes nothing.
  """
  if not share:
    return made
  axes = (2, 3)
  mean, want_mean = (jnp.mean(x, axes, keepdims=True) for x in (made, first))
  std, want_std = (jnp.std(x, axes, keepdims=True) for x in (made, first))
  scale = want_std / jnp.maximum(std, _FLAT)
  # A flat channel holds nothing that could be enlarged.
  scale = jnp.where(std > _FLAT, scale, jnp.ones_like(scale))
  return made + share * ((made - mean) * scale + want_mean - made)


_FLAT = 1e-3
