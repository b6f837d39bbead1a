"""Scores of several seeds."""

import numpy as np
import pytest

from framebridge_jax.evaluation import seeds


def _scores(value, **more):
  score = {'value': value, 'low': value - 9, 'high': value + 9, 'warnings': []}
  return {'fvd': {**score, **more}}


def test_one_seed_keeps_its_bootstrap_interval():
  assert seeds.combine([_scores(4.0)]) == _scores(4.0)


def test_three_seeds_have_student_s_interval():
  """Values 1, 2, 3: t of 2 degrees is 4.3027, the standard error 1 / sqrt 3."""
  found = seeds.combine([_scores(x) for x in (1.0, 2.0, 3.0)])['fvd']
  assert found['value'] == pytest.approx(2)
  assert found['seeds'] == [1.0, 2.0, 3.0]
  assert found['high'] == pytest.approx(2 + 4.302653 / np.sqrt(3), rel=1e-6)
  assert found['low'] == pytest.approx(2 - 4.302653 / np.sqrt(3), rel=1e-6)


def test_two_seeds_tell_no_spread():
  found = seeds.combine([_scores(1.0), _scores(5.0)])['fvd']
  assert found['value'] == 3
  assert (found['low'], found['high']) == (-8, 10)


def test_values_of_scenes_are_means_over_seeds():
  found = seeds.combine(
    [_scores(1.0, scenes=[1.0, 5.0]), _scores(3.0, scenes=[3.0, 6.0])]
  )
  assert found['fvd']['scenes'] == [2.0, 5.5]


def test_warnings_of_all_seeds_are_kept_once():
  found = seeds.combine(
    [_scores(1.0, warnings=['a']), _scores(3.0, warnings=['b', 'a'])]
  )
  assert found['fvd']['warnings'] == ['a', 'b']
