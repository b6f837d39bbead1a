"""Encoded videos as frames: what is asked for is decoded, and little more.

A record keeps the bytes of a file.  Its length and the places of its key
frames were found when the whole of it was decoded once, by `survey`; frames
are told apart by their order of display alone, so that a frame rate may vary.
"""

import bisect
import dataclasses
import io
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import av
import numpy as np

from framebridge_jax.data import clips, video_io

# Frames that are decoded rather than leapt over: a leap is not free.
LEAP = 16


class Key(NamedTuple):
  """A frame from which decoding may begin: its number and its time stamp."""

  number: int
  pts: int


class Survey(NamedTuple):
  """What a whole pass over a video finds.

  Attributes:
    frames: how many.
    fps: frames a second, on the mean; 0 where the file does not tell.
    width: as seen, upright.
    height: the same.
    keys: from which decoding may begin, but for the first frame.
  """

  frames: int
  fps: float
  width: int
  height: int
  keys: tuple[Key, ...]


def survey(data: bytes, name: str) -> Survey:
  """Decodes a video from end to end.

  Raises:
    video_io.VideoError: See `video_io.decode`.
  """
  frames = video_io.decode(io.BytesIO(data), name)
  first = next(frames)
  height, width, _ = video_io.upright(first).shape
  stamps, keys = [_stamp(first)], []
  for number, frame in enumerate(frames, 1):
    stamps.append(_stamp(frame))
    if frame.key_frame and number - (keys[-1].number if keys else 0) >= LEAP:
      keys.append(Key(number, stamps[-1]))
  # Stamps that repeat or go back do not say where one is.
  told = stamps == sorted(set(stamps))
  seconds = float((stamps[-1] - stamps[0]) * (first.time_base or 0))
  return Survey(
    frames=len(stamps),
    fps=(len(stamps) - 1) / seconds if told and seconds else 0.0,
    width=width,
    height=height,
    keys=tuple(keys) if told else (),
  )


def _stamp(frame):
  """-1 for a frame that has none; two such are no order."""
  return -1 if frame.pts is None else frame.pts


@dataclasses.dataclass(frozen=True)
class Encoded:
  """The frames of an encoded video.

  Attributes:
    data: of a whole file, in a format of `video_io.SUFFIXES`.
    length: its frames.
    keys: of `survey`; without them everything up to a frame is decoded.
    name: for errors.
  """

  data: bytes = dataclasses.field(repr=False)
  length: int
  keys: tuple[Key, ...] = ()
  name: str = 'video'

  def __len__(self) -> int:
    return self.length

  def read(self, indices: Sequence[int], size: int) -> clips.Square:
    """Decodes those frames, see `clips.Frames`.

    Raises:
      video_io.VideoError: They cannot be decoded, or there are fewer.
    """
    wanted = sorted(set(indices))
    found = self._decode(wanted, size, self.keys)
    if found is None:
      found = self._decode(wanted, size, ())
    if found is None:
      raise video_io.VideoError(
        f'{self.name} ends before frame {wanted[-1]} of {self.length}'
      )
    return np.stack([found[index] for index in indices])

  def _decode(self, wanted, size, keys):
    """Pixels by number; None where a leap went astray or frames are lacking."""
    found = {}
    with video_io.opened(io.BytesIO(self.data), self.name) as container:
      frames, number = container.decode(video=0), 0  # of the next frame
      for index in wanted:
        at = bisect.bisect_right(keys, index, key=lambda key: key.number)
        if at and keys[at - 1].number - number >= LEAP:
          number, pts = keys[at - 1]
          frames = _leap(container, pts)
        frame = next(itertools.islice(frames, index - number, None), None)
        if frame is None:
          return None
        found[index] = clips.resize_crop(video_io.upright(frame), size)
        number = index + 1
    return found


def _leap(container, pts) -> Iterator[av.VideoFrame]:
  """Frames from the one with that stamp on; none if it cannot be found."""
  stream = container.streams.video[0]
  container.seek(pts, stream=stream)
  frames = container.decode(stream)
  first = next(frames, None)
  if first is not None and first.pts == pts:
    yield first
    yield from frames
