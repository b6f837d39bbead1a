"""Video files to uint8 frames and back, through PyAV and Pillow."""

import contextlib
import fractions
import io
import os
import time
from collections.abc import Callable, Iterator

import av
import numpy as np
from etils import epath
from PIL import Image

from framebridge_jax import files
from framebridge_jax.data import clips

SUFFIXES = ('.mp4', '.webm', '.avi', '.gif', '.mkv', '.mov')
MAX_PIXELS = 32_000_000
MAX_SECONDS = 3 * 3600
MAX_SILENCE = 10.0  # seconds of work that may bring no frame


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

  Rotation metadata is applied.

  Raises:
    VideoError: The path is no file, or see `decode`.
  """
  path = epath.Path(path)
  if not files.is_file(path):
    raise VideoError(f'{path} is no file; give the path of a video')
  try:
    file = path.open('rb')
  except OSError as error:
    raise VideoError(f'{path} cannot be read: {error.strerror}') from error
  with file:
    yield from map(upright, decode(file, str(path)))


def decode(file: io.BufferedIOBase, name: str) -> Iterator[av.VideoFrame]:
  """Decodes the first video stream whole, in the order of display.

  Damage is not concealed: whoever reads to the end has every frame of an
  intact file.  Damage that neither the container nor the decoder can see
  (changed pixels in a GIF) passes.

  Raises:
    VideoError: The file is empty, no video, too large or too long, cut short,
      holds frames that cannot be decoded, or changes its size on the way.
  """
  with opened(file, name) as container:
    count, end, shape = 0, 0.0, None
    heard = time.monotonic()
    for packet in container.demux(video=0):
      end = max(end, _end_of(packet))
      for frame in packet.decode():
        if shape not in (None, (frame.width, frame.height)):
          raise VideoError(f'{name} changes its size at frame {count}')
        count, shape = count + 1, (frame.width, frame.height)
        yield frame
        heard = time.monotonic()
      if time.monotonic() - heard > MAX_SILENCE:
        raise VideoError(
          f'{name} gave no frame in {MAX_SILENCE:.0f} s after frame {count}'
        )
    if not count:
      raise VideoError(f'{name} holds no frame')
    cut = CUT.get(container.format.name)
    if cut and cut(file, container, end):
      raise VideoError(f'{name} is cut short after {end:.2f} s')


@contextlib.contextmanager
def opened(
  file: io.BufferedIOBase, name: str
) -> Iterator[av.container.InputContainer]:
  """A container whose video is fit to be decoded; what fails is a VideoError.

  Only the header is looked at.  The decoder is strict and of one thread.

  Raises:
    VideoError: The file is empty, no video, too large or too long; or
      something inside the `with` block finds it damaged.
  """
  try:
    with _open(file, name) as container:
      _check_header(container, name)
      yield container
  except (av.error.FFmpegError, OSError) as e:
    raise VideoError(f'{name} is damaged or no video: {e.strerror}') from e


def upright(frame: av.VideoFrame) -> clips.Picture:
  """RGB with the display rotation, in degrees counterclockwise, applied."""
  turns = round(frame.rotation / 90)
  return np.ascontiguousarray(np.rot90(frame.to_ndarray(format='rgb24'), turns))


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
  with writing_mp4(path, fps, zoom=zoom) as add:
    add(video)


@contextlib.contextmanager
def writing_mp4(
  path: str | os.PathLike, fps: float, *, zoom: int = 1
) -> Iterator[Callable[[clips.Video], None]]:
  """As `write_mp4`, of frames that come piece by piece.

  Gives a function that adds frames.  The target is replaced at the end; when
  the block raises, or nothing was added, it stays as it was.
  """
  with files.replacing(path) as part, contextlib.ExitStack() as stack:
    opened = []

    def add(video):
      if not opened:
        container = av.open(os.fspath(part), 'w', format='mp4')
        opened.append(stack.enter_context(container))
        opened.append(_stream(container, video, fps, zoom))
      container, stream = opened
      for frame in video:
        frame = np.ascontiguousarray(_enlarge(frame, zoom))
        picture = av.VideoFrame.from_ndarray(frame, format='rgb24')
        container.mux(stream.encode(picture))

    yield add
    if not opened:
      raise ValueError(f'{path} was to be written and there is no frame')
    container, stream = opened
    container.mux(stream.encode(None))


def _stream(container, video, fps, zoom):
  """A stream for frames of this size.

  Raises:
    ValueError: H.264 has no such sides.
  """
  height, width = (zoom * side for side in video.shape[1:3])
  if height % 2 or width % 2:
    raise ValueError(
      f'video is {width} x {height} at zoom {zoom}; H.264 needs even sides; '
      'use an even zoom'
    )
  rate = fractions.Fraction(fps).limit_denominator(1001)
  stream = container.add_stream('h264', rate=rate)
  stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
  return stream


def write_gif(path: str | os.PathLike, video: clips.Video, fps: float) -> None:
  """Writes an endless GIF; frames that repeat become one that lasts longer.

  GIF counts time in hundredths of a second: 16 fps become 16.7.
  """
  first, *rest = [Image.fromarray(frame) for frame in video]
  duration = 10 * max(1, round(100 / fps))
  with files.replacing(path) as part:
    first.save(
      part,
      'gif',
      save_all=True,
      append_images=rest,
      duration=duration,
      loop=0,
    )


def _check_header(container, name):
  if not container.streams.video:
    raise VideoError(f'{name} holds no video stream')
  codec = container.streams.video[0].codec_context
  if codec is None:
    raise VideoError(f'{name} uses a codec that is not known')
  if codec.width * codec.height > MAX_PIXELS:
    raise VideoError(
      f'{name} has {codec.width} x {codec.height} pixels; at most '
      f'{MAX_PIXELS:,} are read; make it smaller'
    )
  seconds = (container.duration or 0) / av.time_base
  if seconds > MAX_SECONDS:
    raise VideoError(
      f'{name} lasts {seconds:.0f} s; at most {MAX_SECONDS} are read; cut it '
      'into parts'
    )
  codec.options = _STRICT
  codec.thread_type, codec.thread_count = 'NONE', 1


def _open(file, name):
  try:
    return av.open(file, options=_CONTAINERS, **_LENIENT_TAGS)
  except av.error.ArgumentError as e:
    raise VideoError(
      f'{name} is in no format that is read: {" ".join(SUFFIXES)}'
    ) from e


def _end_of(packet):
  """Seconds at which the packet's frame ends; 0 where it does not say."""
  if packet.pts is None:
    return 0.0
  return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def _cut_gif(file, container, end) -> bool:
  del container, end
  file.seek(0)
  return not file.read().rstrip(b'\0').endswith(GIF_TRAILER)


