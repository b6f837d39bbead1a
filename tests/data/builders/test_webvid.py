import pytest

from framebridge_jax.data.builders import webvid

HEAD = 'videoid,contentUrl,duration,page_dir,name\n'
TRAIN = (
  HEAD
  + '1001,https://x/1.mp4,PT00H00M10S,000001_000050,"Sea, and\nsky"\n'
  + '1002,https://x/2.mp4,PT00H00M10S,000001_000050,\n'
  + '1003,https://x/3.mp4,PT00H00M10S,000051_000100,Gone\n'
)
VAL = HEAD + '1004,https://x/4.mp4,PT00H00M09S,000051_000100,Tür\n'
FILES = (
  'videos/000001_000050/1001.mp4',
  'videos/000001_000050/1002.mp4',
  'videos/000051_000100/1004.mp4',
)


@pytest.fixture(params=['', 'metadata/'])
def copy(write, film, request):
  tables = {'results_2M_train.csv': TRAIN, 'results_2M_val.csv': VAL}
  return write(
    {name: film() for name in FILES}
    | {f'{request.param}{name}': text for name, text in tables.items()}
  )


def test_videos_are_found_by_page_and_number_with_their_caption(copy, opened):
  train = opened(webvid, copy, bad=0.5, cut='2M')
  found = [(train[i]['name'], train[i]['captions']) for i in range(len(train))]
  assert found == [(FILES[0], ('Sea, and\nsky',)), (FILES[1], ())]
  assert list(train.skipped) == ['videos/000051_000100/1003.mp4']
  test = opened(webvid, copy, 'test', bad=0.5, cut='2M')
  assert [test[0]['name'], test[0]['caption']] == [FILES[2], 'Tür']


def test_videos_that_are_gone_count_as_bad(copy, opened):
  with pytest.raises(ValueError, match='1003.mp4 is listed and absent'):
    opened(webvid, copy, bad=0.24, cut='2M')


def test_what_is_missing_is_named(copy, write, opened):
  with pytest.raises(ValueError, match='no results_10M_train.csv and no resu'):
    opened(webvid, copy, cut='10M')
  with pytest.raises(ValueError, match="cut is '5M', want one of 2M, 10M"):
    opened(webvid, copy, cut='5M')
  place = 'metadata/' if (copy / 'metadata').is_dir() else ''
  write({f'{place}results_2M_train.csv': 'videoid,name\n1,a\n'})
  with pytest.raises(ValueError, match='has no column page_dir'):
    opened(webvid, copy, cut='2M')
