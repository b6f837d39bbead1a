import pytest

from framebridge_jax.data.builders import ucf101

LISTS = 'ucfTrainTestlist'
# The second name is spelled in two ways, as in the true data set.
CLIPS = {
  'train': [
    'Archery/v_Archery_g08_c01',
    'HandstandPushups/v_HandStandPushups_g08_c01',
  ],
  'test': ['Archery/v_Archery_g01_c01'],
}


@pytest.fixture
def copy(write, film):
  files = {
    f'UCF-101/{x}.avi': film(kind='avi') for y in CLIPS.values() for x in y
  }
  lists = {f'{LISTS}/classInd.txt': '1 Archery\r\n2 HandstandPushups\r\n'}
  for fold in ('01', '02', '03'):
    one, two = ('train', 'test') if fold != '02' else ('test', 'train')
    numbers = {'Archery': 1, 'HandstandPushups': 2}
    lists[f'{LISTS}/trainlist{fold}.txt'] = ''.join(
      f'{x}.avi {numbers[x.partition("/")[0]]}\r\n' for x in CLIPS[one]
    )
    lists[f'{LISTS}/testlist{fold}.txt'] = ''.join(
      f'{x}.avi\r\n' for x in CLIPS[two]
    )
  return write(files | lists)


def names(records):
  return [records[i]['name'] for i in range(len(records))]


def listed(split):
  return [f'UCF-101/{x}.avi' for x in CLIPS[split]]


def test_a_fold_parts_the_clips_as_its_lists_do(copy, opened):
  for fold, train, test in (('01', 'train', 'test'), ('02', 'test', 'train')):
    records = opened(ucf101, copy, fold=fold)
    assert names(records) == listed(train)
    assert names(opened(ucf101, copy, 'test', fold=fold)) == listed(test)
    assert records.class_names == ('Archery', 'HandstandPushups')
  assert [opened(ucf101, copy, fold='03')[i]['label'] for i in (0, 1)] == [0, 1]


def test_all_trains_on_every_clip_and_tests_on_the_first_fold(copy, opened):
  train, test = (opened(ucf101, copy, split, fold='all') for split in CLIPS)
  assert sorted(names(train)) == sorted(listed('train') + listed('test'))
  assert names(test) == listed('test')


def test_a_clip_that_a_list_names_and_that_is_gone_is_told(copy, opened):
  gone = copy / listed('train')[1]
  gone.unlink()
  records = opened(ucf101, copy, bad=0.5, fold='01')
  assert names(records) == listed('train')[:1]
  assert list(records.skipped) == listed('train')[1:]


def _without_list(copy):
  (copy / LISTS / 'testlist01.txt').unlink()


def _odd_class(copy):
  (copy / LISTS / 'trainlist01.txt').write_text('Arching/v_a.avi 1\n')


def _odd_count(copy):
  (copy / LISTS / 'classInd.txt').write_text('0 Archery\n1 Handstand\n')


def _no_list(copy):
  (copy / LISTS / 'classInd.txt').write_text('<html>\n')


@pytest.mark.parametrize(
  ('harm', 'says'),
  [
    (_without_list, 'no ucfTrainTestlist/testlist01.txt; unpack UCF101.rar'),
    (_odd_class, 'trainlist01.txt names Arching/v_a.avi, of no class'),
    (_odd_count, 'classInd.txt does not count its classes from 1'),
    (_no_list, 'classInd.txt is not the list of the data set'),
  ],
)
def test_a_copy_that_is_not_the_data_set_is_refused(copy, opened, harm, says):
  harm(copy)
  with pytest.raises(ValueError, match=says):
    opened(ucf101, copy, fold='01')


def test_an_unknown_fold_names_the_known(copy, opened):
  with pytest.raises(ValueError, match="fold is '4', want one of 01, 02, 03"):
    opened(ucf101, copy, fold='4')
