import json

import pytest

from framebridge_jax.data.builders import msrvtt


def table(*clips):
  """Clips of (number, category, split), with two captions each, one twice."""
  said = ('a man sings', ' a man sings', 'someone is singing ')
  return {
    'info': {},
    'videos': [
      {'id': i, 'video_id': f'video{i}', 'category': category, 'split': split}
      for i, category, split in clips
    ],
    'sentences': [
      {'sen_id': 0, 'video_id': f'video{i}', 'caption': f'{text} {i}'}
      for i, *_ in clips
      for text in said
    ],
  }


TRAIN_VAL = table((0, 9, 'train'), (10, 3, 'train'), (2, 0, 'validate'))
TEST = table((7010, 19, 'test'))


def names(records):
  return [records[i]['name'] for i in range(len(records))]


def official(write, film):
  return write(
    {
      'train_val_videodatainfo.json': json.dumps(TRAIN_VAL),
      'test_videodatainfo.json': json.dumps(TEST),
      **{f'TrainValVideo/video{i}.mp4': film() for i in (0, 10, 2)},
      'TestVideo/video7010.mp4': film(),
    }
  )


def all_in_one(write, film):
  both = {key: TRAIN_VAL[key] + TEST[key] for key in ('videos', 'sentences')}
  return write(
    {
      'MSRVTT_data.json': json.dumps(both),
      **{f'videos/all/video{i}.mp4': film() for i in (0, 10, 2, 7010)},
    }
  )


@pytest.mark.parametrize('layout', [official, all_in_one])
def test_splits_categories_and_all_captions_are_read(
  write, film, opened, layout
):
  copy = layout(write, film)
  train = opened(msrvtt, copy)
  assert [x.rpartition('/')[2] for x in names(train)] == [
    'video0.mp4',
    'video10.mp4',
  ]
  assert train[1]['captions'] == ('a man sings 10', 'someone is singing  10')
  assert train.class_names[train[0]['label']] == 'vehicles and autos'
  assert len(train.class_names) == 20
  for split, name in (('validation', 'video2'), ('test', 'video7010')):
    (found,) = names(opened(msrvtt, copy, split))
    assert found.endswith(f'/{name}.mp4')


def test_a_clip_without_its_file_is_told(write, film, opened):
  copy = official(write, film)
  (copy / 'TrainValVideo/video10.mp4').unlink()
  records = opened(msrvtt, copy, bad=0.5)
  assert list(records.skipped) == ['TrainValVideo/video10.mp4']


@pytest.mark.parametrize(
  ('text', 'says'),
  [
    ('<html>', 'is not the table'),
    ('{"videos": []}', "KeyError\\('sentences'\\)"),
    (json.dumps(table((0, 20, 'train'))), 'category 20'),
    (json.dumps(table((0, -1, 'train'))), 'category -1'),
    (json.dumps(table((0, 2, 'all'))), "KeyError\\('all'\\)"),
  ],
)
def test_a_table_that_is_another_is_refused(write, opened, text, says):
  copy = write({'MSRVTT_data.json': text, 'videos/a.mp4': ''})
  with pytest.raises(ValueError, match=says) as error:
    opened(msrvtt, copy)
  assert 'MSRVTT_data.json' in str(error.value)


def test_a_folder_without_tables_is_refused(write, opened):
  with pytest.raises(ValueError, match='no train_val_videodatainfo.json; put'):
    opened(msrvtt, write({'videos/a.mp4': ''}))
