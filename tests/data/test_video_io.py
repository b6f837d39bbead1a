import struct

import av
import numpy as np
import pytest
from PIL import Image

from framebridge_jax.data import clips, video_io


@pytest.fixture(scope='module')
def clip(carphone):
  """24 frames of a real video, 64 x 64."""
  return clips.resize_crop(video_io.read_video(carphone, max_frames=24), 64)


def psnr(x, y):
  error = np.mean((x.astype(np.float64) - y) ** 2)
  return 10 * np.log10(255**2 / error)


def encode(path, video, codec, pix_fmt, *, rate=24, **options):
  with av.open(str(path), 'w', options=options) as container:
    stream = container.add_stream(codec, rate=rate)
    stream.height, stream.width = video.shape[1:3]
    stream.pix_fmt = pix_fmt
    for frame in video:
      picture = av.VideoFrame.from_ndarray(frame, format='rgb24')
      container.mux(stream.encode(picture))
    container.mux(stream.encode(None))


def test_a_real_video_is_read_whole(carphone):
  video = video_io.read_video(carphone)
  assert (video.shape, video.dtype) == ((120, 144, 176, 3), np.uint8)
  first = video_io.read_video(carphone, max_frames=5)
  np.testing.assert_array_equal(first, video[:5])


@pytest.mark.parametrize(
  ('name', 'codec', 'pix_fmt', 'least'),
  [
    ('a.mp4', 'h264', 'yuv420p', 30),
    ('a.mov', 'h264', 'yuv420p', 30),
    ('a.mkv', 'h264', 'yuv420p', 30),
    ('a.webm', 'libvpx', 'yuv420p', 25),
    ('a.avi', 'ffv1', 'bgr0', 99),  # lossless: PSNR is infinite
    ('a.gif', 'gif', 'rgb8', 17),
  ],
)
def test_every_container_is_read(tmp_path, clip, name, codec, pix_fmt, least):
  path = tmp_path / name
  encode(path, clip, codec, pix_fmt)
  video = video_io.read_video(path)
  assert video.shape == clip.shape
  with np.errstate(divide='ignore'):
    assert psnr(video, clip) > least


