"""Samples of any system: a folder of videos."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from etils import epath

from framebridge_jax.data import clips, video_io
from framebridge_jax.evaluation import measures, sides

# Frame rates are written with rounding; half as many frames are no rounding.
_FPS_SLACK = 1.25


class SampleError(ValueError):
  """A folder that cannot be scored; the message says why."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Folder:
  """Videos of one size, of which nothing but headers was read.

  Attributes:
    folder: where they are.
    paths: by the name of the sample.
    heads: what their headers say, by the same.
    frames: that are read of each.
    size: side that frames are brought to.
  """

  folder: epath.Path
  paths: Mapping[str, epath.Path]
  heads: Mapping[str, '_Head']
  frames: int
  size: int

  def clips(
    self,
    given: Callable[[str], sides.Given | None],
    names: Sequence[str],
    share: tuple[int, int] = (0, 1),
  ) -> Iterator[measures.Clip]:
    """Clips by name, with what each was given, if that is known.

    Args:
      given: finds it by the name of the sample.
      names: of the samples.
      share: which host this is, of how many; each reads some of them.

    Raises:
      SampleError: a video is damaged, or shorter than its header says.
    """
    host, hosts = share
    for name in names[host::hosts]:
      own = given(name)
      yield measures.Clip(
        name=name,
        video=clips.resize_crop(
          _read(self.paths[name], self.frames), self.size
        ),
        image=own.image if own else None,
        truth=own.truth if own else None,
        caption=own.caption if own else '',
        label=own.label if own else -1,
      )

  def doubts(self, samples: int, fps: float) -> Iterator[str]:
    """What a protocol does not allow, and can be scored all the same.

    Args:
      samples: that the protocol scores.
      fps: frames a second of its real windows; 0: not known.
    """
    count = len(self.paths)
    if count < samples:
      yield (
        f'{self.folder} holds {count} videos, the protocol scores {samples}'
      )
    if count > samples:
      yield (
        f'{self.folder} holds {count} videos, the protocol scores {samples}: '
        f'the first ones by name are taken'
      )
    first = min(self.paths)
    path, head = self.paths[first], self.heads[first]
    if head.frames > self.frames:
      yield (
        f'{path} has {head.frames} frames, the protocol scores {self.frames}: '
        f'the first ones are taken'
      )
    ratio = head.fps / fps if head.fps and fps else 1.0
    if not 1 / _FPS_SLACK < ratio < _FPS_SLACK:
      yield (
        f'{path} plays at {head.fps:.3g} frames a second, windows of the real '
        f'side at {fps:.3g}: its frames may lie {1 / ratio:.2g} times as far '
        f'apart; write videos at the rate that they were made for'
      )
    if min(head.width, head.height) < self.size:
      yield (
        f'{path} is {head.width} x {head.height}, the protocol scores '
        f'{self.size} x {self.size}: frames are enlarged'
      )


def open_folder(folder: epath.Path, *, frames: int, size: int) -> Folder:
  """Lists a folder's videos and looks at their headers.

  Args:
    folder: of videos; sub-folders are not looked into.
    frames: of a clip.
    size: side that frames are brought to.

  Raises:
    SampleError: there is no video, or they differ in size or are too short.
  """
  paths = _videos(folder)
  heads = {name: _head(path) for name, path in paths.items()}
  _judge_alike({paths[name]: head for name, head in heads.items()}, frames)
  return Folder(
    folder=folder, paths=paths, heads=heads, frames=frames, size=size
  )


def _judge_alike(heads, frames):
  """Refuses what no setting makes right."""
  first, head = next(iter(heads.items()))
  for path, other in heads.items():
    if (other.width, other.height) != (head.width, head.height):
      raise SampleError(
        f'{path} is {other.width} x {other.height}, {first.name} is '
        f'{head.width} x {head.height}; give videos of one size'
      )
    if 0 < other.frames < frames:
      raise SampleError(
        f'{path} has {other.frames} frames, the protocol scores {frames}; make '
        f'videos of {frames} frames'
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Head:
  frames: int
  fps: float
  width: int
  height: int


def _videos(folder) -> dict[str, epath.Path]:
  if not folder.is_dir():
    raise SampleError(f'{folder} is no folder of videos')
  found = {}
  for path in sorted(folder.iterdir()):
    if path.name.startswith('.') or path.suffix not in video_io.SUFFIXES:
      continue
    if path.stem in found:
      raise SampleError(
        f'{path} and {found[path.stem]} have one name; keep one'
      )
    found[path.stem] = path
  if not found:
    raise SampleError(
      f'{folder} holds no video; read are {" ".join(video_io.SUFFIXES)}'
    )
  return found


def _head(path) -> _Head:
  try:
    return _header(path)
  except video_io.VideoError as error:
    raise SampleError(f'a sample cannot be read: {error}') from None


def _header(path) -> _Head:
  with path.open('rb') as file, video_io.opened(file, str(path)) as container:
    stream = container.streams.video[0]
    rate = stream.average_rate
    return _Head(
      frames=stream.frames,
      fps=float(rate) if rate else 0.0,
      width=stream.width,
      height=stream.height,
    )


def _read(path, frames) -> measures.Video:
  try:
    video = video_io.read_video(path, max_frames=frames)
  except video_io.VideoError as error:
    raise SampleError(f'a sample cannot be read: {error}') from None
  if len(video) < frames:
    raise SampleError(
      f'{path} has {len(video)} frames, the protocol scores {frames}'
    )
  return np.ascontiguousarray(video)
