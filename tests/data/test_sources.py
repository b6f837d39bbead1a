import functools
import shutil

import films
import numpy as np
import pytest

from framebridge_jax.data import clips, opened, sources

DIGITS = {'world': 'plain32', 'train': 3, 'test': 2}


def open_source(name, data_dir, options, **changed):
  asked = {'split': 'train', 'size': 32, 'frames': 8, 'stride': 2} | changed
  split = asked.pop('split')
  return sources.open_source(
    name, split, data_dir=data_dir, options=options, **asked
  )


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
  """Three of 40 frames, two of 10."""
  folder = tmp_path_factory.mktemp('videos')
  for name, count in (('a', 40), ('b', 40), ('c', 10)):
    for split in opened.SPLITS[: 2 - (name == 'b')]:
      path = folder / split / f'{name}.mp4'
      path.parent.mkdir(exist_ok=True)
      path.write_bytes(films.encode('mp4', films.frames(count)))
  return folder


@pytest.mark.parametrize('name', ['moving_digits', 'folder', 'prepared_folder'])
@pytest.mark.parametrize('split', opened.SPLITS)
def test_a_source_gives_clips_long_enough(tmp_path, videos, name, split):
  digits = name == 'moving_digits'
  source = open_source(
    name,
    tmp_path / 'data',
    DIGITS if digits else {},
    split=split,
    path='' if digits else videos,
    frames=8,
  )
  assert len(source.records)
  for i in range(len(source.records)):
    record = source.records[i]
    assert isinstance(record['video'], clips.Frames)
    assert record['video'].read(range(2, 15), 32).shape == (13, 32, 32, 3)
    assert 0 <= record['label'] < len(source.class_names)
    assert [type(record[x]) for x in ('caption', 'name', 'fps')] == [
      str,
      str,
      float,
    ]


def test_the_same_videos_are_the_same_frames_prepared_or_not(tmp_path, videos):
  found = []
  for name in ('folder', 'prepared_folder'):
    source = open_source(name, tmp_path, {}, path=videos, size=16)
    found.append(
      {
        record['name']: record['video'].read([0, 20], 16)
        for record in map(
          source.records.__getitem__, range(len(source.records))
        )
      }
    )
  shared = found[0].keys() & found[1].keys()
  assert shared
  for name in shared:
    np.testing.assert_array_equal(found[0][name], found[1][name])


def test_short_clips_of_a_prepared_set_are_left_out_and_said(
  tmp_path, videos, told
):
  kept = []
  for split in opened.SPLITS:
    source = open_source(
      'prepared_folder', tmp_path, {}, path=videos, split=split
    )
    records = source.records
    kept += [records[i]['name'] for i in range(len(records))]
  assert sorted(kept) == ['test/a.mp4', 'train/a.mp4', 'train/b.mp4']
  assert 'have fewer than 15 frames and are left out' in told.text
  with pytest.raises(
    ValueError, match='has the 57 frames that the window spans'
  ):
    open_source('prepared_folder', tmp_path, {}, path=videos, stride=8)


def test_a_clip_as_long_as_the_window_is_long_enough(tmp_path, videos):
  source = open_source(
    'prepared_folder', tmp_path, {}, path=videos, frames=14, stride=3
  )
  assert len(source.records) == 2
  assert {len(source.records[i]['video']) for i in range(2)} == {40}


def test_damage_is_told_by_the_source(tmp_path, videos):
  folder = tmp_path / 'raw'
  shutil.copytree(videos, folder)
  (folder / 'test' / 'x.mp4').write_bytes(b'')
  for name in ('folder', 'prepared_folder'):
    source = open_source(
      name,
      tmp_path / 'data',
      {},
      path=folder,
      frames=4,
      max_bad_fraction=0.5,
    )
    other = open_source(
      name,
      tmp_path / 'data',
      {},
      path=folder,
      frames=4,
      max_bad_fraction=0.5,
      split='test',
    )
    assert list(source.skipped | other.skipped) == ['test/x.mp4']


@pytest.mark.parametrize(
  ('text', 'rows'),
  [
    ('folder', [('folder', {})]),
    ('ucf101:fold=all', [('ucf101', {'fold': 'all'})]),
    ('ucf101:fold=01', [('ucf101', {})]),
    (
      'webvid:cut=10M + sky_timelapse',
      [('webvid', {'cut': '10M'}), ('sky_timelapse', {})],
    ),
  ],
)
def test_a_text_names_data_sets_and_their_options(text, rows):
  assert sources.parse(text) == rows


@pytest.mark.parametrize('text', ['ucf', 'ucf101:folds=1', 'folder+', ''])
def test_an_unknown_text_is_refused(text):
  with pytest.raises(ValueError, match='unknown; known: '):
    sources.parse(text)


@pytest.mark.parametrize(
  ('name', 'options', 'changed', 'says'),
  [
    ('digits', {}, {}, 'known: moving_digits, '),
    ('folder', {}, {'path': '.', 'split': 'valid'}, 'known: train, test'),
    ('folder', {}, {}, 'data set folder needs a folder; set data_dir'),
    ('prepared_folder', {}, {}, 'needs a folder; set data_dir'),
    (
      'folder',
      {'fps': 8},
      {'path': '.'},
      'has no option fps; known: there are',
    ),
    ('moving_digits', {'w': 3}, {}, 'no option w; known: world, train, test'),
    ('moving_digits', DIGITS, {'size': 64}, 'is 32 pixels wide, size is 64'),
    ('moving_digits', DIGITS, {'stride': 3}, 'has 16 .* window spans 22'),
    ('ucf101', {'fold': '7'}, {}, "fold is '7'"),
    ('ucf101', {}, {}, 'not prepared yet .* unpack UCF101.rar'),
    ('msrvtt', {}, {'path': 'nowhere'}, "data_dir is 'nowhere', no folder"),
  ],
)
def test_what_cannot_be_opened_says_why(tmp_path, name, options, changed, says):
  with pytest.raises(ValueError, match=says):
    open_source(name, tmp_path, options, **changed)
  assert not list(tmp_path.rglob('*.array_record*'))


def test_the_rendered_sample_is_a_data_set(tmp_path):
  opened = functools.partial(
    sources.open_source,
    'physics_motion',
    data_dir=tmp_path,
    frames=16,
    stride=1,
    options={'sample': True},
  )
  source = opened('train', size=32)
  assert len(source.records) == len(source.class_names) == 10
  with pytest.raises(ValueError, match='16 frames of 32 pixels'):
    opened('train', size=64)
