"""What users give: files, arrays and image objects, as frames of one size."""

import numpy as np
import pytest
from PIL import Image

from framebridge_jax.data import given, video_io


def _pixels(frames=0, height=12, width=20):
  rng = np.random.default_rng(0)
  shape = (frames,) * bool(frames) + (height, width, 3)
  return rng.integers(0, 256, shape, np.uint8)


def test_the_central_square_is_taken_of_every_kind(tmp_path):
  pixels = _pixels()
  path = tmp_path / 'picture.png'
  Image.fromarray(pixels).save(path)
  for kind in (pixels, path, str(path), Image.fromarray(pixels)):
    for read in (given.read_picture, lambda x, n: given.read_clip(x, n)[0]):
      np.testing.assert_array_equal(read(kind, 12), pixels[:, 4:16])


def test_a_clip_is_a_video_file_or_an_array(tmp_path):
  pixels = _pixels(5, 16, 16)
  np.testing.assert_array_equal(given.read_clip(pixels, 16), pixels)
  path = tmp_path / 'clip.MP4'
  video_io.write_mp4(path, pixels, 8)
  np.testing.assert_array_equal(
    given.read_clip(path, 16), video_io.read_video(path)
  )


def test_an_image_object_of_another_mode_becomes_colour():
  grey = Image.fromarray(_pixels()[..., 0])
  read = given.read_picture(grey, 12)
  assert read.shape == (12, 12, 3)
  np.testing.assert_array_equal(read[..., 0], read[..., 2])


def test_files_of_a_folder_come_by_name_and_others_are_left_out(tmp_path):
  for name in ('b.png', 'a.JPG', 'c.txt'):
    (tmp_path / name).write_text('')
  found = given.files_in(tmp_path, given.PICTURES)
  assert found == [str(tmp_path / x) for x in ('a.JPG', 'b.png')]
  with pytest.raises(ValueError, match='holds no file that ends in .mp4'):
    given.files_in(tmp_path, video_io.SUFFIXES)


def test_a_fingerprint_is_of_the_pixels_alone():
  pixels = _pixels(3)
  same = np.ascontiguousarray(pixels[::-1])[::-1]
  assert given.fingerprint(same) == given.fingerprint(pixels)
  assert given.fingerprint(pixels[:2]) != given.fingerprint(pixels)