# (a, b, c, d) of the track header: a point (x, y) is shown at (ax+cy, bx+dy),
# y down; so (0, 1, -1, 0) turns clockwise.
@pytest.mark.parametrize(
  ('matrix', 'turns'),
  [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)],
)
def test_rotation_of_the_container_is_applied(tmp_path, clip, matrix, turns):
  path = tmp_path / 'a.mp4'
  video = clip[:3, :48]
  encode(path, video, 'h264', 'yuv420p')
  upright = video_io.read_video(path)
  a, b, c, d = (0x10000 * n for n in matrix)
  flat = struct.pack('>9i', 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
  turned = struct.pack('>9i', a, b, 0, c, d, 0, 0, 0, 0x40000000)
  data = path.read_bytes()
  track = data.index(b'tkhd')
  assert data.index(flat, track) - track < 60
  path.write_bytes(data[:track] + data[track:].replace(flat, turned, 1))
  np.testing.assert_array_equal(
    video_io.read_video(path), np.rot90(upright, turns, axes=(1, 2))
  )


@pytest.mark.parametrize('kept', [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
  ('name', 'codec', 'pix_fmt', 'options'),
  [
    ('a.mp4', 'h264', 'yuv420p', {}),
    ('a.mp4', 'h264', 'yuv420p', {'movflags': 'faststart'}),
    ('a.webm', 'libvpx', 'yuv420p', {}),
    ('a.mkv', 'h264', 'yuv420p', {}),
    ('a.avi', 'mpeg4', 'yuv420p', {}),
    ('a.avi', 'mjpeg', 'yuvj420p', {}),
    ('a.gif', 'gif', 'rgb8', {}),
  ],
)
def test_a_cut_file_is_refused(
  tmp_path, clip, name, codec, pix_fmt, options, kept
):
  path = tmp_path / name
  encode(path, clip, codec, pix_fmt, **options)
  data = path.read_bytes()
  path.write_bytes(data[: int(kept * len(data))])
  with pytest.raises(video_io.VideoError, match=str(path)):
    video_io.read_video(path)


@pytest.mark.parametrize(
  ('name', 'options'),
  [('a.mp4', {'movflags': 'faststart'}), ('a.avi', {}), ('a.mkv', {})],
)
def test_a_cut_between_two_frames_is_noticed(tmp_path, clip, name, options):
  path = tmp_path / name
  encode(path, clip, 'mpeg4', 'yuv420p', **options)
  with av.open(str(path)) as container:
    packets = [p for p in container.demux(video=0) if p.size]
  path.write_bytes(path.read_bytes()[: packets[12].pos + packets[12].size])
  with pytest.raises(video_io.VideoError, match='cut short'):
    video_io.read_video(path)


@pytest.mark.parametrize('where', [0.2, 0.5, 0.8])
def test_frames_that_cannot_be_decoded_are_not_concealed(
  tmp_path, carphone, where
):
  path = tmp_path / 'a.mp4'
  data = bytearray(carphone.read_bytes())
  start = int(where * len(data))
  data[start : start + 20_000] = bytes(20_000)  # about four frames
  path.write_bytes(data)
  with pytest.raises(video_io.VideoError, match=str(path)):
    video_io.read_video(path)


@pytest.mark.parametrize(
  ('name', 'where'),
  [('carphone_pristine.mp4', 404_710), ('carphone_distorted.mp4', 4404)],
)
def test_a_flipped_bit_that_the_decoder_notices_is_not_concealed(
  tmp_path, videos, name, where
):
  path = tmp_path / 'a.mp4'
  data = bytearray((videos / name).read_bytes())
  data[where] ^= 0x40  # inside a slice: decoders would guess the rest of it
  path.write_bytes(data)
  with pytest.raises(video_io.VideoError, match=str(path)):
    video_io.read_video(path)


def test_what_is_no_video_is_one_error_with_the_path(tmp_path):
  (tmp_path / 'empty.mp4').write_bytes(b'')
  (tmp_path / 'text.mp4').write_text('not a video')
  for name in ('empty.mp4', 'text.mp4', 'missing.mp4', '.'):
    path = tmp_path / name
    with pytest.raises(video_io.VideoError) as caught:
      video_io.read_video(path)
    assert str(path) in str(caught.value)


def test_a_video_without_frames_is_refused(tmp_path):
  path = tmp_path / 'a.avi'
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('mpeg4', rate=24)
    stream.width, stream.height, stream.pix_fmt = 16, 16, 'yuv420p'
    container.start_encoding()
  with pytest.raises(video_io.VideoError, match=str(path)):
    video_io.read_video(path)


def test_sound_alone_is_no_video(tmp_path):
  path = tmp_path / 'a.mp4'
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('aac', rate=44100)
    silence = np.zeros((1, 4096), np.float32)
    frame = av.AudioFrame.from_ndarray(silence, format='fltp', layout='mono')
    frame.sample_rate = 44100
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  with pytest.raises(video_io.VideoError, match='no video stream'):
    video_io.read_video(path)


@pytest.mark.parametrize(('fps', 'zoom'), [(8, 1), (29.97, 3)])
def test_mp4_keeps_frames_rate_and_picture(tmp_path, clip, fps, zoom):
  path = tmp_path / 'a.mp4'
  video_io.write_mp4(path, clip, fps, zoom=zoom)
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    assert stream.codec_context.name == 'h264'
    assert stream.codec_context.pix_fmt == 'yuv420p'
    assert float(stream.average_rate) == pytest.approx(fps, rel=1e-4)
  video = video_io.read_video(path)
  assert video.shape == (24, 64 * zoom, 64 * zoom, 3)
  assert psnr(video[:, zoom // 2 :: zoom, zoom // 2 :: zoom], clip) > 30


def test_odd_sides_need_an_even_zoom(tmp_path, clip):
  path = tmp_path / 'a.mp4'
  odd = clip[:, :63]
  with pytest.raises(ValueError, match='64 x 63 at zoom 1'):
    video_io.write_mp4(path, odd, 8)
  video_io.write_mp4(path, odd, 8, zoom=2)
  assert video_io.read_video(path).shape == (24, 126, 128, 3)


def test_gif_keeps_frames_time_and_picture(tmp_path, clip):
  path = tmp_path / 'a.gif'
  video_io.write_gif(path, clip, 10)
  with Image.open(path) as image:
    assert image.n_frames == 24
    assert image.info['duration'] == 100
    assert image.info['loop'] == 0
  assert psnr(video_io.read_video(path), clip) > 25


@pytest.mark.parametrize('write', [video_io.write_mp4, video_io.write_gif])
def test_a_failed_write_leaves_the_old_file(tmp_path, clip, write, monkeypatch):
  def fail(*args, **kwargs):
    raise OSError('disk full')

  path = tmp_path / 'a'
  path.write_bytes(b'old')
  monkeypatch.setattr(Image.Image, 'save', fail)
  monkeypatch.setattr(video_io, '_enlarge', fail)
  with pytest.raises(OSError, match='disk full'):
    write(path, clip, 8)
  assert path.read_bytes() == b'old'
  assert list(tmp_path.iterdir()) == [path]


def test_frames_that_come_piece_by_piece_make_the_same_file(tmp_path):
  rng = np.random.default_rng(0)
  frames = rng.integers(0, 256, (9, 16, 16, 3), np.uint8)
  whole, parts = tmp_path / 'whole.mp4', tmp_path / 'parts.mp4'
  video_io.write_mp4(whole, frames, 8, zoom=2)
  with video_io.writing_mp4(parts, 8, zoom=2) as add:
    for piece in (frames[:1], frames[1:5], frames[5:]):
      add(piece)
    assert not parts.exists()  # it appears whole
  assert parts.read_bytes() == whole.read_bytes()


def test_a_file_of_pieces_that_were_broken_off_is_not_left_behind(tmp_path):
  path = tmp_path / 'clip.mp4'
  with pytest.raises(KeyboardInterrupt), video_io.writing_mp4(path, 8) as add:
    add(np.zeros((2, 16, 16, 3), np.uint8))
    raise KeyboardInterrupt
  nothing = pytest.raises(ValueError, match='there is no frame')
  with nothing, video_io.writing_mp4(path, 8):
    pass
  assert not list(tmp_path.iterdir())
