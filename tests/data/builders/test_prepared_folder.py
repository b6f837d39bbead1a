import io
import json
import os
import tarfile

import pytest

from framebridge_jax.data.builders import prepared_folder


def contents(opened, folder, **options):
  """Class name and captions by name, by split."""
  found = {}
  for split in ('train', 'test'):
    records = opened(prepared_folder, folder, split, **options)
    found[split] = {
      record['name']: (records.class_names[record['label']], record['captions'])
      for record in map(records.__getitem__, range(len(records)))
    }
  return found


def shard(members):
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode='w') as archive:
    for name, data in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
  return buffer.getvalue()


def test_sub_folders_are_classes_at_any_depth(write, film, opened):
  folder = write(
    {
      'waves/a.mp4': film(),
      'waves/atlantic/b.webm': film(kind='webm'),
      'fire/c.gif': film(kind='gif'),
      'fire/d.avi': film(kind='avi'),
      'fire/notes.md': 'not read',
      '.hidden/e.mp4': film(),
      'fire/._d.avi': 'left by another system',
    }
  )
  both = contents(opened, folder)
  found = both['train'] | both['test']
  assert {name: class_name for name, (class_name, _) in found.items()} == {
    'waves/a.mp4': 'waves',
    'waves/atlantic/b.webm': 'waves',
    'fire/c.gif': 'fire',
    'fire/d.avi': 'fire',
  }
  assert len(both['test']) == 1


def test_what_is_only_named_like_a_video_is_told_once(write, film, opened):
  good = [f'train/waves/{i}.mp4' for i in range(2)] + ['test/waves/2.mp4']
  folder = write({name: film() for name in good})
  waves = folder / 'train' / 'waves'
  os.mkfifo(waves / 'pipe.mp4')
  os.mkfifo(folder / 'train' / 'pipe.tar')
  (waves / 'dead.mp4').symlink_to('nowhere')
  (waves / 'ring.mp4').symlink_to('ring.mp4')
  (waves / 'again').symlink_to('..')
  (waves / 'folder.mp4').mkdir()
  found, lost = {}, {}
  for split in ('train', 'test'):
    records = opened(prepared_folder, folder, split, bad=0.9)
    found |= {records[i]['name']: 0 for i in range(len(records))}
    lost |= records.skipped
  assert sorted(found) == sorted(good)
  assert sorted(lost) == ['train/pipe.tar'] + [
    f'train/waves/{name}.mp4' for name in ('dead', 'folder', 'pipe', 'ring')
  ]
  for name in ('dead', 'pipe', 'ring'):
    assert lost[f'train/waves/{name}.mp4'].count('is no file') == 1


def test_a_tenth_is_held_out_and_new_videos_move_no_old_one(
  write, film, opened
):
  folder = write({f'{i:02}.mp4': film() for i in range(50)})
  before = contents(opened, folder)
  assert 2 <= len(before['test']) <= 6
  assert len(before['train'] | before['test']) == 50
  write({f'new{i}.mp4': film() for i in range(10)})
  after = contents(opened, folder)
  assert len(after['train'] | after['test']) == 60
  for split in ('train', 'test'):
    assert before[split].keys() <= after[split].keys()


def test_folders_train_and_test_are_the_splits(write, film, opened):
  folder = write(
    {
      **{f'train/sea/{i}.mp4': film() for i in range(3)},
      'test/sea/9.mp4': film(),
      'test/sky/8.mp4': film(),
    }
  )
  found = contents(opened, folder)
  assert list(found['train']) == [f'train/sea/{i}.mp4' for i in range(3)]
  assert found['test'] == {
    'test/sea/9.mp4': ('sea', ()),
    'test/sky/8.mp4': ('sky', ()),
  }


def test_captions_stand_beside_a_video_or_in_a_table(write, film, opened):
  folder = write(
    {
      'a.mp4': film(),
      'a.txt': '\ufeffone\n\n two \n',
      'b.mp4': film(),
      'b.txt': 'the table has precedence',
      'c.mp4': film(),
      'c.txt': '  \n',
      'd.mp4': film(),
      'captions.csv': 'file,caption\nb.mp4,"three, four"\nb.mp4,five\n',
      'captions.jsonl': json.dumps({'file': 'd.mp4', 'caption': 'sjö'})
      + '\n\n',
    }
  )
  both = contents(opened, folder)
  found = both['train'] | both['test']
  assert {name: said for name, (_, said) in found.items()} == {
    'a.mp4': ('one', 'two'),
    'b.mp4': ('three, four', 'five'),
    'c.mp4': (),
    'd.mp4': ('sjö',),
  }


