"""The bootstrap interval against repeated draws of the truth."""

import numpy as np
import pytest

from framebridge_jax.evaluation import bootstrap, metrics


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
  x = np.random.default_rng(0).normal(size=(400, 1))
  found = bootstrap.interval(
    metrics.mean, [x], value=metrics.mean(x), draws=2000, seed=0
  )
  half = 1.96 * x.std() / np.sqrt(len(x))
  assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
  assert (found.high + found.low) / 2 == pytest.approx(x.mean(), abs=0.1 * half)


def test_the_interval_of_a_distance_spreads_as_other_clips_make_it():
  """Both sides are drawn anew 100 times; their distance is far from the floor.

  Draws of a bootstrap are biased upwards: were the interval not centred, its
  lower end would lie above the value.
  """
  rng = np.random.default_rng(0)

  def sides():
    return rng.normal(size=(200, 8)), 2 * rng.normal(size=(200, 8)) + 1

  spread = np.std([metrics.distance(*sides()) for _ in range(100)])
  halves = []
  for _ in range(5):
    own = sides()
    value = metrics.distance(*own)
    found = bootstrap.interval(
      metrics.distance, own, value=value, draws=60, seed=1
    )
    assert found.low < value < found.high
    halves.append((found.high - found.low) / 2)
  assert np.mean(halves) == pytest.approx(1.96 * spread, rel=0.3)


def test_near_the_floor_the_interval_is_rather_too_wide_than_too_narrow():
  rng = np.random.default_rng(0)

  def sides():
    return rng.normal(size=(100, 10)), rng.normal(size=(100, 10))

  spread = np.std([metrics.distance(*sides()) for _ in range(100)])
  own = sides()
  found = bootstrap.interval(
    metrics.distance, own, value=metrics.distance(*own), draws=60, seed=1
  )
  assert 1.96 * spread < (found.high - found.low) / 2 < 6 * spread


def test_the_same_seed_gives_the_same_interval():
  x = np.random.default_rng(0).normal(size=(30, 1))
  one, other = (
    bootstrap.interval(metrics.mean, [x], value=0.0, draws=20, seed=3)
    for _ in 'ab'
  )
  assert one == other


def test_no_draws_give_no_interval():
  assert not bootstrap.interval(
    metrics.mean, [np.zeros((3, 1))], value=0.0, draws=0, seed=0
  )
