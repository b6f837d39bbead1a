import hashlib
import os
import pathlib
import pickle
import subprocess
import sys
import threading

import films
import numpy as np
import pytest
import tensorflow_datasets as tfds

from framebridge_jax.data import clips, encoded, sources, video_io
from framebridge_jax.data.builders import videos

ROOT = pathlib.Path(__file__).parents[3]


class Waves(videos.Videos):
  """Two splits of the videos that a test names."""

  VERSION = tfds.core.Version('1.0.0')
  DOWNLOAD = 'fetch the waves'
  EXTRA = {'height_cm': np.int64}

  def _find(self, folder):
    items = [
      videos.Item(
        name=path.name,
        read=path.read_bytes,
        label=i % 2,
        captions=('high', 'wäves') if i else (),
        extra={'height_cm': 10 * i},
      )
      for i, path in enumerate(sorted(folder.iterdir()))
    ]
    lost = {'train': {f'gone{i}.mp4': 'is gone' for i in range(self.gone)}}
    return videos.Found(('calm', 'storm'), {'train': items}, lost)

  gone = 0


def open_waves(folder, data_dir, split='train', *, bad=0.0, builder=Waves):
  config = videos.Config(
    name='default', folder=str(folder), max_bad_fraction=bad
  )
  return videos.open_records(builder, config, split, data_dir=data_dir)


@pytest.fixture
def waves(write, film):
  return write({f'{i}.mp4': film(i + 4) for i in range(4)})


def test_a_record_is_the_file_with_its_class_and_captions(waves, tmp_path):
  records = open_waves(waves, tmp_path / 'out')
  assert isinstance(records, sources.Records)
  assert records.class_names == ('calm', 'storm')
  assert len(records) == 4
  for i in range(4):
    record, data = records[i], (waves / f'{i}.mp4').read_bytes()
    assert record['video'].data == data
    assert record['sha256'] == hashlib.sha256(data).hexdigest()
    assert isinstance(record['video'], clips.Frames)
    assert len(record['video']) == i + 4
    assert (record['label'], record['name']) == (i % 2, f'{i}.mp4')
    assert record['captions'] == (('high', 'wäves') if i else ())
    assert record['caption'] == ('high' if i else '')
    assert record['fps'] == pytest.approx(24)
    assert (record['size'], record['height_cm']) == ((32, 32), 10 * i)


def test_the_places_of_keys_are_kept(write, tmp_path):
  data = films.encode('mp4', films.frames(50))
  video = open_waves(write({'a.mp4': data}), tmp_path / 'out')[0]['video']
  assert video.keys == encoded.survey(data, 'a').keys != ()


def test_a_table_tells_of_all_records_without_reading_them(waves, tmp_path):
  table = open_waves(waves, tmp_path / 'out').table()
  np.testing.assert_array_equal(table.frames, [4, 5, 6, 7])
  np.testing.assert_array_equal(table.label, [0, 1, 0, 1])
  np.testing.assert_allclose(table.fps, 24)
  np.testing.assert_array_equal(
    [table.width, table.height], np.full((2, 4), 32)
  )


def test_records_travel_to_other_processes(waves, tmp_path):
  records = open_waves(waves, tmp_path / 'out')
  copy = pickle.loads(pickle.dumps(records))
  np.testing.assert_array_equal(
    copy[2]['video'].read([1], 8), records[2]['video'].read([1], 8)
  )


@pytest.mark.parametrize('threads', [1, 4])
def test_the_order_is_that_of_the_list(
  write, film, tmp_path, threads, monkeypatch
):
  """Whoever is ready first."""
  folder = write(
    {f'{i:02}.mp4': film(4 + 30 * (i % 3 == 0)) for i in range(12)}
  )
  monkeypatch.setattr(Waves, 'THREADS', threads)
  records = open_waves(folder, tmp_path / 'out')
  names = [records[i]['name'] for i in range(12)]
  assert names == [f'{i:02}.mp4' for i in range(12)]


def test_one_thread_reads_all_where_that_is_wanted(waves, tmp_path):
  seen = set()

  class Drawn(Waves):
    THREADS = 1

    def _find(self, folder):
      found = super()._find(folder)
      items = [
        item._replace(
          read=lambda item=item: seen.add(threading.get_ident()) or item.read()
        )
        for item in found.splits['train']
      ]
      return found._replace(splits={'train': items})

  open_waves(waves, tmp_path / 'out', builder=Drawn)
  assert len(seen) == 1


def test_damaged_files_are_left_out_and_named_once(
  waves, write, tmp_path, told
):
  write({'1.mp4': b'<html>', '3.mp4': (waves / '3.mp4').read_bytes()[:900]})
  for _ in range(2):
    records = open_waves(waves, tmp_path / 'out', bad=0.5)
    names = [records[i]['name'] for i in range(len(records))]
    assert names == ['0.mp4', '2.mp4']
    assert list(records.skipped) == ['1.mp4', '3.mp4']
    for name, reason in records.skipped.items():
      assert told.text.count(f'skipped: {reason}') == 1
      assert reason.startswith(f'{name} ')


@pytest.mark.parametrize(('bad', 'allowed'), [(0.25, True), (0.24, False)])
def test_too_many_damaged_files_end_it(waves, write, tmp_path, bad, allowed):
  write({'1.mp4': b''})
  if allowed:
    assert len(open_waves(waves, tmp_path / 'out', bad=bad)) == 3
    return
  with pytest.raises(ValueError, match='share 0.24 of 4 files') as error:
    open_waves(waves, tmp_path / 'out', bad=bad)
  assert '1.mp4' in str(error.value)
  assert 'data.max_bad_fraction' in str(error.value)


