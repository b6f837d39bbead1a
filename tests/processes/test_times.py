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


def _keys(ids, seed=7):
  return arrays.sample_keys(jax.random.key(seed), jnp.asarray(ids))


@functools.cache
def _ptss(p_frames, p_end=0.0, draw=None):
  ptss = times.Ptss(
    draw=draw or times.Uniform(), t_min=T_MIN, p_frames=p_frames, p_end=p_end
  )
  with jax.enable_x64(False):
    drawn = jax.jit(lambda keys: ptss(keys, FRAMES, T))(_keys(range(COUNT)))
    return np.asarray(drawn, np.float64)


@functools.cache
def _known(*task_mix, frames=FRAMES):
  draw = functools.partial(times.draw_known, frames=frames, task_mix=task_mix)
  with jax.enable_x64(False):
    return np.asarray(jax.jit(draw)(_keys(range(COUNT))))


def _common(t):
  return (t == t[:, :1]).all(axis=1)


def _distance(drawn, cdf='uniform', args=()):
  """Kolmogorov's, in units of what chance may do to so many numbers."""
  return stats.kstest(drawn, cdf, args).statistic * np.sqrt(len(drawn))


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
    assert _distance(u) < 3


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
  assert _distance(u) < 3


def test_ptss_stretches_any_draw_from_t_min_to_T():
  t = _ptss(0.2, 0.0, times.LogitNormal(mean=0.7, std=0.5))
  common = _common(t)
  for drawn in (t[common, 0], t[~common].ravel()):
    u = (drawn - T_MIN) / (T - T_MIN)
    assert _distance(np.log(u / (1 - u)), 'norm', (0.7, 0.5)) < 3


def _drawn(row, count=3, number=COUNT, seed=7):
  with jax.enable_x64(False):
    drawn = jax.jit(lambda keys: row(keys, count))(_keys(range(number), seed))
  assert drawn.dtype == jnp.float32
  assert drawn.shape == (number, count)
  return np.asarray(drawn, np.float64)


def _many(batches=4000, batch=4):
  """Keys of many batches."""
  of_batch = lambda key: arrays.sample_keys(key, jnp.arange(batch))  # noqa: E731
  return jax.vmap(of_batch)(jax.random.split(jax.random.key(0), batches))


def test_every_draw_of_the_table_is_tested_here():
  assert set(times.DRAWS) == {'uniform', 'stratified', 'logit_normal'}


@pytest.mark.parametrize('name', ['uniform', 'stratified'])
def test_even_draws_are_even_and_their_columns_independent(name):
  row = times.DRAWS[name]()
  if name == 'uniform':
    u = _drawn(row)
    assert all(_distance(column) < 3 for column in u.T)
    correlation = np.corrcoef(u, rowvar=False)
    np.testing.assert_allclose(correlation, np.eye(3), atol=2 * SLACK)
  else:
    # One batch is even by design; chance is in the offset of each batch.
    first = np.asarray(jax.jit(jax.vmap(lambda keys: row(keys, 2)[0]))(_many()))
    assert all(_distance(column) < 3 for column in first.T)
    correlation = np.corrcoef(first, rowvar=False)[0, 1]
    assert abs(correlation) < 5 / np.sqrt(len(first))


def test_a_stratified_batch_has_one_number_in_each_stratum():
  u = _drawn(times.Stratified(), 3, 64)
  assert u.min() >= 0
  assert u.max() < 1
  for column in u.T:
    np.testing.assert_array_equal(np.sort(np.floor(64 * column)), range(64))
    # All stand at one place of their strata.
    place = (64 * column) % 1
    np.testing.assert_allclose(place, place[0], atol=1e-4)


@pytest.mark.parametrize(('mean', 'std'), [(0.0, 1.0), (-0.8, 1.7)])
def test_logit_normal_is_the_logistic_of_a_gaussian(mean, std):
  """Density as Esser et al. 2024, Eq. 19, has it."""
  u = _drawn(times.LogitNormal(mean=mean, std=std))
  assert u.min() >= 0
  assert u.max() <= 1
  u = u[:, 0]
  assert _distance(np.log(u / (1 - u)), 'norm', (mean, std)) < 3
  edges = np.linspace(0.05, 0.95, 10)
  middle = (edges[1:] + edges[:-1]) / 2
  density = np.exp(-(((np.log(middle / (1 - middle)) - mean) / std) ** 2) / 2)
  density /= std * np.sqrt(2 * np.pi) * middle * (1 - middle)
  got = np.histogram(u, edges)[0] / COUNT / 0.1
  np.testing.assert_allclose(got, density, atol=0.12)


def test_a_batch_s_coin_falls_alike_for_all_with_frequency_p():
  coins = jax.jit(jax.vmap(lambda keys: times.coin_per_batch(keys, 0.3)))
  fell = np.asarray(coins(_many()))
  assert fell.shape == (4000, 4, 1)
  np.testing.assert_array_equal(fell, np.repeat(fell[:, :1], 4, axis=1))
  assert fell[:, 0].mean() == pytest.approx(0.3, abs=5 * 0.46 / np.sqrt(4000))


