import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from framebridge_jax.data import clips, pictures, video_io


def picture(pixels, suffix='png', **options):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, suffix, **options)
  return buffer.getvalue()


@pytest.fixture(scope='module')
def video():
  return np.random.default_rng(0).integers(0, 256, (5, 12, 20, 3), np.uint8)


@pytest.fixture(scope='module')
def pack(video):
  return pictures.pack(
    (f'{i}.png', picture(frame)) for i, frame in enumerate(video)
  )


def test_frames_are_the_pictures_in_the_order_packed(video, pack):
  clip = pictures.Pictures(pack)
  assert isinstance(clip, clips.Frames)
  assert len(clip) == 5
  np.testing.assert_array_equal(
    clip.read([3, 0], 8), clips.resize_crop(video[[3, 0]], 8)
  )
  assert pictures.survey(pack, 'a')[:4] == (5, 0.0, 20, 12)


def test_files_are_packed_unchanged_and_the_same_each_time(video):
  files = [
    (f'{i}.jpg', picture(frame, 'jpeg')) for i, frame in enumerate(video)
  ]
  packed = pictures.pack(files)
  # The time of packing is not kept.
  with zipfile.ZipFile(io.BytesIO(packed)) as pack:
    assert {x.date_time[:3] for x in pack.infolist()} == {(1980, 1, 1)}
  assert pictures.is_pack(packed)
  assert all(data in packed for _, data in files)


def test_a_pack_is_told_from_a_video(carphone):
  assert not pictures.is_pack(carphone.read_bytes())
  assert pictures.is_pack(pictures.pack([]))


def _no_picture(files):
  files[2] = ('2.png', b'<html>')


def _cut(files):
  files[2] = ('2.png', files[2][1][:-30])


def _other_size(files):
  files[2] = ('2.png', picture(np.zeros((4, 4, 3), np.uint8)))


@pytest.mark.parametrize(
  ('harm', 'says'),
  [
    (_no_picture, 'sea/2.png is no image'),
    (_cut, 'sea/2.png is damaged'),
    (_other_size, 'sea changes its size at 2.png'),
    (lambda files: files.clear(), 'sea holds no frame'),
  ],
)
def test_a_damaged_picture_is_named_with_its_clip(video, harm, says):
  files = [(f'{i}.png', picture(frame)) for i, frame in enumerate(video)]
  harm(files)
  with pytest.raises(video_io.VideoError, match=says):
    pictures.survey(pictures.pack(files), 'sea')


def test_a_damaged_pack_is_no_crash(pack):
  with pytest.raises(video_io.VideoError, match='sea is damaged'):
    pictures.survey(pack[:-10], 'sea')
  spoiled = bytearray(pack)
  spoiled[60] ^= 0xFF
  with pytest.raises(video_io.VideoError, match='sea'):
    pictures.Pictures(bytes(spoiled), 'sea').read([0], 8)
