"""Video files to uint8 frames and back, through PyAV and Pillow."""

import fractions
import os
import pathlib
from collections.abc import Iterator

import av
import numpy as np
from PIL import Image

from framebridge_jax.data import atomic, clips

SUFFIXES = ('.mp4', '.webm', '.avi', '.gif', '.mkv', '.mov')


class VideoError(ValueError):
  """A video that cannot be read; the message names the file and why."""


def read_video(
  path: str | os.PathLike, *, max_frames: int | None = None
) -> clips.Video:
  """Reads all frames, or the first `max_frames`, into memory.

  Raises:
    VideoError: See `iter_frames`.
  """
  frames = []
  for frame in iter_frames(path):
    frames.append(frame)
    if len(frames) == max_frames:
      break
  return np.stack(frames)


def iter_frames(path: str | os.PathLike) -> Iterator[clips.Picture]:
  """Decodes the first video stream, frame by frame, upright.

  Rotation metadata is applied.  Damage is not concealed: whoever reads to the
  end has every frame of an intact file.  Damage that neither the container nor
  the decoder can see (changed pixels in a GIF) passes.

  Raises:
    VideoError: The file is missing, empty, no video, cut short, holds frames
      that cannot be decoded, or changes its size on the way.
  """
  if not os.path.isfile(path):
    raise VideoError(f'{path} is no file; give the path of a video')
  try:
    yield from _decode(path)
  except (av.error.FFmpegError, OSError) as e:
    raise VideoError(f'{path} is damaged or no video: {e.strerror}') from e


def write_mp4(
  path: str | os.PathLike, video: clips.Video, fps: float, *, zoom: int = 1
) -> None:
  """Writes H.264 in yuv420p, which every player shows.

  Args:
    path: Target; replaced only once the new file is complete.
    video: Frames; `zoom` times their sides must be even.
    fps: Frames a second.
    zoom: Each pixel becomes `zoom` x `zoom` pixels.
  """
  height, width = (zoom * side for side in video.shape[1:3])
  if height % 2 or width % 2:
    raise ValueError(
      f'video is {width} x {height} at zoom {zoom}; H.264 needs even sides; '
      'use an even zoom'
    )
  with (
    atomic.replacing(path) as part,
    av.open(os.fspath(part), 'w', format='mp4') as container,
  ):
    rate = fractions.Fraction(fps).limit_denominator(1001)
    stream = container.add_stream('h264', rate=rate)
    stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
    for frame in video:
      frame = np.ascontiguousarray(_enlarge(frame, zoom))
      picture = av.VideoFrame.from_ndarray(frame, format='rgb24')
      container.mux(stream.encode(picture))
    container.mux(stream.encode(None))


def write_gif(path: str | os.PathLike, video: clips.Video, fps: float) -> None:
  """Writes an endless GIF; frames that repeat become one that lasts longer.

  GIF counts time in hundredths of a second: 16 fps become 16.7.
  """
  first, *rest = [Image.fromarray(frame) for frame in video]
  duration = 10 * max(1, round(100 / fps))
  with atomic.replacing(path) as part:
    first.save(
      part,
      'gif',
      save_all=True,
      append_images=rest,
      duration=duration,
      loop=0,
    )


# Tags that are no UTF-8 must not cost the pictures; PyAV 19 lacks the option.
_LENIENT_TAGS = (
  {'metadata_errors': 'replace'}
  if int(av.__version__.split('.')[0]) < 19
  else {}
)


def _decode(path):
  with av.open(os.fspath(path), **_LENIENT_TAGS) as container:
    if not container.streams.video:
      raise VideoError(f'{path} holds no video stream')
    codec = container.streams.video[0].codec_context
    if codec is None:
      raise VideoError(f'{path} uses a codec that is not known')
    codec.options = STRICT
    count, end, shape = 0, 0.0, None
    for packet in container.demux(video=0):
      end = max(end, _end_of(packet))
      for frame in packet.decode():
        pixels = _upright(frame)
        if shape not in (None, pixels.shape):
          raise VideoError(f'{path} changes its size at frame {count}')
        count, shape = count + 1, pixels.shape
        yield pixels
    if not count:
      raise VideoError(f'{path} holds no frame')
    cut = CUT.get(container.format.name)
    if cut and cut(pathlib.Path(path), container, end):
      raise VideoError(f'{path} is cut short after {end:.2f} s')


def _end_of(packet):
  """Seconds at which the packet's frame ends; 0 where it does not say."""
  if packet.pts is None:
    return 0.0
  return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def _cut_gif(path, container, end) -> bool:
  del container, end
  return not path.read_bytes().rstrip(b'\0').endswith(GIF_TRAILER)


def _cut_avi(path, container, end) -> bool:
  """The RIFF header says how long the file is (0 in one never finished)."""
  del container, end
  with open(path, 'rb') as file:
    header = file.read(8)
  return int.from_bytes(header[4:], 'little') + 8 > path.stat().st_size


def _cut_mp4(path, container, end) -> bool:
  del end
  index = container.streams.video[0].index_entries
  return any(entry.pos + entry.size > path.stat().st_size for entry in index)


def _cut_matroska(path, container, end) -> bool:
  """The promised time is that of the longest stream."""
  del path
  if len(container.streams) > 1:
    return False
  frame = 1 / (container.streams.video[0].average_rate or 1)
  return end + LENIENCE * frame < (container.duration or 0) / av.time_base


def _upright(frame):
  """Applies the display rotation, given in degrees counterclockwise."""
  turns = round(frame.rotation / 90)
  return np.ascontiguousarray(np.rot90(frame.to_ndarray(format='rgb24'), turns))


def _enlarge(frame, zoom):
  return frame.repeat(zoom, 0).repeat(zoom, 1)


# Errors that the decoder could hide by guessing pixels end the reading.
STRICT = {'err_detect': 'explode'}
GIF_TRAILER = b';'
# Frames: the last packet may not say how long it lasts, and times are rounded.
LENIENCE = 1.5

# By format: whether a file ends too early.  Decoders do not see it where it
# ends between two frames.
CUT = {
  'gif': _cut_gif,
  'avi': _cut_avi,
  'mov,mp4,m4a,3gp,3g2,mj2': _cut_mp4,
  'matroska,webm': _cut_matroska,
}
