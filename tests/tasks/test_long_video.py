"""Windows in a row: what each is given, what it leaves, and what is kept."""

import hypothesis
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies

from framebridge_jax.tasks import generate, long_video, plans

FRAMES = 6


class Recorded:
  """Makes windows whose frames tell their window and place."""

  def __init__(self):
    self.calls = []

  def __call__(self, number, plan, source, carried=None):
    self.calls.append((number, plan, np.asarray(source), carried))
    place = np.arange(plan.shape[1]) + 100 * (number + 1)
    known = np.isin(np.arange(plan.shape[1]), plans.known_frames(plan))
    made = np.where(_up(known), source, _up(place) * np.ones(source.shape))
    return generate.Made(jnp.asarray(made, jnp.float32), jnp.asarray(-made))


def _up(x):
  return x[None, :, None, None, None]


def _clips(frames=4):
  """Frame i is i throughout."""
  x = _up(np.arange(frames, dtype=np.float32))
  return jnp.asarray(x * np.ones((2, frames, 2, 2, 1), np.float32))


def _values(clips):
  return np.asarray(clips)[0, :, 0, 0, 0].tolist()


def _walk(walk, pieces, clips=None, num_steps=8, **handover):
  make = Recorded()
  made = walk(
    make,
    _clips() if clips is None else clips,
    num_steps=num_steps,
    frames=FRAMES,
    handover=long_video.Handover(**handover),
  )
  return make.calls, [_values(next(made)) for _ in range(pieces)]


def test_a_window_knows_the_last_frames_of_the_one_before():
  calls, made = _walk(long_video.extend, 3, overlap=2)
  assert made == [[102 + i for i in range(4)], [202 + i for i in range(4)]] + [
    [302 + i for i in range(4)]
  ]
  assert [call[0] for call in calls] == [0, 1, 2]
  fronts = [_values(call[2])[:2] for call in calls]
  assert fronts == [[2, 3], [104, 105], [204, 205]]
  for _, plan, _, carried in calls:
    assert plans.known_frames(plan) == (0, 1)
    assert carried is None


def test_an_anchor_is_the_clip_s_first_frame_in_every_window():
  calls, made = _walk(long_video.extend, 2, overlap=2, anchor=True)
  assert [_values(call[2])[:3] for call in calls] == [[0, 2, 3], [0, 104, 105]]
  assert [len(piece) for piece in made] == [3, 3]
  assert plans.known_frames(calls[0][1]) == (0, 1, 2)


def test_an_overlap_longer_than_what_a_window_makes_reaches_further_back():
  calls, _ = _walk(long_video.extend, 3, overlap=4)
  fronts = [_values(call[2])[:4] for call in calls]
  assert fronts == [[0, 1, 2, 3], [2, 3, 104, 105], [104, 105, 204, 205]]


def test_a_rolling_window_gives_a_frame_a_tick_and_carries_the_others():
  calls, made = _walk(long_video.roll, 3, overlap=2)
  assert made == [[102], [202], [302]]
  assert [call[0] for call in calls] == [0, 1, 2]
  fronts = [_values(call[2])[:2] for call in calls]
  assert fronts == [[2, 3], [3, 102], [102, 202]]
  # Frame i of a tick is frame i + 1 of the one before.
  assert calls[0][3] is None
  carried = _values(calls[1][3])
  assert carried[2:5] == [-103, -104, -105]
  assert plans.known_frames(calls[1][1]) == (0, 1)
  assert (calls[1][1][0, 2:5] > 0).all()  # on their way
  assert calls[1][1][0, 5] == 0  # a new one


def test_a_rolling_frame_takes_as_many_steps_as_a_window_s_or_a_few_more():
  for steps in (4, 7, 8):
    calls, _ = _walk(long_video.roll, 2, num_steps=steps, overlap=2)
    ticks = len(calls[1][1]) - 1
    assert steps <= 4 * ticks < steps + 4


@hypothesis.settings(deadline=None, max_examples=30, derandomize=True)
@hypothesis.given(
  strategies.integers(1, 5),
  strategies.booleans(),
  strategies.integers(5, 9),
  strategies.integers(1, 4),
)
def test_no_frame_is_dropped_or_made_twice(overlap, anchor, given, pieces):
  """The frames of all pieces are those that no window knew."""
  hypothesis.assume(overlap + anchor < FRAMES)
  calls, made = _walk(
    long_video.extend, pieces, _clips(given), overlap=overlap, anchor=anchor
  )
  whole = _values(_clips(given)) + sum(made, [])
  assert len(set(whole)) == len(whole)
  new = FRAMES - overlap - anchor
  assert len(whole) == given + pieces * new
  for number, call in enumerate(calls):
    end = given + number * new
    tail = _values(call[2])[anchor : anchor + overlap]
    assert tail == whole[end - overlap : end]


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'overlap': 0}, 'overlap is 0; want 1 to 5 of a window of 6'),
    ({'overlap': 6}, 'overlap is 6; want 1 to 5'),
    ({'overlap': 5, 'anchor': True}, 'overlap is 5 and an anchor; want 1 to 4'),
    ({'overlap': 2, 'match': 1.5}, 'match is 1.5, want a share'),
  ],
)
def test_a_handover_that_makes_no_sense_is_refused(options, message):
  for walk in (long_video.extend, long_video.roll):
    if walk is long_video.roll and options.get('anchor'):
      continue
    with pytest.raises(ValueError, match=message):
      _walk(walk, 1, **options)


def test_a_rolling_window_has_no_anchor():
  with pytest.raises(ValueError, match='has no anchor'):
    _walk(long_video.roll, 1, overlap=2, anchor=True)


def _noise(seed, mean, std, frames=3):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(2, frames, 8, 8, 3)) * std + mean
  return jnp.asarray(x, jnp.float32)


def _statistics(x):
  x = np.asarray(x, np.float64)
  return x.mean(axis=(2, 3)), x.std(axis=(2, 3))


@pytest.mark.parametrize('share', [0.5, 1.0])
def test_matching_goes_a_share_of_the_way_to_the_first_frame(share):
  """Channel by channel, clip by clip: AdaIN, mixed with what was there."""
  first, made = _noise(0, [0, 0.5, -0.5], [1, 0.2, 0.5], 1), _noise(1, 0.3, 0.7)
  got = long_video.matched(made, first, share)
  (m, s), (want_m, want_s) = map(_statistics, (made, first))
  mean, std = _statistics(got)
  np.testing.assert_allclose(mean, m + share * (want_m - m), atol=1e-5)
  np.testing.assert_allclose(std, s + share * (want_s - s), atol=1e-5)


def test_matching_by_nothing_changes_no_bit_and_a_flat_frame_stays_flat():
  first, made = _noise(0, 0.2, 0.5, 1), _noise(1, 0.3, 0.7)
  assert long_video.matched(made, first, 0.0) is made
  flat = jnp.full((2, 3, 8, 8, 3), 0.9)
  got = long_video.matched(flat, first, 1.0)
  mean, std = _statistics(got)
  np.testing.assert_allclose(
    mean, _statistics(first)[0].repeat(3, 1), atol=1e-5
  )
  np.testing.assert_allclose(std, 0, atol=1e-6)


def test_matched_frames_are_what_the_next_window_knows():
  first = _noise(0, 0.1, 0.5, 4)
  make = Recorded()
  made = long_video.extend(
    make,
    first,
    num_steps=2,
    frames=FRAMES,
    handover=long_video.Handover(overlap=2, match=1.0),
  )
  piece = next(made)
  next(made)
  np.testing.assert_array_equal(make.calls[1][2][:, :2], piece[:, -2:])
