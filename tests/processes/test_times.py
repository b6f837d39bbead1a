"""Times and known frames drawn for training: distributions and keys.

Large draws are made in float32, as in training: in float64 a coin takes other
bits of its key than a time does, which would hide a key that is used twice.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from framebridge_jax import arrays
from framebridge_jax.processes import times

COUNT, FRAMES, T, T_MIN = 20_000, 5, 2.0, 0.1
# Five standard deviations of a frequency, at its largest.
SLACK = 5 * 0.5 / np.sqrt(COUNT)


def _keys(ids):
  return arrays.sample_keys(jax.random.key(7), jnp.asarray(ids))


@functools.cache
def _ptss(p_frames, p_end=0.0):
  draw = functools.partial(
    times.ptss, frames=FRAMES, T=T, t_min=T_MIN, p_frames=p_frames, p_end=p_end
  )
  with jax.enable_x64(False):
    return np.asarray(jax.jit(draw)(_keys(range(COUNT))), np.float64)


@functools.cache
def _known(*task_mix, frames=FRAMES):
  draw = functools.partial(times.draw_known, frames=frames, task_mix=task_mix)
  with jax.enable_x64(False):
    return np.asarray(jax.jit(draw)(_keys(range(COUNT))))


def _common(t):
  return (t == t[:, :1]).all(axis=1)


@pytest.mark.parametrize('p', [0.0, 0.2, 1.0])
def test_ptss_gives_own_times_to_a_share_p_of_the_clips(p):
  common = _common(_ptss(p)).mean()
  assert common == pytest.approx(1 - p, abs=SLACK if 0 < p < 1 else 0)


def test_ptss_times_are_uniform_from_t_min_to_T_in_both_kinds():
  """Also given the coin: a key used twice would tie them together."""
  t = _ptss(0.2)
  common = _common(t)
  for drawn in (t[common, 0], t[~common].ravel()):
    u = (drawn - T_MIN) / (T - T_MIN)
    assert u.min() >= 0
    assert u.max() <= 1
    assert stats.kstest(u, 'uniform').statistic < 3 / np.sqrt(len(u))


def test_ptss_own_times_are_independent_between_frames():
  t = _ptss(1.0)
  correlation = np.corrcoef(t, rowvar=False)
  np.testing.assert_allclose(correlation, np.eye(FRAMES), atol=2 * SLACK)


def test_ptss_stands_a_share_p_end_of_the_clips_at_exactly_T():
  """Whole clips, of both kinds, and nothing else changes."""
  t = _ptss(0.2, 0.1)
  at_end = t == T
  np.testing.assert_array_equal(at_end.all(axis=1), at_end.any(axis=1))
  ended = at_end[:, 0]
  assert ended.mean() == pytest.approx(0.1, abs=SLACK)
  assert _common(t)[~ended].mean() == pytest.approx(0.8, abs=SLACK)
  u = (t[~ended, 0] - T_MIN) / (T - T_MIN)
  assert stats.kstest(u, 'uniform').statistic < 3 / np.sqrt(len(u))


def test_a_sample_draws_the_same_in_any_batch():
  draw = functools.partial(
    times.ptss, frames=FRAMES, T=T, t_min=T_MIN, p_frames=0.5, p_end=0.1
  )
  mix = tuple((name, 1.0) for name in times.KNOWN_SETS)
  ids = [11, 3, 8, 40, 41, 42]
  known = functools.partial(times.draw_known, frames=FRAMES, task_mix=mix)
  for fn in (jax.jit(draw), jax.jit(known)):
    together = np.asarray(fn(_keys(ids)))
    assert len(np.unique(together, axis=0)) > 1
    for row, i in zip(together, ids, strict=True):
      np.testing.assert_array_equal(fn(_keys([i]))[0], row)


# name -> every known set that it may draw of 5 frames, with its probability.
# Of `random`, m = 1..4 frames, equally likely, and all sets of m alike.
SETS = {
  'first': {'10000': 1.0},
  'first_and_last': {'10001': 1.0},
  'first_m': {'10000': 0.25, '11000': 0.25, '11100': 0.25, '11110': 0.25},
  'last_m': {'00001': 0.25, '00011': 0.25, '00111': 0.25, '01111': 0.25},
  'random': {
    f'{i:05b}': 0.25 / {1: 5, 2: 10, 3: 10, 4: 5}[i.bit_count()]
    for i in range(1, 31)
  },
}


def _frequencies(masks):
  words = [''.join('01'[int(x)] for x in row) for row in masks]
  names, counts = np.unique(words, return_counts=True)
  return dict(zip(names.tolist(), (counts / len(masks)).tolist(), strict=True))


@pytest.mark.parametrize('name', times.KNOWN_SETS)
def test_known_sets_draw_exactly_their_sets(name):
  got = _frequencies(_known((name, 1.0)))
  assert got == pytest.approx(SETS[name], abs=SLACK)


@pytest.mark.parametrize('frames', [3, 8])
@pytest.mark.parametrize('name', times.KNOWN_SETS)
def test_some_frame_is_known_and_some_is_not(name, frames):
  count = _known((name, 1.0), frames=frames).sum(axis=1)
  assert count.min() >= 1
  assert count.max() <= frames - 1


def test_draw_known_respects_its_weights_which_need_no_sum_of_one():
  got = _frequencies(
    _known(('first', 3.0), ('first_and_last', 1.0), ('last_m', 0.0))
  )
  want = {'10000': 0.75, '10001': 0.25}
  assert got == pytest.approx(want, abs=SLACK)
