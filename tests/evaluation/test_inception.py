"""The inception score of probabilities whose score is known."""

import numpy as np
import pytest

from framebridge_jax.evaluation import inception


def _sure(labels, classes):
  return np.eye(classes)[labels]


def test_sure_answers_spread_over_all_classes_score_their_number():
  p = _sure(np.arange(1000) % 8, 8)
  assert inception.score(p, parts=1) == pytest.approx(8, rel=1e-12)


def test_answers_that_never_differ_score_1():
  p = np.tile([0.2, 0.5, 0.3], (40, 1))
  assert inception.score(p) == pytest.approx(1, rel=1e-12)
  assert inception.score(_sure(np.zeros(40, int), 5)) == pytest.approx(1)


def test_it_is_the_exponent_of_the_mutual_information():
  """Two classes, each answered with 0.9 and 0.1: log 2 less the entropy."""
  p = np.tile([[0.9, 0.1], [0.1, 0.9]], (50, 1))
  entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
  want = np.exp(np.log(2) - entropy)
  assert inception.score(p, parts=1) == pytest.approx(want, rel=1e-12)


def test_parts_lower_the_score_of_few_clips():
  p = _sure(np.arange(100) % 50, 50)
  assert inception.score(p, parts=10) < inception.score(p, parts=1)


def test_rows_that_are_no_probabilities_are_refused():
  with pytest.raises(ValueError, match='no probabilities'):
    inception.score(np.full((20, 3), 0.5))
  with pytest.raises(ValueError, match='no probabilities'):
    inception.score(np.tile([1.5, -0.5], (20, 1)))


def test_fewer_clips_than_parts_are_refused():
  with pytest.raises(ValueError, match='of 4 clips in 10 parts'):
    inception.score(np.full((4, 2), 0.5))