def _cut_avi(file, container, end) -> bool:
  """The RIFF header says how long the file is (0 in one never finished)."""
  del container, end
  file.seek(0)
  return int.from_bytes(file.read(8)[4:], 'little') + 8 > _size(file)


def _cut_mp4(file, container, end) -> bool:
  del end
  index, size = container.streams.video[0].index_entries, _size(file)
  return any(entry.pos + entry.size > size for entry in index)


def _cut_matroska(file, container, end) -> bool:
  """The promised time is that of the longest stream."""
  del file
  if len(container.streams) > 1:
    return False
  frame = 1 / (container.streams.video[0].average_rate or 1)
  return end + LENIENCE * frame < (container.duration or 0) / av.time_base


def _size(file):
  return file.seek(0, os.SEEK_END)


def _enlarge(frame, zoom):
  return frame.repeat(zoom, 0).repeat(zoom, 1)


# Tags that are no UTF-8 must not cost the pictures; PyAV 19 lacks the option.
_LENIENT_TAGS = (
  {'metadata_errors': 'replace'}
  if int(av.__version__.split('.')[0]) < 19
  else {}
)
# Playlists name other files and addresses; they are not followed.
_CONTAINERS = {
  'format_whitelist': 'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif'
}
# Errors that the decoder could hide by guessing pixels end the reading.
_STRICT = {'err_detect': 'explode', 'max_pixels': str(MAX_PIXELS)}
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
