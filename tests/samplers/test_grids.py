"""Grids from progress to time."""

import numpy as np
import pytest

from framebridge_jax.samplers import grids

T = 80.0
every = pytest.mark.parametrize('name', grids.GRIDS)


@every
def test_grid_begins_at_exactly_T_and_ends_at_exactly_zero(name):
  t = grids.GRIDS[name](T)(np.array([0.0, 1.0]))
  np.testing.assert_array_equal(t, [T, 0.0])


@every
def test_grid_falls_strictly_and_stays_float64(name):
  t = grids.GRIDS[name](T)(np.linspace(0, 1, 1001))
  assert t.dtype == np.float64
  assert (np.diff(t) < 0).all()


@every
def test_grid_works_elementwise_on_plans(name):
  grid = grids.GRIDS[name](T)
  u = np.random.default_rng(0).uniform(size=(7, 3))
  want = [[grid(np.array([x])).item() for x in row] for row in u]
  np.testing.assert_array_equal(grid(u), want)


def test_uniform_grid_has_equal_steps():
  t = grids.uniform(T)(np.linspace(0, 1, 6))
  np.testing.assert_allclose(t, [80, 64, 48, 32, 16, 0], atol=1e-13)


def test_quadratic_grid_has_steps_that_grow_evenly_away_from_T():
  """Steps as 1, 3, 5, 7: the odd numbers, whose sums are squares."""
  t = grids.quadratic(T)(np.linspace(0, 1, 5))
  np.testing.assert_allclose(-np.diff(t), np.array([1, 3, 5, 7]) * 5)
