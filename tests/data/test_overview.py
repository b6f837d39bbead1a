import numpy as np
import pytest

from framebridge_jax.data import clips, mixture, overview, sources, subset

TABLE = overview.Table(
  frames=np.array([50.0, 25.0, 30.0]),
  label=np.array([1.0, 0.0, 1.0]),
  fps=np.array([25.0, 25.0, 0.0]),
  width=np.array([320.0, 320.0, 0.0]),
  height=np.array([240.0, 180.0, 0.0]),
)


def records(*lengths):
  return [
    {
      'video': clips.Decoded(np.zeros((length, 2, 2, 3), np.uint8)),
      'label': i % 2,
      'fps': 5.0,
    }
    for i, length in enumerate(lengths)
  ]


class Told:
  """Records that are never read."""

  def __len__(self):
    return 3

  def __getitem__(self, index):
    raise AssertionError('read')

  def table(self):
    return TABLE


def test_a_summary_counts_and_leaves_out_what_is_not_known():
  found = overview.summary(TABLE, ('calm', 'storm', 'none'))
  assert found == {
    'clips': 3,
    'frames': {'total': 105, 'least': 25, 'median': 30, 'most': 50},
    'seconds': {'total': 3, 'least': 1, 'median': 1.5, 'most': 2},
    'fps': {'25': 2},
    'sizes': {'320x240': 1, '320x180': 1},
    'classes': {'calm': 1, 'storm': 2, 'none': 0},
  }


def test_the_commonest_sizes_are_told():
  count = 3 * overview.MOST_SIZES
  numbers = np.arange(1.0, count + 1)
  table = TABLE._replace(
    **{name: numbers for name in ('frames', 'fps', 'width', 'height')},
    label=np.zeros(count),
  )
  assert len(overview.summary(table, ('x',))['sizes']) == overview.MOST_SIZES


def test_records_that_can_be_told_of_are_not_read():
  assert overview.table_of(Told()) is TABLE


def test_others_are_read():
  table = overview.table_of(records(4, 7))
  np.testing.assert_array_equal(table.frames, [4, 7])
  np.testing.assert_array_equal(table.label, [0, 1])
  np.testing.assert_array_equal(table.fps, [5, 5])
  np.testing.assert_array_equal([table.width, table.height], np.zeros((2, 2)))


def test_some_records_have_their_own_rows():
  table = overview.table_of(subset.Some(Told(), np.array([2, 0])))
  np.testing.assert_array_equal(table.frames, [30, 50])


@pytest.mark.parametrize('second', [Told(), records(9)])
def test_a_mixture_has_the_rows_of_all(second):
  parts = {
    'a': sources.Source(records=Told(), class_names=('x', 'y')),
    'b': sources.Source(records=second, class_names=('z', 'w')),
  }
  table = overview.table_of(mixture.mix(parts).records)
  other = overview.table_of(second)
  np.testing.assert_array_equal(table.frames, [*TABLE.frames, *other.frames])
  np.testing.assert_array_equal(table.label, [*TABLE.label, *(other.label + 2)])
