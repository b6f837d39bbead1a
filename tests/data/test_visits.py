import itertools

import numpy as np
import pytest

from framebridge_jax.data import clips, encoded, video_io, visits

LENGTH = 20


def make_records(count):
  """Clip i has label i; its frame j holds i, and j in a corner."""
  records = []
  for i in range(count):
    video = np.full((LENGTH, 2, 2, 3), i, np.uint8)
    video[:, 0, 0, 0] = 100 + np.arange(LENGTH)
    records.append(
      {'video': clips.Decoded(video), 'label': i, 'caption': '', 'name': f'{i}'}
    )
  return records


def visit(count, records, **look):
  """Visits of clip 0, then 1, ... and again."""
  look = visits.Look(**{'size': 2, 'frames': 4, 'stride': 2, **look})
  show = visits.Visits(records, look, 0)
  rng = np.random.default_rng(0)
  numbers = itertools.cycle(range(len(records)))
  return [show(next(numbers), rng) for _ in range(count)]


def times(element):
  return element['video'][:, 0, 0, 0].astype(int)


def test_a_visit_shows_a_window_of_the_clip():
  for i, element in enumerate(visit(6, make_records(3))):
    np.testing.assert_array_equal(np.diff(times(element)), 2)
    assert (element['video'][:, 1, 1, 1] == i % 3).all()
    assert [element[x] for x in ('label', 'clip', 'replaced')] == [
      i % 3,
      i % 3,
      0,
    ]
    assert 'stride' not in element
    assert 'text' not in element


def test_a_stride_is_drawn_and_given():
  strides = []
  for element in visit(300, make_records(1), max_stride=5):
    np.testing.assert_array_equal(np.diff(times(element)), element['stride'])
    strides.append(int(element['stride']))
  counts = np.bincount(strides, minlength=6)
  assert counts[:2].sum() == 0
  np.testing.assert_allclose(counts[2:], 75, atol=38)  # 5 std


def test_a_short_clip_has_the_strides_that_fit():
  """Of 20 frames, 7 fit at a stride up to 3."""
  found = visit(60, make_records(1), frames=7, stride=1, max_stride=6)
  assert {int(element['stride']) for element in found} == {1, 2, 3}


def test_a_clip_too_short_for_any_stride_is_refused():
  with pytest.raises(ValueError, match='video has 20 frames; 12 frames at str'):
    visit(1, make_records(1), frames=12, max_stride=4)


def test_every_other_window_is_mirrored():
  mirrored = 0
  for element in visit(300, make_records(2), flip=True):
    corners = element['video'][:, 0, :, 0].astype(int)
    # The corner that counts frames, or its mirror.
    steps = [(np.diff(corners[:, side]) == 2).all() for side in (0, 1)]
    assert steps in ([True, False], [False, True])
    assert (corners[:, int(steps[0])] == element['label']).all()
    mirrored += steps[1]
  assert 105 < mirrored < 195  # 5 std


@pytest.mark.parametrize('share', [0.0, 0.25, 1.0])
def test_a_share_of_visits_hears_the_null_caption(share):
  """One vector a clip, tokens behind each other, float32."""
  records = make_records(2)
  for i, record in enumerate(records):
    record['text'] = np.arange(6, dtype=np.float16).reshape(2, 3) + 10 * i
    record['null_text'] = np.full((2, 3), -1, np.float16)
  dropped = 0
  for element in visit(400, records, text=True, caption_dropout=share):
    assert element['text'].dtype == np.float32
    null = bool((element['text'] == -1).all())
    own = np.arange(6) + 10 * element['label']
    assert null or np.array_equal(element['text'], own)
    dropped += null
  spread = 5 * np.sqrt(400 * share * (1 - share))
  assert abs(dropped - 400 * share) <= spread


def test_a_clip_that_is_replaced_is_drawn_for_anew():
  """What is shown is a function of the random numbers, and a whole visit."""
  records = make_records(2)
  records[0]['video'] = encoded.Encoded(b'<html>', LENGTH, (), 'a.mp4')
  look = visits.Look(size=2, frames=4, stride=1, max_stride=5)
  seen = [
    visits.Visits(records, look, 1)(0, np.random.default_rng(seed))
    for seed in (1, 1, 2)
  ]
  for element in seen:
    assert [element[x] for x in ('label', 'clip', 'replaced')] == [1, 0, 1]
    np.testing.assert_array_equal(np.diff(times(element)), element['stride'])
  np.testing.assert_array_equal(seen[0]['video'], seen[1]['video'])
  assert (seen[0]['video'] != seen[2]['video']).any()
  with pytest.raises(video_io.VideoError, match='a.mp4'):
    visits.Visits(records, look, 0)(0, np.random.default_rng(1))
