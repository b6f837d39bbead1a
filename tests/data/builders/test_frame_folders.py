"""Data sets whose clips are folders of frames, or lie in plain folders."""

import io

import numpy as np
import pytest
from PIL import Image

from framebridge_jax.data.builders import (
  faceforensics,
  sky_timelapse,
  taichi_hd,
)


def picture(level, suffix):
  buffer = io.BytesIO()
  Image.fromarray(np.full((6, 8, 3), level, np.uint8)).save(buffer, suffix)
  return buffer.getvalue()


def frames(place, count, *, name='f_{}', suffix='jpeg'):
  return {
    f'{place}/{name.format(i)}.{suffix}': picture(20 * i, suffix)
    for i in range(count)
  }


def names(records):
  return [records[i]['name'] for i in range(len(records))]


def levels(record, count):
  return record['video'].read(range(count), 6)[:, 3, 3, 0]


def test_sky_clips_are_the_folders_that_hold_frames(write, opened):
  copy = write(
    {
      **frames('sky_train/aBc/aBc_1', 12),
      **frames('sky_train/aBc/aBc_2', 2),
      **frames('sky_train/dEf', 3),
      **frames('sky_test/gHi/gHi_1', 2),
      'readme': 'of the archive',
    }
  )
  train = opened(sky_timelapse, copy)
  assert names(train) == [
    'sky_train/aBc/aBc_1',
    'sky_train/aBc/aBc_2',
    'sky_train/dEf',
  ]
  np.testing.assert_array_equal(train.table().frames, [12, 2, 3])
  # f_10 stands behind f_9.
  np.testing.assert_allclose(levels(train[0], 12), 20 * np.arange(12), atol=3)
  assert names(opened(sky_timelapse, copy, 'test')) == ['sky_test/gHi/gHi_1']


def test_a_damaged_frame_costs_its_clip(write, opened):
  copy = write(
    {
      **frames('sky_train/a', 3),
      **frames('sky_train/b', 3),
      'sky_train/b/f_1.jpeg': b'cut',
      **frames('sky_test/c', 3),
    }
  )
  records = opened(sky_timelapse, copy, bad=0.5)
  assert names(records) == ['sky_train/a']
  (reason,) = records.skipped.values()
  assert reason.startswith('sky_train/b/f_1.jpeg is no image')


def test_taichi_is_read_as_files_and_as_frames(write, film, opened):
  """The loader calls folders of frames, too, by a name that ends in .mp4."""
  copy = write(
    {
      'train/x#000001#000200.mp4': film(),
      **frames('train/y#000001#000003.mp4', 3, name='{:07}', suffix='png'),
      'test/z#000001#000200.mp4': film(),
    }
  )
  train = opened(taichi_hd, copy)
  assert names(train) == [
    'train/x#000001#000200.mp4',
    'train/y#000001#000003.mp4',
  ]
  np.testing.assert_array_equal(train.table().frames, [6, 3])
  np.testing.assert_array_equal(levels(train[1], 3), [0, 20, 40])
  assert len(opened(taichi_hd, copy, 'test')) == 1


PLACE = 'original_sequences/youtube/c23/videos'


def test_faces_are_parted_by_pairs_of_numbers(write, film, opened):
  copy = write(
    {
      'splits/train.json': '[["071", "054"]]',
      'splits/val.json': '[["003", "000"]]',
      'splits/test.json': '[["953", "974"]]',
      **{
        f'{PLACE}/{name}.mp4': film()
        for name in ('000', '003', '054', '071', '953')
      },
    }
  )
  options = {'bad': 0.5, 'compression': 'c23'}
  for split, want in {
    'train': ['054', '071'],
    'validation': ['000', '003'],
    'test': ['953'],
  }.items():
    records = opened(faceforensics, copy, split, **options)
    assert names(records) == [f'{PLACE}/{name}.mp4' for name in want]
  assert list(records.skipped) == [f'{PLACE}/974.mp4']
  with pytest.raises(ValueError, match="compression is 'c1', want one of c0"):
    opened(faceforensics, copy, compression='c1')


@pytest.mark.parametrize(
  ('module', 'options', 'says'),
  [
    (sky_timelapse, {}, 'no sky_train and no sky_test; unpack'),
    (taichi_hd, {}, 'no train and no test; let load_videos.py'),
    (faceforensics, {'compression': 'c40'}, 'youtube/c40/videos and no splits'),
  ],
)
def test_a_folder_of_something_else_is_refused(
  write, opened, module, options, says
):
  with pytest.raises(ValueError, match=says):
    opened(module, write({'readme': ''}), **options)


def test_a_split_that_is_no_list_of_pairs_is_refused(write, film, opened):
  copy = write(
    {
      f'{PLACE}/000.mp4': film(),
      **{f'splits/{x}.json': '{"a"' for x in ('train', 'val', 'test')},
    }
  )
  with pytest.raises(ValueError, match='train.json is no list of pairs'):
    opened(faceforensics, copy, compression='c23')
