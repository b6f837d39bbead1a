"""From given clips to the window that a model makes, and back.

A window is made of latents.  With a codec that works frame by frame, latents
that are at hand are taken as they are and the others encoded one by one.  With
a codec whose latents hold several frames the window is encoded whole.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from framebridge_jax import arguments
from framebridge_jax.data import codec as codecs
from framebridge_jax.tasks import layouts, plans

Frames = UInt8[np.ndarray, 'f h w c']
Latent = Float[Array, 'f p q d']


class Clip(NamedTuple):
  """A given clip; a picture is one of one frame.

  Attributes:
    frames: its pixels, of the model's size.
    latents: one a frame, where they are at hand.
  """

  frames: Frames
  latents: Latent | None = None


class Window(NamedTuple):
  """What a task makes of a window.

  Attributes:
    plan: of its latents.
    layout: how given clips of some lengths come in.
  """

  plan: plans.Plan
  layout: Callable[[Sequence[int]], layouts.Layout]


def open_window(
  task: str, num_steps: int, frames: int, codec: codecs.Codec
) -> Window:
  """Reads a task, as `keyframes:known=0 7 15`, for windows of some frames.

  Raises:
    ValueError: task or option is unknown, or does not fit such a window.
  """
  row, options = arguments.parse_row(task, plans.TASKS)
  plan = row(num_steps, frames, **options)
  name = task.partition(':')[0]
  lay = layouts.LAYOUTS[name]
  known = arguments.options_of(lay)
  options = {key: x for key, x in options.items() if key in known}
  return Window(
    plan=of_latents(plan, latent_of(codec, frames)),
    layout=lambda lengths: lay(frames, lengths, **options),
  )


def of_latents(
  u: plans.Plan, latent_of: Sequence[int]
) -> Float[np.ndarray, 'steps latents']:
  """The plan of latents that hold a frame each, or several.

  Args:
    u: plan of the frames.
    latent_of: the latent that holds each frame, from 0, growing.

  Raises:
    ValueError: a known frame shares its latent with one that is not.
  """
  groups = [
    np.flatnonzero(np.asarray(latent_of) == latent)
    for latent in range(max(latent_of) + 1)
  ]
  known = set(plans.known_frames(u))
  torn = [g for g in groups if 0 < len(known & set(g.tolist())) < len(g)]
  if torn:
    legal = ', '.join(_span(group) for group in groups)
    raise ValueError(
      f'known frames {" ".join(map(str, sorted(known)))} do not cover whole '
      f'latents: frames {_span(torn[0])} share one; frames that are known or '
      f'unknown together: {legal}'
    )
  return np.stack([u[:, group].min(axis=1) for group in groups], axis=1)


def latent_of(codec: codecs.Codec, frames: int) -> list[int]:
  """The latent that holds each frame."""
  return [codec.frame_map(i) for i in range(frames)]


def framewise(codec: codecs.Codec, frames: int) -> bool:
  """Whether every frame has a latent of its own."""
  return latent_of(codec, frames) == list(range(frames))


def fill(
  layout: layouts.Layout,
  clips: Sequence[Clip],
  codec: codecs.Codec,
  *,
  frames: int,
  size: int,
) -> Latent:
  """Latents of a window in which nothing is made yet.

  Frames without a place hold what is not read.
  """
  shape = codec.latent_shape(frames, size)
  if framewise(codec, frames):
    window = jnp.zeros(shape, jnp.float32)
    for i, (clip, frame) in layout.places.items():
      found = encoded(clips[clip], codec, slice(frame, frame + 1))
      window = window.at[i].set(found[0].astype(jnp.float32))
    return window
  pixels = np.zeros((frames, size, size, 3), np.uint8)
  for i in range(frames):
    # The encoder looks at neighbours: they shall be as near as can be.
    nearest = min(layout.places, key=lambda j, i=i: abs(j - i), default=None)
    if nearest is not None:
      clip, frame = layout.places[nearest]
      pixels[i] = clips[clip].frames[frame]
  return codec.encode(pixels[None])[0]


def encoded(clip: Clip, codec: codecs.Codec, part: slice) -> Latent:
  """Latents of some frames, frame by frame."""
  if clip.latents is not None:
    return clip.latents[part]
  return codec.encode(clip.frames[None, part])[0]


def join(
  layout: layouts.Layout,
  clips: Sequence[Clip],
  made: Latent,
  codec: codecs.Codec,
) -> Clip:
  """The result, given frames and made ones, with latents if there are."""
  frames = np.asarray(codec.decode(made[None]))[0]
  every = [*clips, Clip(frames, made)]  # MADE is the last
  frames = np.concatenate(
    [
      every[piece.clip].frames[piece.start : piece.stop]
      for piece in layout.pieces
    ]
  )
  if len(made) != len(every[layouts.MADE].frames):
    return Clip(frames)
  latents = [
    encoded(every[piece.clip], codec, slice(piece.start, piece.stop))
    for piece in layout.pieces
  ]
  return Clip(frames, jnp.concatenate(latents))


def _span(group):
  first, last = group[0], group[-1]
  return str(first) if first == last else f'{first}-{last}'
