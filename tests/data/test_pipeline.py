import itertools
import multiprocessing
import os
import signal

import numpy as np
import pytest

from framebridge_jax.data import pipeline, sources

NUM_CLIPS = 7
LENGTH = 20


def make_source(num_clips=NUM_CLIPS):
  """Clip i has label i; its frame j holds i and j."""
  records = []
  for i in range(num_clips):
    video = np.full((LENGTH, 2, 2, 3), i, np.uint8)
    video[:, 0, 0, 0] = np.arange(LENGTH)
    records.append({'video': video, 'label': i})
  names = tuple(str(i) for i in range(num_clips))
  return sources.Source(records=records, class_names=names)


def take(count, source=None, **changed):
  options = {'frames': 4, 'stride': 2, 'seed': 0, 'batch_size': 4} | changed
  with pipeline.batches(source or make_source(), **options) as stream:
    return list(itertools.islice(stream, count))


def assert_equal(one, two):
  assert len(one) == len(two)
  for x, y in zip(one, two, strict=True):
    np.testing.assert_array_equal(x['video'], y['video'])
    np.testing.assert_array_equal(x['label'], y['label'])


def test_a_batch_holds_windows_and_their_labels():
  for batch in take(5):
    assert batch['video'].shape == (4, 4, 2, 2, 3)
    assert batch['video'].dtype == np.uint8
    assert batch['label'].shape == (4,)
    assert batch['label'].dtype == np.int32
    times = batch['video'][:, :, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(np.diff(times), 2)
    np.testing.assert_array_equal(batch['video'][:, 0, 1, 1, 0], batch['label'])


@pytest.mark.parametrize('num_workers', [1, 2])
def test_workers_do_not_change_a_batch(num_workers):
  assert_equal(take(6, num_workers=num_workers), take(6))


@pytest.mark.parametrize('num_workers', [0, 2])
def test_batch_k_does_not_depend_on_where_one_starts(num_workers):
  later = take(4, start=5, num_workers=num_workers)
  assert_equal(later, take(9)[5:])


@pytest.mark.parametrize('start', [0, 3])
def test_shards_together_are_the_whole_batch(start):
  shards = [take(6, shard=i, num_shards=2, start=start) for i in (0, 1)]
  for whole, even, odd in zip(take(6, start=start), *shards, strict=True):
    for name in ('video', 'label'):
      np.testing.assert_array_equal(whole[name][0::2], even[name])
      np.testing.assert_array_equal(whole[name][1::2], odd[name])


def test_an_epoch_shows_each_clip_once_in_its_own_order():
  labels = np.concatenate([b['label'] for b in take(21, batch_size=1)])
  epochs = labels.reshape(3, NUM_CLIPS)
  for epoch in epochs:
    assert set(epoch) == set(range(NUM_CLIPS))
  assert len({tuple(epoch) for epoch in epochs}) == 3


def test_each_visit_of_a_clip_has_its_own_window():
  batches = take(200, make_source(1), batch_size=1)
  starts = [batch['video'][0, 0, 0, 0, 0] for batch in batches]
  assert len(set(starts)) == LENGTH - 6  # all that there are


def test_another_seed_gives_other_batches():
  one, two = (take(8, seed=seed) for seed in (0, 1))
  labels = [[b['label'].tolist() for b in batches] for batches in (one, two)]
  assert labels[0] != labels[1]


def test_fewer_clips_than_a_batch_are_repeated():
  (batch,) = take(1, make_source(3), batch_size=8)
  assert np.bincount(batch['label']).min() >= 2


def test_an_empty_source_is_refused():
  with pytest.raises(ValueError, match='no clip'):
    take(1, make_source(0))


def test_a_batch_that_cannot_be_shared_is_refused():
  with pytest.raises(ValueError, match='batch_size 4 cannot be shared by 3'):
    take(1, num_shards=3)


def test_close_ends_the_batches_and_may_be_called_twice():
  stream = pipeline.batches(
    make_source(), frames=4, stride=2, seed=0, batch_size=4, num_workers=1
  )
  next(stream)
  stream.close()
  stream.close()
  with pytest.raises(ValueError, match='closed'):
    next(stream)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_workers_outlive_a_signal_to_the_whole_group(number):
  """The parent saves first, and reads on until then."""
  with pipeline.batches(
    make_source(), frames=4, stride=2, seed=0, batch_size=4, num_workers=1
  ) as stream:
    next(stream)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, number)
    worker.join(1)
    assert worker.is_alive()
    # More than lie ready.
    assert len(list(itertools.islice(stream, 60))) == 60
  assert not multiprocessing.active_children()
