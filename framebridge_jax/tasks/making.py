"""Carrying tasks out on given clips: pixels in, pixels out, several at once."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from framebridge_jax import denoiser
from framebridge_jax.arrays import SampleKeys
from framebridge_jax.data import codec as codecs
from framebridge_jax.samplers import grids, loop
from framebridge_jax.tasks import (
  generate,
  inputs,
  long_video,
  plans,
  programs,
  windows,
)


class Request(NamedTuple):
  """One clip that is wanted.

  Attributes:
    clips: what is given.
    label: class; the null class for none.
    seed: of the noise.
    sample_id: tells the futures of one seed apart.
  """

  clips: tuple[windows.Clip, ...]
  label: int
  seed: int
  sample_id: int


class Style(NamedTuple):
  """How clips are made.

  Attributes:
    sampler: moves the frames.
    grid: progress to process time, for `num_steps` equal steps.
    num_steps: of a window.
    guide: strengths of guidance.
    motion: how freely.
    null_label: the class that guidance pushes away from.
    prior: what frames set out from; None: what they did in training.
  """

  sampler: loop.Sampler
  grid: grids.Grid
  num_steps: int
  guide: generate.Guidance
  motion: generate.Motion
  null_label: int
  prior: denoiser.MakePrior | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Maker:
  """A trained model, ready for tasks.

  Attributes:
    model: joins network and process.
    variables: of its network.
    conditioning: from given frames to the prior and to what is seen.
    codec: between pixels and latents.
    hold_given: whether known frames come back as they are; if not they are a
      condition alone, and every frame is made.
    frames: of a window, in pixels.
    size: side of a frame.
    place: lays arrays that begin with a batch out over the devices.
    share: number of devices that share a batch.
  """

  model: denoiser.Denoiser
  variables: PyTree
  conditioning: denoiser.Conditioning
  codec: codecs.Codec
  hold_given: bool
  frames: int
  size: int
  place: Callable[[PyTree], PyTree]
  share: int

  def make(
    self,
    window: windows.Window,
    requests: Sequence[Request],
    style: Style,
    watch: generate.Watch | None = None,
  ) -> list[windows.Clip]:
    """One window for each request, joined with what was given.

    Args:
      window: what the task asks of it.
      requests: of one task, in one batch.
      style: how.
      watch: sees the windows on the way.

    Raises:
      ValueError: task and clips, or task and model, do not go together;
        nothing is compiled yet.
      CancelledError: `watch` ended it.
    """
    laid = [_lay(window, request) for request in requests]
    wanted = self.task(window.plan, style)
    source = jnp.stack(
      [
        windows.fill(
          layout, request.clips, self.codec, frames=self.frames, size=self.size
        )
        for layout, request in zip(laid, requests, strict=True)
      ]
    )
    made = self._run(wanted, source, requests, style, watch=watch).latents
    return [
      windows.join(layout, request.clips, latents, self.codec)
      for layout, request, latents in zip(laid, requests, made, strict=False)
    ]

  def check(
    self, window: windows.Window, request: Request, style: Style
  ) -> None:
    """Refuses what `make` would refuse, before anything costly.

    Raises:
      ValueError: see there.
    """
    _lay(window, request)
    task = self.task(window.plan, style)
    inputs.check_task(task, frames=window.plan.shape[1])
    inputs.check_start(self.model, task, generate.masks(task)[1], style.guide)

  def check_handover(self) -> None:
    """Refuses to go on from latents that hold several frames.

    Raises:
      ValueError: the codec's do.
    """
    if not windows.framewise(self.codec, self.frames):
      raise ValueError(
        'a latent of this codec holds several frames, of which the first of '
        'a clip holds one: latents cannot be handed over; extend by one '
        'window at a time'
      )

  def stream(
    self,
    requests: Sequence[Request],
    style: Style,
    handover: long_video.Handover,
    *,
    rolling: bool = False,
  ) -> Iterator[list[windows.Clip]]:
    """What follows the requests' clips, piece by piece, endlessly.

    A clip has as many frames as the overlap, or more.

    Raises:
      ValueError: see `check_handover`, and `Handover.known`.
    """
    self.check_handover()
    given = jnp.stack(
      [
        jnp.concatenate(
          [windows.encoded(clip, self.codec, part) for part in _ends(handover)]
        )
        for (clip,) in (request.clips for request in requests)
      ]
    )

    def make(number, plan, source, carried=None):
      return self._run(
        self.task(plan, style),
        source,
        requests,
        style,
        window=number,
        carried=carried,
      )

    walk = long_video.roll if rolling else long_video.extend
    for latents in walk(
      make,
      given,
      num_steps=style.num_steps,
      frames=self.frames,
      handover=handover,
    ):
      frames = np.asarray(self.codec.decode(latents))
      yield [windows.Clip(*pair) for pair in zip(frames, latents, strict=True)]

  def task(self, plan: plans.Plan, style: Style) -> generate.Task:
    """A plan as a task of this model.

    Raises:
      ValueError: the model knows one time for all frames, the plan several.
    """
    known = plans.known_frames(plan)
    given = known
    if not self.hold_given:
      moving = np.delete(plan, known, axis=1)
      if moving[0].any() or np.ptp(moving, axis=1).any():
        raise ValueError(
          'this model was trained with one time for all frames '
          '(hold_given=False), and the task has frames that set out at times '
          'of their own; it can make whole clips from given frames only'
        )
      plan = np.repeat(moving[:, :1], plan.shape[1], axis=1)
    return generate.Task(
      plan=plan,
      grid=style.grid,
      conditioning=self._conditioning(style.prior),
      pad_to=generate.padded(len(plan) - 1),
      given=given,
      motion=style.motion,
    )

  def _conditioning(self, prior):
    """With another prior, which the network sees if it saw the old one."""
    if prior is None:
      return self.conditioning
    old = self.conditioning
    shown = prior if old.shown == old.prior else old.shown
    return dataclasses.replace(old, prior=prior, shown=shown)

  def _run(
    self,
    task,
    source,
    requests,
    style,
    *,
    watch=None,
    window=None,
    carried=None,
  ):
    """Samples a batch that the devices share equally."""
    keys = _keys(requests)
    if window is not None:
      keys = programs.window_keys(keys, window)
    labels = jnp.array([request.label for request in requests], jnp.int32)
    batch = self.place(
      jax.tree.map(
        lambda x: _padded(x, self.share), (source, labels, keys, carried)
      )
    )
    source, labels, keys, carried = batch
    made = generate.go_on(
      self.model,
      style.sampler,
      self.variables,
      task,
      source=source,
      label=labels,
      keys=keys,
      guide=style.guide,
      null_label=style.null_label,
      watch=watch,
      carried=carried,
    )
    return jax.tree.map(lambda x: x[: len(requests)], made)


def _lay(window, request):
  """The layout of what is given."""
  return window.layout([len(clip.frames) for clip in request.clips])


def _ends(handover):
  """The first frame, and the last ones."""
  return slice(0, 1), slice(-handover.overlap, None)


def _keys(requests) -> SampleKeys:
  """One key a request, whatever batch it is in."""
  return jnp.concatenate(
    [generate.sample_keys(x.seed, [x.sample_id]) for x in requests]
  )


def _padded(x, multiple):
  """Repeats the last entry until the devices share the batch equally."""
  missing = -len(x) % multiple
  if not missing:
    return x
  return jnp.concatenate([jnp.asarray(x), jnp.repeat(x[-1:], missing, axis=0)])
