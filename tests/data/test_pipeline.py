import itertools
import multiprocessing
import os
import signal

import numpy as np
import pytest

from framebridge_jax.data import (
  clips,
  encoded,
  mixture,
  pipeline,
  sources,
  video_io,
  visits,
)

NUM_CLIPS = 7
LENGTH = 20


def make_source(num_clips=NUM_CLIPS):
  """Clip i has label i; its frame j holds i and j."""
  records = []
  for i in range(num_clips):
    video = np.full((LENGTH, 2, 2, 3), i, np.uint8)
    video[:, 0, 0, 0] = np.arange(LENGTH)
    records.append(
      {
        'video': clips.Decoded(video),
        'label': i,
        'caption': '',
        'name': '',
        'text': np.full((2, 3), 1 + i, np.float16),
        'null_text': np.zeros((2, 3), np.float16),
      }
    )
  names = tuple(str(i) for i in range(num_clips))
  return sources.Source(records=records, class_names=names)


def damaged(count, *numbers):
  source = make_source(count)
  for i in numbers:
    video = encoded.Encoded(b'<html>', LENGTH, (), f'{i}.mp4')
    source.records[i] |= {'video': video, 'name': f'{i}.mp4'}
  return source


LOOK = visits.Look(size=2, frames=4, stride=2)


def opened(source=None, look=LOOK, **changed):
  reading = {
    name: changed.pop(name)
    for name in ('num_workers', 'shard', 'num_shards')
    if name in changed
  }
  options = {'seed': 0, 'batch_size': 4} | changed
  return pipeline.batches(
    source or make_source(),
    look,
    reading=pipeline.Reading(prefetch=2, **reading),
    **options,
  )


def take(count, source=None, **changed):
  with opened(source, **changed) as stream:
    return list(itertools.islice(stream, count))


def assert_equal(one, two):
  assert len(one) == len(two)
  for x, y in zip(one, two, strict=True):
    assert x.keys() == y.keys()
    for name in x:
      np.testing.assert_array_equal(x[name], y[name], name)


def test_a_batch_holds_windows_and_their_labels():
  for batch in take(5):
    assert batch['video'].shape == (4, 4, 2, 2, 3)
    assert batch['video'].dtype == np.uint8
    assert batch['label'].shape == (4,)
    assert batch['label'].dtype == np.int32
    times = batch['video'][:, :, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(np.diff(times), 2)
    np.testing.assert_array_equal(batch['video'][:, 0, 1, 1, 0], batch['label'])


def everything():
  """Two data sets mixed, one with two damaged clips that follow each other."""
  return {
    'source': mixture.mix(
      {'a': damaged(9, 3, 4), 'b': make_source(2)}, (3.0, 1.0)
    ),
    'look': visits.Look(
      size=2,
      frames=3,
      stride=1,
      max_stride=4,
      flip=True,
      text=True,
      caption_dropout=0.5,
    ),
    'max_bad_fraction': 0.2,
  }


KINDS = {'plain': dict, 'everything': everything}


def test_workers_do_not_change_a_batch():
  options = everything()
  assert_equal(take(6, num_workers=2, **options), take(6, **options))


@pytest.mark.parametrize('kind', KINDS)
def test_batch_k_does_not_depend_on_where_one_starts(kind):
  options = KINDS[kind]()
  assert_equal(take(4, start=5, **options), take(9, **options)[5:])


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('start', 'hosts'), [(0, 2), (3, 2), (2, 4)])
def test_hosts_together_have_the_batch_of_one(kind, start, hosts):
  options = KINDS[kind]()
  parts = [
    take(6, shard=i, num_shards=hosts, start=start, **options)
    for i in range(hosts)
  ]
  for whole, *shards in zip(
    take(6, start=start, **options), *parts, strict=True
  ):
    for i, shard in enumerate(shards):
      assert shard.keys() == whole.keys()
      for name in whole:
        np.testing.assert_array_equal(whole[name][i::hosts], shard[name])