def test_files_that_are_gone_count_and_some_are_named(
  waves, tmp_path, told, monkeypatch
):
  monkeypatch.setattr(Waves, 'gone', 30)
  records = open_waves(waves, tmp_path / 'out', bad=0.9)
  assert len(records) == 4
  assert len(records.skipped) == 30
  assert told.text.count('is gone') == videos.NAMED == 20
  assert 'and 10 more' in told.text
  with pytest.raises(ValueError, match='share 0.8 of 34 files'):
    open_waves(waves, tmp_path / 'other', bad=0.8)


def test_a_file_that_cannot_be_opened_is_a_damaged_one(waves, tmp_path):
  (waves / '4.mp4').symlink_to(waves / 'nowhere')
  records = open_waves(waves, tmp_path / 'out', bad=0.5)
  assert records.skipped == {
    '4.mp4': '4.mp4 cannot be read: No such file or directory'
  }


def test_a_file_too_large_for_a_record_is_left_out(
  waves, tmp_path, monkeypatch
):
  sizes = {path.name: path.stat().st_size for path in waves.iterdir()}
  most = sorted(sizes.values())[2]
  monkeypatch.setattr(videos.video_records, 'MAX_BYTES', most)
  records = open_waves(waves, tmp_path / 'out', bad=0.9)
  assert list(records.skipped) == [max(sizes, key=lambda name: sizes[name])]


def test_a_set_of_damaged_files_alone_is_refused(write, tmp_path):
  with pytest.raises(ValueError, match='holds no video that can be read'):
    open_waves(write({'a.mp4': b''}), tmp_path / 'out', bad=1.0)
  assert not list((tmp_path / 'out').rglob('*.array_record*'))


def test_names_that_are_no_utf_8_are_shown(tmp_path, film):
  folder = tmp_path / 'raw'
  folder.mkdir()
  (folder / os.fsdecode(b'caf\xe9.mp4')).write_bytes(film())
  (folder / 'тест.mp4').write_bytes(film())
  records = open_waves(folder, tmp_path / 'out')
  names = {records[i]['name'] for i in range(2)}
  assert names == {'caf\\udce9.mp4', 'тест.mp4'}


def test_what_is_prepared_is_not_looked_for_again(waves, tmp_path, monkeypatch):
  open_waves(waves, tmp_path / 'out')
  monkeypatch.setattr(Waves, '_find', None)
  assert len(open_waves(waves, tmp_path / 'out')) == 4
  for path in waves.iterdir():
    path.unlink()
  waves.rmdir()
  assert len(open_waves('', tmp_path / 'out')) == 4


def test_another_folder_is_not_taken_for_the_prepared_one(waves, tmp_path):
  open_waves(waves, tmp_path / 'out')
  with pytest.raises(ValueError, match=f'was prepared from {waves}, not from'):
    open_waves(tmp_path, tmp_path / 'out')


def test_without_its_folder_a_set_says_how_to_come_by_it(tmp_path):
  for folder in ('', tmp_path / 'nowhere'):
    with pytest.raises(ValueError, match="data_dir is '.*'.*fetch the waves"):
      open_waves(folder, tmp_path / 'out')


def test_an_unknown_split_names_the_known(waves, tmp_path):
  with pytest.raises(ValueError, match="no split 'test'; known: train"):
    open_waves(waves, tmp_path / 'out', 'test')


def test_an_interrupted_preparation_begins_anew(waves, tmp_path, monkeypatch):
  survey = encoded.survey

  def interrupted(data, name):
    if name == '2.mp4':
      raise KeyboardInterrupt
    return survey(data, name)

  with monkeypatch.context() as patch:
    patch.setattr(encoded, 'survey', interrupted)
    with pytest.raises(KeyboardInterrupt):
      open_waves(waves, tmp_path / 'out')
  files = []
  for name in ('out', 'fresh'):
    assert len(open_waves(waves, tmp_path / name)) == 4
    found = sorted((tmp_path / name).rglob('*.array_record*'))
    files.append([path.read_bytes() for path in found])
  assert files[0] == files[1]
  assert len(files[0]) == 1


def test_an_error_of_ours_is_not_taken_for_a_damaged_file(
  waves, tmp_path, monkeypatch
):
  def broken(data, name):
    raise RuntimeError('a bug')

  monkeypatch.setattr(encoded, 'survey', broken)
  with pytest.raises(RuntimeError, match='a bug'):
    open_waves(waves, tmp_path / 'out', bad=1.0)


def test_reading_damage_names_the_clip(waves, tmp_path):
  video = open_waves(waves, tmp_path / 'out')[3]['video']
  broken = encoded.Encoded(video.data[:900], len(video), (), video.name)
  with pytest.raises(video_io.VideoError, match='3.mp4'):
    broken.read([0], 8)


PREPARE = """
import sys
from framebridge_jax.data import sources
opened = sources.open_source('prepared_folder', 'train', data_dir=sys.argv[2],
  path=sys.argv[1], size=16, frames=2, stride=1, options={})
opened.records[0]['video'].read([0], 16)
print({'tensorflow', 'torch'} & set(sys.modules))
"""


def test_preparing_and_reading_import_no_tensorflow(waves, tmp_path):
  result = subprocess.run(
    [sys.executable, '-c', PREPARE, waves, tmp_path / 'out'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert result.stdout.splitlines()[-1] == 'set()'
