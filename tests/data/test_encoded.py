import contextlib
import io
import itertools
import struct

import av
import films
import numpy as np
import pytest

from framebridge_jax.data import clips, encoded, video_io

COUNT = 60
SIZE = films.SIZE
ALL_KINDS = sorted(films.KINDS | films.MORE_KINDS)


@pytest.fixture(scope='module')
def files():
  """The same 60 frames in every kind of file; a key every 12 frames."""
  video = films.frames(COUNT)
  return {kind: films.encode(kind, video) for kind in ALL_KINDS}


def opened(data, name='a'):
  found = encoded.survey(data, name)
  return encoded.Encoded(data, found.frames, found.keys, name)


def in_order(data):
  """All frames, decoded one after the other by PyAV alone."""
  with av.open(io.BytesIO(data)) as container:
    return np.stack(
      [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    )


@pytest.mark.parametrize('kind', ALL_KINDS)
def test_frames_read_alone_are_those_of_a_whole_pass(files, kind):
  """Whatever is leapt over: frames that refer to later ones, open groups."""
  whole = in_order(files[kind])
  assert len(whole) == COUNT
  video = opened(files[kind])
  for start in range(0, COUNT, 7):
    np.testing.assert_array_equal(
      video.read([start], SIZE), whole[start : start + 1]
    )
  for asked in ([59, 3, 3, 30], range(5, 51, 3), [0, 47, 48, 49]):
    np.testing.assert_array_equal(video.read(asked, SIZE), whole[list(asked)])


def count_calls(monkeypatch, owner, name):
  calls, function = [], getattr(owner, name)
  monkeypatch.setattr(
    owner, name, lambda *args: calls.append(args) or function(*args)
  )
  return calls


@pytest.mark.parametrize(
  'kind', ['mp4', 'webm', 'mjpeg', 'mov', 'hevc', 'open_gop']
)
def test_a_leap_spares_the_frames_before_it(files, kind, monkeypatch):
  """And finds its place at once, also before frames shown earlier."""
  video = opened(files[kind])
  leaps = count_calls(monkeypatch, encoded, '_leap')
  passes = count_calls(monkeypatch, encoded.Encoded, '_decode')
  video.read([COUNT - 1], SIZE)
  video.read([3, 50], SIZE)
  video.read([3, 9], SIZE)
  assert (len(leaps), len(passes)) == (2, 3)


def test_wrong_places_of_keys_cost_time_and_no_frame(files):
  data = files['mp4']
  right = opened(data)
  for wrong in (
    encoded.Key(22, right.keys[0].pts + 1),
    encoded.Key(22, 10**9),
    encoded.Key(44, right.keys[0].pts - 1),
  ):
    video = encoded.Encoded(data, COUNT, (wrong,))
    np.testing.assert_array_equal(video.read([50], 16), right.read([50], 16))


def test_stamps_that_repeat_are_not_leapt_to():
  """Matroska counts time in ms; here three frames share each."""
  data = films.encode('vp9', films.frames(COUNT), fps=3000)
  assert encoded.survey(data, 'a').keys == ()
  np.testing.assert_array_equal(
    opened(data).read([50, 51, 52], SIZE), in_order(data)[50:53]
  )


def test_frames_are_cropped_and_resized_as_pictures_are(files):
  data = films.encode('mp4', films.frames(6, 40, 64))
  whole = in_order(data)
  np.testing.assert_array_equal(
    opened(data).read([4, 1], 16), clips.resize_crop(whole[[4, 1]], 16)
  )


def test_a_clip_that_ends_early_says_so(files):
  video = encoded.Encoded(files['mp4'], 99, (), 'sea.mp4')
  with pytest.raises(video_io.VideoError, match='sea.mp4 ends before frame 70'):
    video.read([5, 70], SIZE)


def test_a_survey_tells_length_rate_and_sides(files):
  for kind in ('mp4', 'webm', 'avi'):
    found = encoded.survey(files[kind], kind)
    assert found[:1] + found[2:4] == (COUNT, SIZE, SIZE)
    assert found.fps == pytest.approx(24, rel=1e-3)


def test_a_varying_rate_is_counted_in_frames():
  stamps = list(itertools.accumulate([0, *([10, 90] * 15), *([500] * 9)]))
  video = films.frames(len(stamps))
  data = films.encode('mp4', video, stamps=stamps, gop=20)
  found = opened(data)
  assert len(found) == len(stamps) == 40
  np.testing.assert_array_equal(
    found.read([1, 2, 38], SIZE), in_order(data)[[1, 2, 38]]
  )
  mean = (len(stamps) - 1) / (stamps[-1] / 1000)
  assert encoded.survey(data, 'a').fps == pytest.approx(mean, rel=0.01)


@pytest.mark.parametrize('sides', [(33, 47), (1, 1), (2, 50)])
def test_odd_sides_are_read(sides):
  data = films.encode('gif', films.frames(3, *sides))
  assert encoded.survey(data, 'a')[2:4] == sides[::-1]
  assert opened(data).read([2], 8).shape == (1, 8, 8, 3)


@pytest.mark.parametrize('turns', [1, 2, 3])
def test_a_video_of_a_turned_phone_is_upright(turns):
  video = films.frames(3, 32, 48)
  flat, turned = (
    films.encode('mp4', video, turn=90 * degrees) for degrees in (0, turns)
  )
  upright = np.rot90(in_order(flat), turns, axes=(1, 2))
  found = encoded.survey(turned, 'a')
  assert (found.height, found.width) == upright.shape[1:3]
  np.testing.assert_array_equal(
    opened(turned).read([0, 2], 16), clips.resize_crop(upright[[0, 2]], 16)
  )


def test_a_gif_of_one_frame_is_a_video_of_one_frame():
  data = films.encode('gif', films.frames(1))
  found = opened(data)
  assert len(found) == 1
  np.testing.assert_array_equal(found.read([0], SIZE), in_order(data))


def test_a_thousand_frames_a_second_are_as_good_as_any():
  data = films.encode('mp4', films.frames(20), fps=1000)
  assert encoded.survey(data, 'a').fps == pytest.approx(1000)


def _html(data):
  del data
  return b'<!DOCTYPE html><html><body>404 not found</body></html>'


def _sound(data):
  del data
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format='mp4') as container:
    stream = container.add_stream('aac', rate=44100)
    frame = av.AudioFrame.from_ndarray(
      np.zeros((1, 4096), np.float32), format='fltp', layout='mono'
    )
    frame.sample_rate = 44100
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return buffer.getvalue()


