import pytest

from framebridge_jax.data import mixture, sources


def make_source(*labels, classes=('x',), skipped=None):
  records = [{'label': label, 'name': f'{label}'} for label in labels]
  return sources.Source(
    records=records, class_names=classes, skipped=skipped or {}
  )


def test_clips_follow_each_other_and_classes_are_told_apart():
  mixed = mixture.mix(
    {
      'sea': make_source(1, 0, classes=('calm', 'storm')),
      'sky': make_source(0, 0, 0, skipped={'a.mp4': 'is damaged'}),
    }
  )
  assert mixed.class_names == ('sea/calm', 'sea/storm', 'sky/x')
  assert [mixed.records[i]['label'] for i in range(5)] == [1, 0, 2, 2, 2]
  assert mixed.records[0]['name'] == '1'
  assert mixed.skipped == {'sky/a.mp4': 'is damaged'}
  assert len(mixed.records) == 5
  assert mixed.parts == ()


def test_weights_are_kept_with_the_counts():
  mixed = mixture.mix({'a': make_source(0, 0), 'b': make_source(0)}, (1, 2.5))
  assert mixed.parts == (sources.Part(2, 1), sources.Part(1, 2.5))


@pytest.mark.parametrize('weights', [(1,), (1, 2, 3), (1, 0), (1, -2)])
def test_weights_that_do_not_fit_are_refused(weights):
  parts = {'a': make_source(0), 'b': make_source(0)}
  with pytest.raises(
    ValueError, match='want a number above 0 for each of a, b'
  ):
    mixture.mix(parts, weights)


def test_an_empty_data_set_is_refused():
  with pytest.raises(ValueError, match='of a, b holds no clip'):
    mixture.mix({'a': make_source(0), 'b': make_source()})
