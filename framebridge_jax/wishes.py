"""What users ask for: taken in and checked, then answered with videos."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
from absl import logging

from framebridge_jax import build, check, provenance, sampling, saved
from framebridge_jax.data import given as media
from framebridge_jax.report import video as videos
from framebridge_jax.tasks import (
  generate,
  long_video,
  making,
  plans,
  windows,
)
from framebridge_jax.training import sharding

Given = Any  # a path, a uint8 array, a PIL image, or a Video


class Wish(NamedTuple):
  """One clip that is wanted.

  Attributes:
    given: pictures and clips that the task reads.
    label: class; -1: none.
    seed: of the noise.
    sample_id: tells the futures of one seed apart.
  """

  given: Sequence[Given] = ()
  label: int = -1
  seed: int = 0
  sample_id: int = 0


class Order(NamedTuple):
  """A wish that was checked: nothing in it can be wrong any more.

  Attributes:
    task: with its options.
    settings: how, in words.
    style: how, in objects.
    window: what the task asks of a window; of a stream, of its first one.
    request: what was given, read.
    facts: of the result's sidecar.
  """

  task: str
  settings: sampling.Settings
  style: making.Style
  window: windows.Window
  request: making.Request
  facts: dict[str, Any]


class Long(NamedTuple):
  """An order of a clip that goes on and on."""

  order: Order
  handover: long_video.Handover
  rolling: bool


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Desk:
  """Takes wishes to a trained model, and gives the videos out.

  Attributes:
    config: that the model was trained with.
    weights: facts about its parameters.
    maker: carries tasks out.
    told: what users were warned of; a batch is of one kind, and they are told
      once.
  """

  config: ml_collections.ConfigDict
  weights: Mapping[str, Any]
  maker: making.Maker
  told: set[str] = dataclasses.field(default_factory=set)

  def take(
    self,
    task: str,
    wish: Wish,
    settings: sampling.Settings,
    asked: Mapping[str, Any] | None = None,
  ) -> Order:
    """Checks a wish for one window, and reads what it gives.

    `asked` are further facts of the sidecar.

    Raises:
      ValueError: something about it is wrong.
    """
    style = sampling.make_style(self.config, settings)
    window = windows.open_window(
      task, settings.num_steps, self.maker.frames, self.maker.codec
    )
    unmet = sampling.unmet(self.config, plans.known_frames(window.plan))
    if unmet and unmet not in self.told:
      self.told.add(unmet)
      logging.warning('%s: %s', task, unmet)
    clips, read = self._read(wish.given)
    label = sampling.class_of(self.config, wish.label)
    request = making.Request(clips, label, wish.seed, wish.sample_id)
    self.maker.check(window, request, style)
    facts = provenance.sidecar(
      self.config,
      self.weights,
      settings,
      given=read,
      wish={
        'task': task,
        **(asked or {}),
        'label': wish.label,
        'seed': wish.seed,
        'sample_id': wish.sample_id,
      },
    )
    return Order(task, settings, style, window, request, facts)

  def fill(
    self, orders: Sequence[Order], watch: generate.Watch | None = None
  ) -> list[videos.Video]:
    """Makes the clips of orders that differ in nothing but their requests.

    Raises:
      CancelledError: `watch` ended it.
    """
    first = orders[0]
    made = self.maker.make(
      first.window, [order.request for order in orders], first.style, watch
    )
    return [
      _video(clip, order) for clip, order in zip(made, orders, strict=True)
    ]

  def take_long(
    self,
    wish: Wish,
    settings: sampling.Settings,
    handover: long_video.Handover,
    *,
    rolling: bool = False,
    **asked: Any,
  ) -> Long:
    """Checks a wish for a clip that goes on from what is given.

    Of something shorter than the overlap a window is made first, as of a
    picture.

    Raises:
      ValueError: something about it is wrong.
    """
    handover.known(self.maker.frames)
    self.maker.check_handover()
    if len(wish.given) != 1:
      raise ValueError(
        f'extend takes one clip or picture, {len(wish.given)} are given'
      )
    clips, _ = self._read(wish.given)
    short = len(clips[0].frames) < handover.overlap
    task = 'i2v' if short else f'extend:overlap={handover.overlap}'
    given = clips[0].frames[0] if short else wish.given[0]
    asked |= {
      'task': 'rolling' if rolling else 'extend',
      **dataclasses.asdict(handover),
    }
    order = self.take(task, wish._replace(given=(given,)), settings, asked)
    return Long(order, handover, rolling)

  def fill_long(self, long: Long) -> Iterator[videos.Video]:
    """Gives the clip out, then what follows it, for as long as is asked."""
    order = long.order
    if order.task == 'i2v':
      (first,) = self.maker.make(order.window, [order.request], order.style)
    else:
      (first,) = order.request.clips
    yield _video(first, order)
    request = order.request._replace(clips=(first,))
    for (piece,) in self.maker.stream(
      [request], order.style, long.handover, rolling=long.rolling
    ):
      yield _video(piece, order)

  def _read(self, given):
    """Clips of the model's size, and facts about them."""
    clips, facts = [], []
    for x in given:
      if isinstance(x, videos.Video):
        clip = windows.Clip(x.frames, x.latents)
      else:
        clip = windows.Clip(media.read_clip(x, self.maker.size))
      path = {'path': os.fspath(x)} if isinstance(x, str | os.PathLike) else {}
      count, sha256 = len(clip.frames), media.fingerprint(clip.frames)
      clips.append(clip)
      facts.append({**path, 'frames': count, 'sha256': sha256})
    return tuple(clips), facts


def open_desk(
  found: saved.Saved,
  mesh: jax.sharding.Mesh,
  *,
  dtype: str = '',
  frames: int = 0,
  size: int = 0,
) -> Desk:
  """A desk for a model that was loaded, over the devices of a mesh.

  Args:
    found: the model.
    mesh: whose devices share a batch.
    dtype: see `sampling.adapted`, as for `frames` and `size`.
    frames: of a window.
    size: of a frame.

  Raises:
    ValueError: the model cannot make such frames.
  """
  config = sampling.adapted(found.config, dtype=dtype, frames=frames, size=size)
  maker = making.Maker(
    model=build.make_denoiser(config),
    variables=found.variables,
    conditioning=build.make_conditioning(config),
    codec=build.make_codec(config),
    hold_given=config.hold_given,
    frames=config.data.frames,
    size=config.data.size,
    place=lambda x: jax.device_put(x, sharding.batch_sharding(mesh)),
    share=mesh.size,
  )
  return Desk(config=config, weights=found.facts, maker=maker)


def change(
  settings: sampling.Settings, changes: Mapping[str, Any]
) -> sampling.Settings:
  """Settings with some changed.

  Raises:
    ValueError: there is no such setting.
  """
  known = [field.name for field in dataclasses.fields(settings)]
  for name in changes:
    if name not in known:
      raise ValueError(f'{name} is no setting{check.nearest(name, known)}')
  return dataclasses.replace(settings, **changes)


def _video(clip, order):
  return videos.Video(
    frames=clip.frames,
    latents=clip.latents,
    fps=order.settings.fps,
    facts=order.facts,
  )