def test_samples_of_tar_shards_are_read(write, film, opened, tmp_path):
  folder = write(
    {
      '00000.tar': shard(
        {
          '0001.mp4': film(4),
          '0001.txt': b'one',
          '0001.json': b'{"caption": "not this"}',
          '0002.json': b'{"caption": "two"}',
          '0002.mp4': film(5),
          '0003.txt': b'no video',
        }
      ),
      '00001.tar': shard({'0004.webm': film(6, 'webm'), '0004.json': b'[1]'}),
    }
  )
  both = contents(opened, folder)
  found = both['train'] | both['test']
  assert {name: said for name, (_, said) in found.items()} == {
    '00000.tar/0001.mp4': ('one',),
    '00000.tar/0002.mp4': ('two',),
    '00001.tar/0004.webm': (),
  }
  records = opened(prepared_folder, folder)
  for i in range(len(records)):
    frames = {'0001.mp4': 4, '0002.mp4': 5, '0004.webm': 6}
    name = records[i]['name'].rpartition('/')[2]
    assert len(records[i]['video']) == frames[name]


def test_classes_of_a_shard_are_said_or_folders(write, film, opened):
  folder = write(
    {
      'a.tar': shard(
        {
          'x.mp4': film(),
          'x.cls': b'sea\n',
          'sky/y.mp4': film(),
          'sea/z.mp4': film(),
        }
      )
    }
  )
  both = contents(opened, folder)
  found = both['train'] | both['test']
  assert {name: class_name for name, (class_name, _) in found.items()} == {
    'a.tar/x.mp4': 'sea',
    'a.tar/sky/y.mp4': 'sky',
    'a.tar/sea/z.mp4': 'sea',
  }


def test_a_shard_that_breaks_off_costs_its_rest(write, film, opened, told):
  data = shard({'1.mp4': film(), '2.mp4': film(), '3.mp4': film()})
  end = data.index(b'3.mp4') + 700
  folder = write({'a.tar': data[:end], 'b.mp4': film(), 'c.tar': b'<html>'})
  with pytest.raises(ValueError, match='data.max_bad_fraction'):
    opened(prepared_folder, folder)
  told.clear()
  both = contents(opened, folder, bad=0.9)
  found = both['train'] | both['test']
  assert sorted(found) == ['a.tar/1.mp4', 'a.tar/2.mp4', 'b.mp4']
  assert told.text.count('a.tar is damaged') == 1
  assert told.text.count('c.tar is damaged') == 1


def test_a_changed_folder_is_prepared_anew(write, film, opened):
  folder = write({'a.mp4': film(), 'b.mp4': film()})
  assert len(opened(prepared_folder, folder)) == 1
  write({'c.mp4': film()})
  assert len(opened(prepared_folder, folder)) == 2
  write({'a.txt': 'said later', 'b.txt': 'x', 'c.txt': 'x'})
  assert opened(prepared_folder, folder)[0]['caption']


def test_a_folder_is_named_by_all_that_is_in_it(write):
  folder = write({'a.mp4': b'1', 'sea/b.mp4': b'2'})

  def name():
    config = prepared_folder.make_config(folder=str(folder), max_bad_fraction=0)
    return config.name

  seen = [name()]
  os.utime(folder / 'sea/b.mp4', (1, 1))
  seen.append(name())
  (folder / 'sea/b.mp4').write_bytes(b'longer')
  os.utime(folder / 'sea/b.mp4', (1, 1))
  seen.append(name())
  (folder / 'sea/b.mp4').rename(folder / 'sea/c.mp4')
  seen.append(name())
  assert len(set(seen)) == 4
  assert name() == seen[-1]


@pytest.mark.parametrize(
  ('files', 'says'),
  [
    ({'a.txt': 'x'}, 'holds no video among its 1 entries'),
    ({'a.mp4': '', 'sea/b.mp4': ''}, 'videos beside sub-folders of videos'),
    ({'a.mp4': ''}, 'holds a single video and none can be held out'),
    (
      {'a.mp4': '', 'captions.csv': 'name,caption\na.mp4,x\n'},
      'captions.csv has a row without file and caption .KeyError..file',
    ),
    ({'a.mp4': '', 'captions.jsonl': '{"file": '}, 'captions.jsonl has a row'),
  ],
)
def test_what_is_no_folder_of_videos_is_refused(write, opened, files, says):
  with pytest.raises(ValueError, match=says):
    opened(prepared_folder, write(files))
