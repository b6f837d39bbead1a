"""Small encoded videos of known frames, and ways to damage them."""

import fractions
import io

import av
import numpy as np

SIZE = 32
MILLI = fractions.Fraction(1, 1000)

# Format, codec, pixel format, options: what people have.
KINDS = {
  'mp4': ('mp4', 'h264', 'yuv420p', {}),
  'webm': ('webm', 'libvpx', 'yuv420p', {}),
  'avi': ('avi', 'mpeg4', 'yuv420p', {}),
  'gif': ('gif', 'gif', 'rgb8', {}),
}
# And others, whose frames refer to each other in other ways.
MORE_KINDS = {
  'open_gop': (
    'mp4',
    'h264',
    'yuv420p',
    {'x264-params': 'open-gop=1:bframes=3'},
  ),
  'hevc': ('mp4', 'libx265', 'yuv420p', {'x265-params': 'log-level=none'}),
  'vp9': ('matroska', 'libvpx-vp9', 'yuv420p', {'cpu-used': '8'}),
  'av1': ('mp4', 'libsvtav1', 'yuv420p', {'preset': '12'}),
  'mjpeg': ('avi', 'mjpeg', 'yuvj420p', {}),
  'mov': ('mov', 'mpeg4', 'yuv420p', {'bf': '2'}),
}


def frames(count: int, height: int = SIZE, width: int = SIZE) -> np.ndarray:
  """A bright column runs over a ground that becomes lighter; none is alike."""
  video = np.zeros((count, height, width, 3), np.uint8)
  for i in range(count):
    video[i] = 40 + 100 * i // count
    video[i, :, 4 * i % width :][:, :4] = 250
  return video


def encode(
  kind: str,
  video: np.ndarray,
  *,
  gop: int = 12,
  fps: int = 24,
  stamps: list[int] | None = None,
  turn: int = 0,
) -> bytes:
  """The bytes of a video file.

  Args:
    kind: of KINDS or MORE_KINDS.
    video: uint8 `[f, h, w, 3]`.
    gop: frames from one key frame to the next.
    fps: frames a second.
    stamps: time of each frame in ms, for a frame rate that varies.
    turn: degrees by which a player turns it counterclockwise.
  """
  container_format, codec, pix_fmt, options = (KINDS | MORE_KINDS)[kind]
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format=container_format) as container:
    stream = container.add_stream(codec, rate=fps, options=options)
    stream.height, stream.width = video.shape[1:3]
    stream.pix_fmt = pix_fmt
    stream.codec_context.gop_size = gop
    if turn:
      stream.set_display_rotation(turn)
    if stamps:
      stream.codec_context.time_base = MILLI
    for i, pixels in enumerate(video):
      frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
      if stamps:
        frame.pts, frame.time_base = stamps[i], MILLI
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return buffer.getvalue()
