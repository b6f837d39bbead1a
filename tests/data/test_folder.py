import os
import pickle
import shutil

import numpy as np
import pytest
from absl import logging

from framebridge_jax.data import clips, folder, video_io

SIZE = 16


@pytest.fixture(scope='module')
def shorts(tmp_path_factory, carphone):
  """Twelve real clips of 6 to 17 frames: 00.mp4, 01.mp4, ..."""
  home = tmp_path_factory.mktemp('shorts')
  video = clips.resize_crop(video_io.read_video(carphone), 32)
  for i in range(12):
    part = video[8 * i : 8 * i + 6 + i]
    video_io.write_mp4(home / f'{i:02}.mp4', part, 8)
  return home


@pytest.fixture
def home(tmp_path):
  path = tmp_path / 'videos'
  path.mkdir()
  return path


def open_split(home, split='train', *, min_frames=4):
  return folder.open_folder(
    home,
    split,
    size=SIZE,
    min_frames=min_frames,
    cache_dir=home.parent / 'cache',
  )


def names(source):
  return [clip.name for clip in source.clips]


def copy_some(shorts, home, count):
  for path in sorted(shorts.iterdir())[:count]:
    shutil.copy2(path, home / path.name)


def test_clips_are_the_decoded_and_cropped_videos(shorts, home):
  copy_some(shorts, home, 3)
  source = open_split(home)
  assert len(source) == 2
  for clip, record in zip(source.clips, source, strict=True):
    video = clips.resize_crop(video_io.read_video(home / clip.name), SIZE)
    np.testing.assert_array_equal(record['video'].pixels, video)
    assert record['label'] == 0
  assert source.class_names == ('videos',)


def test_sub_folders_are_classes(shorts, home):
  for name, file in (('run', '00'), ('hop', '01'), ('hop', '02')):
    (home / name).mkdir(exist_ok=True)
    shutil.copy2(shorts / f'{file}.mp4', home / name)
  (home / 'notes').mkdir()
  (home / '.hidden').mkdir()
  shutil.copy2(shorts / '03.mp4', home / '.hidden')
  both = [open_split(home, split) for split in ('train', 'test')]
  assert both[0].class_names == both[1].class_names == ('hop', 'run')
  found = {clip.name: clip.label for part in both for clip in part.clips}
  assert found == {'hop/01.mp4': 0, 'hop/02.mp4': 0, 'run/00.mp4': 1}


@pytest.mark.parametrize(('count', 'held_out'), [(2, 1), (3, 1), (12, 1)])
def test_the_splits_part_the_videos(shorts, home, count, held_out):
  copy_some(shorts, home, count)
  train, test = (names(open_split(home, split)) for split in ('train', 'test'))
  assert len(test) == held_out
  assert sorted(train + test) == sorted(p.name for p in home.iterdir())


def test_a_single_video_holds_its_last_fifth_out(home, carphone):
  shutil.copy2(carphone, home / 'a.mp4')
  train, test = (open_split(home, split)[0] for split in ('train', 'test'))
  assert (len(train['video']), len(test['video'])) == (96, 24)
  video = clips.resize_crop(video_io.read_video(carphone), SIZE)
  both = np.concatenate([train['video'].pixels, test['video'].pixels])
  np.testing.assert_array_equal(both, video)


def test_a_single_short_video_is_both_splits_and_says_so(shorts, home, caplog):
  copy_some(shorts, home, 1)
  with absl_propagates():
    train, test = (open_split(home, split) for split in ('train', 'test'))
  assert train == test
  assert 'only video' in caplog.text


