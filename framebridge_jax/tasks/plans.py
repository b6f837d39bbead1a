"""A task is data: which frames are known, and where each frame stands when.

A plan gives the progress `u [steps + 1, f]` of every frame, from 0 (start)
to 1 (clean).  Known frames stand at 1 throughout.  A grid turns progress into
process time; plans are padded with rows that do not move, so that all step
counts and tasks of one length share one compilation.

The rows of TASKS are FVDM's (2.4) and what their composition with a bridge
adds.  Options are numbers of frames, or shares of the way.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from framebridge_jax import arrays

Plan = Float[np.ndarray, 'steps f']


def progress(num_steps: int, frames: int, *, known: Sequence[int] = ()) -> Plan:
  """Equal steps of progress for all frames but the known ones.

  Raises:
    ValueError: a known frame is none of the clip's, or all are known.
  """
  _inside('known', known, frames)
  if len(set(known)) == frames:
    raise ValueError(f'all {frames} frames are known; leave one to be made')
  u = np.linspace(0.0, 1.0, num_steps + 1)[:, None]
  u = np.repeat(u, frames, axis=1)
  u[:, list(known)] = 1.0
  return u


def generate(num_steps: int, frames: int) -> Plan:
  """No frame is known: diffusion alone can begin so."""
  return progress(num_steps, frames)


def image_to_video(num_steps: int, frames: int) -> Plan:
  """The first frame is known."""
  return progress(num_steps, frames, known=(0,))


def interpolate(num_steps: int, frames: int) -> Plan:
  """First and last frame are known."""
  return progress(num_steps, frames, known=(0, frames - 1))


def keyframes(num_steps: int, frames: int, *, known: str = '0') -> Plan:
  """Any frames are known: their indices, as '0 7 15'."""
  return progress(num_steps, frames, known=indices('known', known))


def extend(num_steps: int, frames: int, *, overlap: int = 4) -> Plan:
  """The first `overlap` frames are known: the last ones of another clip."""
  return progress(num_steps, frames, known=range(overlap))


def transition(num_steps: int, frames: int, *, overlap: int = 2) -> Plan:
  """`overlap` frames at both ends are known, each of another clip."""
  ends = [*range(overlap), *range(frames - overlap, frames)]
  return progress(num_steps, frames, known=ends)


def next_frame(num_steps: int, frames: int) -> Plan:
  """All frames but the last are known."""
  return progress(num_steps, frames, known=range(frames - 1))


def loop(num_steps: int, frames: int, *, overlap: int = 1) -> Plan:
  """Ends where it begins: the ends of one clip, last and first, are known."""
  return transition(num_steps, frames, overlap=overlap)


def inpaint_time(
  num_steps: int, frames: int, *, missing: str = '', count: int = 0
) -> Plan:
  """All frames are known but the `missing` ones: indices, as '4 5 6'.

  Or `count` frames in the middle.  By default half of the clip is missing.
  """
  count = count or max(frames // 2, 1)
  start = (frames - count) // 2
  gone = indices('missing', missing) or range(start, start + count)
  _inside('missing', gone, frames)
  return progress(
    num_steps, frames, known=[i for i in range(frames) if i not in gone]
  )


def progressive(
  num_steps: int, frames: int, *, slope: float = 0.1, first: int = 1
) -> Plan:
  """Early frames run ahead: times `min(slope i t, t)`, i counted from `first`.

  Frames with `slope i < 1` set out below T, from a noised source.  FVDM counts
  from 1; from 0, frame 0 is known.
  """
  left = np.linspace(1.0, 0.0, num_steps + 1)[:, None]
  ahead = np.minimum(slope * np.arange(first, first + frames), 1.0)
  return 1 - left * ahead


def staggered(num_steps: int, frames: int, *, lag: float = 1.0) -> Plan:
  """Frames set out one after another; the last one `lag` ways later."""
  u = np.linspace(0.0, 1.0 + lag, num_steps + 1)[:, None]
  return np.clip(u - lag * np.arange(frames) / max(frames - 1, 1), 0.0, 1.0)


def rolling(num_steps: int, frames: int, *, overlap: int = 0) -> Plan:
  """One tick of a stream, behind `overlap` known frames.

  Of n frames that travel, frame i goes from `1 - (i + 1) / n` to `1 - i / n`:
  the first one ends clean, the others move up one place.  Between ticks the
  clip is handed over by one frame and a new one stands at 0.
  """
  ahead, places = _moving(frames, overlap)
  u = np.linspace(0.0, 1.0, num_steps + 1)[:, None]
  u = (u + (len(places) - 1 - places)) / len(places)
  return np.concatenate([np.repeat(ahead, num_steps + 1, axis=0), u], axis=1)


def rolling_start(num_steps: int, frames: int, *, overlap: int = 0) -> Plan:
  """Brings a clip from the start to where the first tick of `rolling` ends."""
  ahead, places = _moving(frames, overlap)
  u = np.linspace(0.0, 1.0, num_steps + 1)[:, None]
  u = np.maximum(u - places / len(places), 0.0)
  return np.concatenate([np.repeat(ahead, num_steps + 1, axis=0), u], axis=1)


def edit(
  num_steps: int,
  frames: int,
  *,
  strength: float = 0.5,
  strengths: str = '',
  known: str = '',
) -> Plan:
  """Frames set out from their noised originals (SDEdit, Meng et al. 2022).

  `strength` is the share of the way that is travelled; 1 forgets the source.
  `strengths` has a number for each frame, as '0 0.2 0.5'; those of 0 and those
  that are `known` stay as they are.
  """
  shares = np.full(frames, strength)
  if strengths:
    shares = _numbers(strengths, frames)
  stay = indices('known', known)
  _inside('known', stay, frames)
  shares[list(stay)] = 0.0
  return edit_frames(num_steps, shares)


def edit_frames(num_steps: int, strength: Float[np.ndarray, 'f']) -> Plan:
  """As `edit`, with a strength in [0, 1] a frame; frames of 0 are known.

  Raises:
    ValueError: nothing is to be changed.
  """
  if not np.any(strength):
    raise ValueError(
      f'all {len(strength)} frames are to stay as they are; give one a '
      f'strength above 0'
    )
  left = np.linspace(1.0, 0.0, num_steps + 1)[:, None]
  return 1 - left * strength


def time_plan(
  u: Plan,
  grid: Callable[[np.ndarray], np.ndarray],
  *,
  batch: int,
  pad_to: int,
) -> Float[np.ndarray, 'rows b f']:
  """Process times [pad_to + 1, batch, f], float32.

  Raises:
    ValueError: the plan is longer than `pad_to` steps, leaves [0, 1] or falls,
      or the grid does not give a time for each of its numbers.
  """
  if not (u.min() >= -_SNAP and u.max() <= 1 + _SNAP):
    raise ValueError(
      f'the plan runs from {u.min():g} to {u.max():g}; progress stays in [0, 1]'
    )
  if (np.diff(u, axis=0) < -_SNAP).any():
    raise ValueError('the plan falls somewhere; progress only grows')
  # A residue of rounding beside an end would be a step of its own, and a huge
  # one on the clock log(a / c).
  u = np.where(u < _SNAP, 0.0, np.where(u > 1 - _SNAP, 1.0, u))
  t = grid(u)
  arrays.require('grid(plan)', t, 'floating', u.shape, '; as of the plan')
  missing = pad_to + 1 - len(t)
  if missing < 0:
    raise ValueError(
      f'the plan has {len(u) - 1} steps, the compiled loop {pad_to}; '
      f'lower num_steps'
    )
  t = np.concatenate([t, np.repeat(t[-1:], missing, axis=0)])
  t = np.repeat(t[:, None], batch, axis=1)
  return t.astype(np.float32)


def known_frames(u: Plan) -> tuple[int, ...]:
  """Indices of the frames that a plan leaves as they are."""
  return tuple(np.flatnonzero(np.all(u == 1, axis=0)).tolist())


_SNAP = 1e-9


def _moving(frames, overlap):
  """Progress of the known frames, and places of those that travel."""
  if not 0 <= overlap < frames:
    raise ValueError(
      f'overlap is {overlap}, want 0 to {frames - 1} of {frames} frames'
    )
  return np.ones((1, overlap)), np.arange(frames - overlap)


def _inside(name, indices, frames):
  outside = [i for i in indices if not 0 <= i < frames]
  if outside:
    raise ValueError(
      f'{name} frames {outside} are outside a clip of {frames} frames; they '
      f'count from 0'
    )


def indices(name: str, text: str) -> list[int]:
  """Reads indices of frames, as 0 7 15.

  Raises:
    ValueError: it says something else.
  """
  try:
    return [int(word) for word in text.split()]
  except ValueError:
    raise ValueError(
      f'{name} is {text!r}, want indices of frames such as 0 7 15'
    ) from None


def _numbers(text, frames):
  try:
    numbers = np.array([float(word) for word in text.split()])
  except ValueError:
    numbers = np.array([])
  if len(numbers) != frames or not (numbers >= 0).all():
    raise ValueError(
      f'strengths is {text!r}, want {frames} numbers from 0 to 1, one a frame'
    )
  return numbers


TASKS: dict[str, Callable[..., Plan]] = {
  'generate': generate,
  'i2v': image_to_video,
  'interpolate': interpolate,
  'keyframes': keyframes,
  'extend': extend,
  'transition': transition,
  'next_frame': next_frame,
  'loop': loop,
  'inpaint_time': inpaint_time,
  'progressive': progressive,
  'staggered': staggered,
  'rolling': rolling,
  'edit': edit,
}
