"""Sampling from Python.

  pipeline = framebridge_jax.load('runs/quickstart')
  video = pipeline.animate('photo.png', label=3, num_steps=20, seed=0)
  video.save('photo.mp4')

One model does all tasks; what differs is which frames are known, what the
others set out from, and when.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from framebridge_jax import sampling, saved, wishes
from framebridge_jax.report import video as videos
from framebridge_jax.tasks import generate, long_video
from framebridge_jax.training import sharding

Video = videos.Video
Settings = sampling.Settings
Wish = wishes.Wish
Given = wishes.Given
Watch = generate.Watch
CancelledError = generate.CancelledError


class Progress(NamedTuple):
  """What a preview is shown.

  Attributes:
    step: steps taken.
    num_steps: steps in all.
    video: what the clip would be if it ended here; known frames as they are.
  """

  step: int
  num_steps: int
  video: Video


Preview = Callable[[Progress], bool | None]


def load(
  path: str | os.PathLike,
  *,
  ema: float = 0.0,
  dtype: str = '',
  frames: int = 0,
  size: int = 0,
) -> 'Pipeline':
  """Loads a trained model.

  Args:
    path: the workdir of a run, a weight file, or `quickstart_base`.
    ema: which of the run's averages; 0: the first.
    dtype: of matrix products: `float32`, `bfloat16` or `float16`; '': the one
      it was trained with, but float16 for bfloat16 on a GPU that has none.
    frames: of a window; 0: as many as it was trained with.
    size: side of a frame; 0: the one it was trained with.

  Raises:
    ValueError: nothing that can be sampled from is there, or it cannot make
      such frames.
  """
  mesh = sharding.make_mesh({'data': -1, 'fsdp': 1, 'tensor': 1, 'frames': 1})
  found = saved.load(path, sharding.replicated(mesh), ema=ema)
  desk = wishes.open_desk(found, mesh, dtype=dtype, frames=frames, size=size)
  return Pipeline(desk=desk)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pipeline:
  """A trained model that makes clips.

  Every method takes what the task reads, `label` (-1: no class), `seed` and
  `sample_id`, `preview` and `preview_every`, and the fields of `Settings`.
  A preview is called every so many steps; if it returns False, the method
  raises `CancelledError`.

  Attributes:
    desk: takes wishes, and answers them.
    settings: for what a call does not say.
  """

  desk: wishes.Desk
  settings: Settings = Settings()

  def generate(self, **how: Any) -> Video:
    """A clip of nothing but noise; a bridge refuses."""
    return self.make('generate', **how)

  def animate(self, image: Given, **how: Any) -> Video:
    """A clip that begins with a picture."""
    return self.make('i2v', image, **how)

  def interpolate(self, first: Given, last: Given, **how: Any) -> Video:
    """A clip that leads from one picture to another."""
    return self.make('interpolate', first, last, **how)

  def keyframes(self, pictures: Mapping[int, Given], **how: Any) -> Video:
    """A clip through pictures at any frames, which count from 0."""
    known = ' '.join(map(str, pictures))
    return self.make(f'keyframes:known={known}', *pictures.values(), **how)

  def transition(
    self, first: Given, second: Given, *, overlap: int = 2, **how: Any
  ) -> Video:
    """One clip, a way from its last frames to another's first, and that."""
    return self.make(f'transition:overlap={overlap}', first, second, **how)

  def loop(self, clip: Given, *, overlap: int = 1, **how: Any) -> Video:
    """A clip or a picture, and a way from its end back to its beginning."""
    return self.make(f'loop:overlap={overlap}', clip, **how)

  def next_frame(self, clip: Given, **how: Any) -> Video:
    """A clip and one more frame."""
    return self.make('next_frame', clip, **how)

  def inpaint_time(
    self, clip: Given, missing: Sequence[int], **how: Any
  ) -> Video:
    """A clip with some frames, which count from 0, made anew."""
    gone = ' '.join(map(str, missing))
    return self.make(f'inpaint_time:missing={gone}', clip, **how)

  def progressive(
    self, image: Given, *, slope: float = 0.1, **how: Any
  ) -> Video:
    """A clip that begins with a picture, its early frames clean first."""
    return self.make(f'progressive:slope={slope},first=0', image, **how)

  def edit(
    self,
    clip: Given,
    *,
    strength: float | Sequence[float] = 0.5,
    known: Sequence[int] | None = None,
    **how: Any,
  ) -> Video:
    """A clip made anew from part of the way (SDEdit).

    Args:
      clip: of as many frames as a window, or more, which are left out.
      strength: share of the way that is travelled, of all frames or of each.
      known: frames that stay; None: the first one if the model is a bridge,
        which needs one.
      **how: see the class.
    """
    if known is None:
      known = (0,) if self.needs_known else ()
    options = [f'known={" ".join(map(str, known))}']
    if isinstance(strength, int | float):
      options.append(f'strength={strength}')
    else:
      options.append(f'strengths={" ".join(map(str, strength))}')
    return self.make(f'edit:{",".join(options)}', clip, **how)

  @property
  def needs_known(self) -> bool:
    """Whether there must be a known frame to set out from."""
    return self.desk.config.process.name == 'bridge'

  def make(
    self,
    task: str,
    *given: Given,
    label: int = -1,
    seed: int = 0,
    sample_id: int = 0,
    preview: Preview | None = None,
    preview_every: int = 5,
    **settings: Any,
  ) -> Video:
    """Any task of one window, by name.

    Args:
      task: a row of `tasks.plans.TASKS` with its options, as
        `keyframes:known=0 7`.
      *given: the pictures and clips that it reads.
      label: as the others, see the class.
      seed: see the class.
      sample_id: see the class.
      preview: see the class.
      preview_every: see the class.
      **settings: see the class.

    Raises:
      ValueError: what is given does not make sense; nothing is compiled yet.
      CancelledError: `preview` returned False.
    """
    wish = Wish(given, label, seed, sample_id)
    watch = preview and self._watch(preview, preview_every)
    return self.batch(task, [wish], watch=watch, **settings)[0]

  def batch(
    self,
    task: str,
    wanted: Sequence[Wish],
    *,
    watch: Watch | None = None,
    **settings: Any,
  ) -> list[Video]:
    """Several clips of one task and one style, in one batch."""
    chosen = wishes.change(self.settings, settings)
    orders = [self.desk.take(task, wish, chosen) for wish in wanted]
    return self.desk.fill(orders, watch)

  def extend(
    self,
    clip: Given,
    *,
    frames: int = 0,
    seconds: float = 0.0,
    **how: Any,
  ) -> Video:
    """A clip, or a picture, and what follows it, in `frames` or `seconds`.

    The rest is as for `stream`.

    Raises:
      ValueError: neither or both are given, or the clip is as long already.
    """
    if bool(frames) == bool(seconds):
      raise ValueError(
        f'frames is {frames} and seconds is {seconds:g}; give one of them'
      )
    fps = how.get('fps', self.settings.fps)
    pieces = self.stream(clip, **how)
    return videos.join(pieces, frames or round(seconds * fps))

  def stream(
    self,
    clip: Given,
    *,
    overlap: int = 4,
    anchor: bool = False,
    match: float = 0.0,
    rolling: bool = False,
    label: int = -1,
    seed: int = 0,
    sample_id: int = 0,
    **settings: Any,
  ) -> Iterator[Video]:
    """A clip or a picture, then what follows it, for as long as is asked.

    The first piece is the clip, the others go behind it.

    Args:
      clip: to go on from.  Of one shorter than `overlap` a window is made
        first.
      overlap: frames that a window knows of those before.
      anchor: whether it knows the clip's first frame, too.
      match: share of the way back to that frame's contrast and colour.
      rolling: one frame at a time, in a window that moves along, instead of
        one window after the other.
      label: as the others, see the class.
      seed: see the class.
      sample_id: see the class.
      **settings: see the class.

    Raises:
      ValueError: something about it is wrong.
    """
    chosen = wishes.change(self.settings, settings)
    handover = long_video.Handover(overlap=overlap, anchor=anchor, match=match)
    wish = Wish((clip,), label, seed, sample_id)
    return self.desk.fill_long(
      self.desk.take_long(wish, chosen, handover, rolling=rolling)
    )

  def _watch(self, preview, every):
    """Shows pixels in place of latents."""

    def see(seen):
      frames = np.asarray(self.desk.maker.codec.decode(seen.x0[:1]))[0]
      return preview(Progress(seen.step, seen.num_steps, Video(frames=frames)))

    return Watch(see, every)