def _no_frame(data):
  del data
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format='avi') as container:
    stream = container.add_stream('mpeg4', rate=24)
    stream.width, stream.height, stream.pix_fmt = 16, 16, 'yuv420p'
    container.start_encoding()
  return buffer.getvalue()


def _huge(data):
  """A header alone: no such frame was ever made."""
  del data
  gif = films.encode('gif', films.frames(2))
  return gif[:6] + struct.pack('<HH', 8000, 5000) + gif[10:]


def _long(data):
  del data
  return films.encode('mp4', films.frames(2), stamps=[0, 4 * 3600 * 1000])


def _playlist(data):
  del data
  return (
    b'#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n'
    b'http://127.0.0.1:9/a.mp4\n#EXT-X-ENDLIST\n'
  )


def _list(data):
  """Names files of this machine."""
  del data
  return b"ffconcat version 1.0\nfile '/etc/hostname'\n"


def _picture(data):
  del data
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format='image2pipe') as container:
    stream = container.add_stream('png', rate=1)
    stream.width, stream.height, stream.pix_fmt = 8, 8, 'rgb24'
    frame = av.VideoFrame(8, 8, 'rgb24')
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return buffer.getvalue()


REFUSED = {
  'empty': (lambda data: b'', 'damaged or no video'),
  'zeros': (lambda data: bytes(len(data)), 'damaged or no video'),
  'html': (_html, 'damaged or no video'),
  'playlist': (_playlist, 'damaged or no video'),
  'list': (_list, 'in no format that is read'),
  'picture': (_picture, 'in no format that is read'),
  'sound': (_sound, 'no video stream'),
  'no frame': (_no_frame, 'damaged or no video|no frame'),
  'huge': (_huge, '8000 x 5000 pixels; at most 32,000,000'),
  'long': (_long, 'lasts 14400 s; at most 10800'),
  'tenth': (lambda data: data[: len(data) // 10], 'a.mp4'),
  'half': (lambda data: data[: len(data) // 2], 'a.mp4'),
  'most': (lambda data: data[: 9 * len(data) // 10], 'a.mp4'),
  'no head': (lambda data: bytes(64) + data[64:], 'a.mp4'),
}


@pytest.mark.parametrize('kind', films.KINDS)
@pytest.mark.parametrize('damage', REFUSED)
def test_what_is_no_whole_video_is_refused_with_its_name(files, kind, damage):
  change, says = REFUSED[damage]
  with pytest.raises(video_io.VideoError, match=says) as caught:
    encoded.survey(change(files[kind]), 'a.mp4')
  assert 'a.mp4' in str(caught.value)
  assert '\n' not in str(caught.value)


def _flip(data, rng):
  for place in rng.integers(len(data), size=20):
    data[place] ^= 1 << rng.integers(8)


def _erase(data, rng):
  start = rng.integers(len(data))
  data[start : start + 500] = bytes(len(data[start : start + 500]))


def _cut(data, rng):
  del data[rng.integers(len(data)) :]


def _spoil_head(data, rng):
  data[rng.integers(min(600, len(data)))] ^= 0xFF


def _cut_out(data, rng):
  start = rng.integers(len(data))
  del data[start : start + 300]


def _shuffle(data, rng):
  one, two = rng.integers(len(data) - 200, size=2)
  data[one : one + 200] = data[two : two + 200]


HARM = (_flip, _erase, _cut, _spoil_head, _cut_out, _shuffle)


@pytest.mark.parametrize('kind', films.KINDS)
@pytest.mark.parametrize('harm', HARM)
def test_damage_gives_frames_or_an_error_and_no_crash(files, kind, harm):
  whole = opened(files[kind])
  for seed in range(12):
    data = bytearray(files[kind])
    harm(data, np.random.default_rng(seed))
    bad = encoded.Encoded(bytes(data), COUNT, whole.keys)
    with contextlib.suppress(video_io.VideoError):
      assert encoded.survey(bad.data, 'a').frames >= 1
    with contextlib.suppress(video_io.VideoError):
      assert bad.read([3, 30, 59], SIZE).shape == (3, SIZE, SIZE, 3)


def test_work_without_a_frame_has_an_end(files, monkeypatch):
  clock = itertools.count(0, 4)
  monkeypatch.setattr(video_io.time, 'monotonic', lambda: next(clock))
  # The decoder holds frames back at first, and each packet takes 4 s.
  with pytest.raises(video_io.VideoError, match='gave no frame in 10 s'):
    encoded.survey(files['hevc'], 'a')


def test_a_decoder_has_one_thread(files):
  with video_io.opened(io.BytesIO(files['mp4']), 'a') as container:
    context = container.streams.video[0].codec_context
    assert context.thread_count == 1