def test_a_sample_s_coin_is_its_own_with_frequency_p():
  fell = np.asarray(
    jax.jit(lambda keys: times.coin_per_sample(keys, 0.3))(_keys(range(COUNT)))
  )
  assert fell.shape == (COUNT, 1)
  assert fell.mean() == pytest.approx(0.3, abs=SLACK)


def test_a_batch_s_coin_decides_for_all_clips_of_ptss_at_once():
  """As FVDM's public code: own times for a whole batch, or for none."""
  ptss = times.Ptss(coin=times.COINS['batch'], p_frames=0.5)
  draw = jax.jit(jax.vmap(lambda keys: ptss(keys, FRAMES, T)))
  drawn = np.asarray(draw(_many(200)))
  common = (drawn == drawn[:, :, :1]).all(axis=2)
  np.testing.assert_array_equal(common.all(axis=1), common.any(axis=1))
  assert common[:, 0].mean() == pytest.approx(0.5, abs=2.5 / np.sqrt(200))
  assert (drawn[:, 0] != drawn[:, 1]).any(axis=1).all()


@pytest.mark.parametrize(
  'ptss',
  [
    times.Ptss(t_min=T_MIN, p_frames=0.5, p_end=0.1),
    times.Ptss(draw=times.LogitNormal(), p_frames=0.5, p_end=0.1),
  ],
  ids=['uniform', 'logit_normal'],
)
def test_a_sample_s_times_are_the_same_in_any_batch(ptss):
  _same_in_any_batch(lambda keys: ptss(keys, FRAMES, T))


def test_a_sample_s_known_frames_are_the_same_in_any_batch():
  mix = tuple((name, 1.0) for name in times.KNOWN_SETS)
  _same_in_any_batch(
    functools.partial(times.draw_known, frames=FRAMES, task_mix=mix)
  )


def _same_in_any_batch(fn):
  fn = jax.jit(fn)
  ids = [11, 3, 8, 40, 41, 42]
  together = np.asarray(fn(_keys(ids)))
  assert len(np.unique(together, axis=0)) > 1
  for row, i in zip(together, ids, strict=True):
    np.testing.assert_array_equal(fn(_keys([i]))[0], row)


def test_draws_and_ptss_of_equal_options_are_equal():
  """They are parts of what a loss is, which jit compares by value."""
  options = {'draw': times.LogitNormal(mean=0.5), 'p_frames': 0.3}
  assert times.Ptss(**options) == times.Ptss(**options)
  assert hash(times.Ptss(**options)) == hash(times.Ptss(**options))
  assert times.Ptss(**options) != times.Ptss()


# name -> every known set that it may draw of 5 frames, with its probability.
# Of `random`, m = 1..4 frames, equally likely, and all sets of m alike.
SETS = {
  'none': {'00000': 1.0},
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
def test_some_frame_is_known_unless_none_is_drawn_and_some_is_not(name, frames):
  count = _known((name, 1.0), frames=frames).sum(axis=1)
  assert count.min() >= (name != 'none')
  assert count.max() <= (frames - 1) * (name != 'none')


def test_draw_known_respects_its_weights_which_need_no_sum_of_one():
  got = _frequencies(
    _known(('first', 3.0), ('first_and_last', 1.0), ('last_m', 0.0))
  )
  want = {'10000': 0.75, '10001': 0.25}
  assert got == pytest.approx(want, abs=SLACK)


def test_known_frames_stand_at_zero_in_half_of_the_clips():
  """And in the others anywhere up to `known_time` of T, evenly."""
  ptss = times.Ptss(known_time=0.3)
  with jax.enable_x64(False):
    drawn = np.asarray(ptss.of_known(_keys(range(COUNT)), T), np.float64)
  assert drawn.shape == (COUNT, 1)
  assert (drawn == 0).mean() == pytest.approx(0.5, abs=SLACK)
  late = drawn[drawn > 0] / (0.3 * T)
  assert _distance(late) < 2
  with jax.enable_x64(False):
    assert not np.asarray(times.Ptss().of_known(_keys(range(9)), T)).any()


def test_noise_of_the_condition_is_drawn_as_its_words_say():
  """FrameBridge's is log-normal: exp(N(-3, 0.5^2))."""
  with jax.enable_x64(False):
    drawn = np.asarray(times.NOISES['lognormal']()(_keys(range(COUNT))))
    fixed = np.asarray(times.NOISES['constant'](std=0.2)(_keys(range(3))))
  assert _distance(np.log(drawn), 'norm', (-3.0, 0.5)) < 2
  np.testing.assert_allclose(fixed, 0.2, rtol=1e-6)


@pytest.mark.parametrize('name', times.KNOWN_SETS)
def test_what_a_set_meets_is_what_it_draws(name):
  """Every subset of five frames, met if and only if it is drawn."""
  drawn = {tuple(np.flatnonzero(row).tolist()) for row in _known((name, 1.0))}
  every = [
    tuple(i for i in range(FRAMES) if number >> i & 1)
    for number in range(2**FRAMES)
  ]
  assert {x for x in every if times.MEETS[name](x, FRAMES)} == drawn
