"""A clip that can be kept, saved and looked at in a notebook."""

import base64
import dataclasses
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Array, Float

from framebridge_jax import files
from framebridge_jax.data import clips, video_io
from framebridge_jax.report import sheets

_SHOWN = 256  # pixels along the side of what is shown


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Video:
  """Frames, and how they were made.

  Attributes:
    frames: uint8 pixels [f, h, w, 3].
    fps: frames a second.
    latents: one a frame, if they are at hand: another clip can go on from
      them without a codec.
    facts: what it takes to make the clip again, as JSON.
  """

  frames: clips.Video
  fps: float = 8.0
  latents: Float[Array, 'f p q d'] | None = None
  facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __repr__(self) -> str:
    """Its measures: notebooks keep this beside the picture."""
    frames, height, width, _ = self.frames.shape
    return f'<Video: {frames} frames of {height} x {width}, {self.fps:g} fps>'

  def __len__(self) -> int:
    """Frames."""
    return len(self.frames)

  @property
  def zoom(self) -> int:
    """Whole factor by which small frames are enlarged for the eye."""
    return max(1, _SHOWN // self.frames.shape[1])

  def save(self, path: str | os.PathLike) -> None:
    """Writes the clip, and beside it the facts as `.json`, if there are any.

    Args:
      path: ends in a row of WRITERS: `.mp4`, `.gif`, or `.png` for a strip of
        all frames.

    Raises:
      ValueError: it ends in something else.
    """
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    self.write(path)
    if self.facts:
      self.write_facts(path.with_suffix('.json'))

  def write(self, path: epath.Path) -> None:
    """Writes the clip alone.

    Raises:
      ValueError: the path ends in no row of WRITERS.
    """
    if path.suffix not in WRITERS:
      raise ValueError(
        f'{path} ends in {path.suffix!r}, want one of {", ".join(WRITERS)}'
      )
    WRITERS[path.suffix](path, self)

  def write_facts(self, path: epath.Path) -> None:
    """Writes what it takes to make the clip again."""
    with files.replacing(path) as part:
      part.write_text(json.dumps(dict(self.facts), indent=2) + '\n')

  def _repr_html_(self) -> str:
    """What a notebook shows: the clip, playing over and over."""
    with tempfile.TemporaryDirectory() as folder:
      file = pathlib.Path(folder) / 'clip.mp4'
      _write_mp4(file, self)
      data = base64.b64encode(file.read_bytes()).decode()
    side = self.frames.shape[2] * self.zoom
    return (
      f'<video width="{side}" controls autoplay loop muted playsinline '
      f'src="data:video/mp4;base64,{data}"></video>'
    )


def join(pieces: Iterator[Video], frames: int) -> Video:
  """Joins pieces until there are so many frames; facts are the first one's.

  Raises:
    ValueError: the first piece has them already.
  """
  parts = [next(pieces)]
  if frames <= len(parts[0]):
    raise ValueError(
      f'the clip has {len(parts[0])} frames and is to have {frames}; ask for '
      f'more'
    )
  while sum(map(len, parts)) < frames:
    parts.append(next(pieces))
  latents = [part.latents for part in parts if part.latents is not None]
  return dataclasses.replace(
    parts[0],
    frames=np.concatenate([part.frames for part in parts])[:frames],
    latents=jnp.concatenate(latents)[:frames]
    if len(latents) == len(parts)
    else None,
  )


def _write_mp4(path, video):
  video_io.write_mp4(path, video.frames, video.fps, zoom=video.zoom)


def _write_gif(path, video):
  video_io.write_gif(path, video.frames, video.fps)


def _write_png(path, video):
  sheets.write_png(path, sheets.strip(video.frames))


WRITERS: dict[str, Callable[[epath.Path, Video], None]] = {
  '.mp4': _write_mp4,
  '.gif': _write_gif,
  '.png': _write_png,
}