def test_bad_files_are_skipped_named_and_counted(shorts, home, caplog):
  copy_some(shorts, home, 6)
  data = (home / '00.mp4').read_bytes()
  (home / 'cut.mp4').write_bytes(data[: len(data) // 2])
  (home / 'zero.avi').write_bytes(bytes(1000))
  (home / 'notes.txt').write_text('not read')
  (home / '._00.mp4').write_bytes(b'left by another system')
  with absl_propagates():
    train, test = (
      names(open_split(home, split, min_frames=8))
      for split in ('train', 'test')
    )
  assert sorted(train + test) == ['02.mp4', '03.mp4', '04.mp4', '05.mp4']
  for name in ('cut.mp4', 'zero.avi', '00.mp4 has 6 frames', '01.mp4 has 7'):
    assert f'{home}/{name}' in caplog.text
  assert (
    '4 of 8 videos are usable; 2 cannot be read and 2 have fewer than 8 frames'
  ) in caplog.text
  assert 'MORE THAN HALF' not in caplog.text


def test_what_is_only_named_like_a_video_is_told_and_waited_for_never(
  shorts, home, caplog
):
  (home / 'a').mkdir()
  copy_some(shorts, home / 'a', 4)
  os.mkfifo(home / 'a' / 'pipe.mp4')
  (home / 'a' / 'dead.mp4').symlink_to('nowhere')
  (home / 'a' / 'ring.mp4').symlink_to('ring.mp4')
  (home / 'a' / 'folder.mp4').mkdir()
  odd = os.fsdecode(b'caf\xe9.mp4')
  (home / 'a' / '00.mp4').rename(home / 'a' / odd)
  with absl_propagates():
    found = [
      names(open_split(home, split, min_frames=1))
      for split in ('train', 'test')
    ]
  assert f'a/{odd}' in sum(found, [])
  for name in ('pipe', 'dead', 'ring', 'folder'):
    assert f'{home}/a/{name}.mp4 is no file' in caplog.text
  assert '4 of 8 videos are usable' in caplog.text


def test_losing_most_of_a_folder_is_said_loudly(shorts, home, caplog):
  copy_some(shorts, home, 3)
  with absl_propagates():
    open_split(home, min_frames=8)
  assert [r.levelname for r in caplog.records if 'MORE THAN' in r.message] == [
    'ERROR'
  ]


def test_a_video_is_decoded_once_until_it_changes(shorts, home, monkeypatch):
  copy_some(shorts, home, 3)
  decoded = []
  iter_frames = video_io.iter_frames

  def counted(path):
    decoded.append(path.name)
    return iter_frames(path)

  monkeypatch.setattr(video_io, 'iter_frames', counted)
  first = open_split(home)
  assert sorted(decoded) == ['00.mp4', '01.mp4', '02.mp4']
  assert open_split(home) == first
  assert len(decoded) == 3
  shutil.copy2(shorts / '05.mp4', home / '01.mp4')
  open_split(home)
  assert decoded[3:] == ['01.mp4']
  os.utime(home / '02.mp4', ns=(1, 1))
  open_split(home)
  assert decoded[4:] == ['02.mp4']
  shutil.copy(shorts / '06.mp4', home / '02.mp4')
  os.utime(home / '02.mp4', ns=(1, 1))
  open_split(home)
  assert decoded[5:] == ['02.mp4']


def test_a_clip_that_could_not_be_saved_is_not_in_the_cache(
  shorts, home, monkeypatch
):
  def fail(file, array):
    file.write(b'half')
    raise OSError('disk full')

  copy_some(shorts, home, 2)
  monkeypatch.setattr(np, 'save', fail)
  with pytest.raises(OSError, match='disk full'):
    open_split(home)
  assert not list((home.parent / 'cache').rglob('*.*'))


def test_an_interrupted_pass_goes_on_where_it_was(shorts, home, monkeypatch):
  copy_some(shorts, home, 4)
  iter_frames = video_io.iter_frames

  def interrupted(path):
    for i, frame in enumerate(iter_frames(path)):
      if path.name == '02.mp4' and i == 3:
        raise KeyboardInterrupt
      yield frame

  with monkeypatch.context() as patch:
    patch.setattr(video_io, 'iter_frames', interrupted)
    with pytest.raises(KeyboardInterrupt):
      open_split(home)
  done = sorted((home.parent / 'cache').rglob('*'))
  assert {path.suffix for path in done} <= {'', '.npy'}
  lengths = {
    c.name: c.stop for s in ('train', 'test') for c in open_split(home, s).clips
  }
  assert lengths == {f'0{i}.mp4': 6 + i for i in range(4)}


def test_a_source_travels_to_other_processes(shorts, home):
  copy_some(shorts, home, 2)
  source = open_split(home)
  copy = pickle.loads(pickle.dumps(source))
  for one, two in zip(source, copy, strict=True):
    np.testing.assert_array_equal(one['video'].pixels, two['video'].pixels)


def test_a_folder_without_usable_videos_says_what_it_found(shorts, home):
  with pytest.raises(ValueError, match='is missing; give a folder'):
    open_split(home / 'nowhere')
  with pytest.raises(ValueError, match='is a file; give a folder'):
    open_split(shorts / '00.mp4')
  with pytest.raises(ValueError, match=r'no video among its 0 .* \.webm'):
    open_split(home)
  (home / 'a.mp4').write_bytes(b'')
  with pytest.raises(ValueError, match='0 of 1 videos are usable; 1 cannot'):
    open_split(home)
  copy_some(shorts, home, 1)
  with pytest.raises(ValueError, match='1 have fewer than 99 frames'):
    open_split(home, min_frames=99)


def test_a_mixed_folder_is_refused(shorts, home):
  copy_some(shorts, home, 2)
  (home / 'run').mkdir()
  shutil.copy2(shorts / '03.mp4', home / 'run')
  with pytest.raises(ValueError, match='2 videos beside 1 in sub-folders'):
    open_split(home)


class absl_propagates:
  """Lets pytest's caplog see what absl logs, from INFO upwards."""

  def __enter__(self):
    self._logger = logging.get_absl_logger()
    self._before = logging.get_verbosity(), self._logger.propagate
    logging.set_verbosity(logging.INFO)
    self._logger.propagate = True

  def __exit__(self, *exception):
    verbosity, self._logger.propagate = self._before
    logging.set_verbosity(verbosity)
