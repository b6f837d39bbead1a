"""A task is data: which frames are known, and where each frame stands when.

A plan gives the progress `u [steps + 1, f]` of every frame, from 0 (start)
to 1 (clean).  Known frames stand at 1 throughout.  A grid turns progress into
process time; plans are padded with rows that do not move, so that all step
counts and tasks of one length share one compilation.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Plan = Float[np.ndarray, 'steps f']


def progress(
  num_steps: int, frames: int, *, known: tuple[int, ...] = ()
) -> Plan:
  """Equal steps of progress for all frames but the known ones."""
  u = np.linspace(0.0, 1.0, num_steps + 1)[:, None]
  u = np.repeat(u, frames, axis=1)
  u[:, list(known)] = 1.0
  return u


def image_to_video(num_steps: int, frames: int) -> Plan:
  """The first frame is known (FVDM 2.4)."""
  return progress(num_steps, frames, known=(0,))


def interpolate(num_steps: int, frames: int) -> Plan:
  """First and last frame are known (FVDM 2.4)."""
  return progress(num_steps, frames, known=(0, frames - 1))


def time_plan(
  u: Plan,
  grid: Callable[[np.ndarray], np.ndarray],
  *,
  batch: int,
  pad_to: int,
) -> Float[np.ndarray, 'rows b f']:
  """Process times [pad_to + 1, batch, f], float32.

  Raises:
    ValueError: the plan is longer than `pad_to` steps.
  """
  t = grid(u)
  missing = pad_to + 1 - len(t)
  if missing < 0:
    raise ValueError(
      f'the plan has {len(u) - 1} steps, the compiled loop {pad_to}; '
      f'lower num_steps'
    )
  t = np.concatenate([t, np.repeat(t[-1:], missing, axis=0)])
  t = np.repeat(t[:, None], batch, axis=1)
  return t.astype(np.float32)


TASKS = {'image_to_video': image_to_video, 'interpolate': interpolate}