def test_a_run_goes_on_with_other_hosts_and_workers():
  """Two batches of one host; two of two hosts, one with a worker; one."""
  options = everything()
  first = take(2, **options)
  hosts = [
    take(2, start=2, shard=i, num_shards=2, num_workers=i, **options)
    for i in range(2)
  ]
  then = [
    {
      name: np.stack([even[name], odd[name]], 1).reshape(
        -1, *even[name].shape[1:]
      )
      for name in even
    }
    for even, odd in zip(*hosts, strict=True)
  ]
  last = take(1, start=4, **options)
  assert_equal(first + then + last, take(5, **options))


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
  stream = opened(num_workers=1)
  next(stream)
  stream.close()
  stream.close()
  with pytest.raises(ValueError, match='closed'):
    next(stream)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_workers_outlive_a_signal_to_the_whole_group(number):
  """The parent saves first, and reads on until then."""
  with opened(num_workers=1) as stream:
    next(stream)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, number)
    worker.join(1)
    assert worker.is_alive()
    # More than lie ready.
    assert len(list(itertools.islice(stream, 60))) == 60
  assert not multiprocessing.active_children()


def in_one(batches, name):
  return np.concatenate([batch[name] for batch in batches])


def test_a_damaged_clip_is_replaced_by_the_next_and_named_once(told):
  source = damaged(10, 2, 3, 9)
  batches = take(25, source, max_bad_fraction=0.3)
  asked, seen = in_one(batches, 'clip'), in_one(batches, 'label')
  instead = {2: 4, 3: 4, 9: 0}
  np.testing.assert_array_equal(seen, [instead.get(i, i) for i in asked])
  np.testing.assert_array_equal(
    in_one(batches, 'replaced'), np.isin(asked, list(instead))
  )
  np.testing.assert_array_equal(np.bincount(asked), np.full(10, 10))
  for i in instead:
    assert told.text.count(f'is shown for {i}.mp4 is damaged') == 1


def test_too_many_damaged_clips_end_it():
  source = damaged(10, 2, 6)
  with pytest.raises(video_io.VideoError, match='2 of 10 clips cannot be deco'):
    take(20, source, max_bad_fraction=0.1)


def test_damaged_clips_in_a_row_end_it_too():
  source = damaged(10, 2, 3, 4)
  with pytest.raises(video_io.VideoError, match='[234].mp4 is damaged'):
    take(20, source, max_bad_fraction=0.2)


def test_without_leave_one_damaged_clip_ends_it():
  """In our own words, so that the program shows a sentence."""
  with pytest.raises(video_io.VideoError, match='2.mp4 is damaged') as caught:
    take(20, damaged(10, 2))
  assert 'raise data.max_bad_fraction' in str(caught.value)
  assert str(caught.traceback[-1].path) == pipeline.__file__


def test_an_error_of_another_kind_is_not_taken_for_damage():
  source = make_source(3)
  del source.records[1]['label']
  with pytest.raises(KeyError, match='label'):
    take(20, source, max_bad_fraction=1.0)


def test_data_sets_are_drawn_by_their_weights():
  parts = {'a': make_source(5), 'b': make_source(2)}
  batches = take(20, mixture.mix(parts, (1, 3)))
  labels = in_one(batches, 'label')
  # Each data set's own clips come equally often.
  np.testing.assert_array_equal(np.bincount(labels), [4] * 5 + [30] * 2)
  np.testing.assert_array_equal(in_one(batches, 'clip'), labels)


def test_without_weights_each_clip_is_drawn_equally_often():
  parts = {'a': make_source(5), 'b': make_source(2)}
  labels = in_one(take(21, mixture.mix(parts), batch_size=1), 'label')
  np.testing.assert_array_equal(np.bincount(labels), np.full(7, 3))


def test_data_sets_of_a_mixture_have_orders_of_their_own():
  parts = {'a': make_source(7), 'b': make_source(7)}
  labels = in_one(take(14, mixture.mix(parts, (1, 1)), batch_size=2), 'label')
  orders = labels.reshape(-1, 2)[:7]
  assert (orders[:, 0] < 7).all()
  assert (orders[:, 0] != orders[:, 1] - 7).any()
