import numpy as np
import pytest

from framebridge_jax.data import clips


def noise(*shape):
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_pixels_of_the_right_size_are_untouched():
  video = noise(3, 8, 8, 3)
  np.testing.assert_array_equal(clips.resize_crop(video, 8), video)


@pytest.mark.parametrize('shape', [(40, 24), (24, 40), (24, 24)])
@pytest.mark.parametrize('size', [16, 32])
def test_an_image_is_treated_as_a_frame_is(shape, size):
  video = noise(3, *shape, 3)
  resized = clips.resize_crop(video, size)
  assert resized.shape == (3, size, size, 3)
  for frame, expected in zip(video, resized, strict=True):
    np.testing.assert_array_equal(clips.resize_crop(frame, size), expected)


@pytest.mark.parametrize('turned', [False, True])
def test_the_centre_of_the_long_side_is_kept(turned):
  picture = np.zeros((8, 20, 3), np.uint8)
  picture[:, 6:14] = 200
  picture = picture.transpose(1, 0, 2) if turned else picture
  assert (clips.resize_crop(picture, 4) == 200).all()


def test_reducing_averages_instead_of_picking_pixels():
  checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
  picture = np.repeat(checks[..., None], 3, -1)
  resized = clips.resize_crop(picture, 16)[2:-2, 2:-2]
  np.testing.assert_allclose(resized, 127.5, atol=2)


@pytest.mark.parametrize('turned', [False, True])
def test_a_picture_keeps_its_shape_when_it_shrinks_before_the_cut(turned):
  """CLIP's way; pixels near the cut are mixed with those that go."""
  picture = np.zeros((8, 20, 3), np.uint8)
  picture[:, 6:14] = 200
  picture = picture.transpose(1, 0, 2) if turned else picture
  square = clips.shrink_crop(picture, 4)
  assert square.shape == (4, 4, 3)
  inner = square.transpose(1, 0, 2) if turned else square
  assert (inner[:, 1:3] > 190).all()
  assert (inner[:, [0, 3]] < 190).all()


def test_a_picture_smaller_than_the_square_grows():
  assert clips.shrink_crop(noise(3, 5, 3), 8).shape == (8, 8, 3)


def test_a_square_picture_of_the_right_size_is_left_alone():
  picture = noise(8, 8, 3)
  np.testing.assert_array_equal(clips.shrink_crop(picture, 8), picture)


def test_a_window_takes_every_stride_th_frame():
  rng = np.random.default_rng(0)
  for _ in range(20):
    taken = clips.window(30, frames=5, stride=3, rng=rng)
    np.testing.assert_array_equal(np.diff(taken), 3)
    assert len(taken) == 5


def test_a_window_starts_anywhere_with_equal_chance():
  rng = np.random.default_rng(0)
  starts = [
    clips.window(10, frames=3, stride=3, rng=rng)[0] for _ in range(1200)
  ]
  counts = np.bincount(starts, minlength=4)
  assert len(counts) == 4
  np.testing.assert_allclose(counts, 300, atol=75)  # 5 std


def test_a_window_as_long_as_the_video_is_the_video():
  rng = np.random.default_rng(0)
  taken = clips.window(7, frames=3, stride=3, rng=rng)
  np.testing.assert_array_equal(taken, [0, 3, 6])


def test_a_short_video_is_refused_with_its_numbers():
  rng = np.random.default_rng(0)
  with pytest.raises(ValueError, match='6 frames; 3 frames at stride 3 span 7'):
    clips.window(6, frames=3, stride=3, rng=rng)


def test_frames_at_hand_are_read_in_the_order_asked_for():
  pixels = noise(9, 6, 10, 3)
  video = clips.Decoded(pixels)
  assert isinstance(video, clips.Frames)
  assert len(video) == 9
  read = video.read([7, 2, 2], 4)
  np.testing.assert_array_equal(read, clips.resize_crop(pixels[[7, 2, 2]], 4))


def test_a_strip_keeps_every_byte():
  video = noise(5, 6, 7, 3)
  data = clips.encode_strip(video)
  assert data.startswith(b'\x89PNG')
  np.testing.assert_array_equal(clips.decode_strip(data, frames=5), video)
