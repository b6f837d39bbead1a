"""Skipped steps are counted, described and, when too many, the end."""

import json

import numpy as np
import pytest

from framebridge_jax.training import guards

GOOD = {'loss': 0.5, 'grad_norm': 1.0, 'spike': 1.0, 'skipped': 0.0}
BAD = {'loss': np.nan, 'grad_norm': np.inf, 'spike': np.nan, 'skipped': 1.0}


def _batch(position):
  video = np.zeros((2, 3, 4, 4, 3), np.uint8)
  video[1] = position
  video[1, 2] = position + 6
  return {
    'video': video,
    'label': np.array([4, 5], np.int32),
    'clip': np.array([position, 10 * position], np.int32),
  }


def _guard(tmp_path, most=2):
  return guards.Guard(
    folder=tmp_path / 'dumps', max_bad_steps=most, spike=10.0, reread=_batch
  )


def test_good_steps_leave_no_trace(tmp_path):
  _guard(tmp_path, 0).judge([GOOD] * 5, 5, 0)
  assert list(tmp_path.iterdir()) == []


def test_a_skipped_step_s_batch_is_described(tmp_path):
  """Steps 8, 9, 10; 9 was skipped, whose batch is number 9 - 1 + 20."""
  _guard(tmp_path).judge([GOOD, BAD, GOOD], 10, 20)
  (path,) = (tmp_path / 'dumps').iterdir()
  facts = json.loads(path.read_text())
  assert (facts['step'], facts['batch']) == (9, 28)
  assert facts['numbers'] == {
    'loss': 'nan',
    'grad_norm': 'inf',
    'spike': 'nan',
    'skipped': '1.0',
  }
  first, second = facts['samples']
  assert (first['clip'], first['label']) == (28, 4)
  assert (first['mean'], first['std'], first['change']) == (0, 0, 0)
  assert (second['clip'], second['label']) == (280, 5)
  assert second['shape'] == [3, 4, 4, 3]
  assert (second['min'], second['max']) == (28, 34)
  assert second['mean'] == pytest.approx(30)
  assert second['std'] == pytest.approx(np.std([28, 28, 34]))
  assert second['change'] == pytest.approx(3)


def test_more_in_a_row_than_are_borne_raise_over_windows_too(tmp_path):
  guard = _guard(tmp_path)
  guard.judge([GOOD, BAD], 2, 0)
  with pytest.raises(
    guards.BadRegionError, match='3 steps in a row up to step 4'
  ) as error:
    guard.judge([BAD, BAD, BAD], 5, 100)
  assert error.value.position == 103
  assert error.value.exit_code == 4


def test_a_good_step_between_starts_the_count_anew(tmp_path):
  guard = _guard(tmp_path)
  for last in range(3, 30, 3):
    guard.judge([BAD, BAD, GOOD], last, 0)
  assert len(list((tmp_path / 'dumps').iterdir())) == 18


def test_a_spike_that_was_taken_is_told(tmp_path, caplog):
  with caplog.at_level('WARNING', 'absl'):
    _guard(tmp_path).judge([{**GOOD, 'spike': 12.0}, GOOD], 2, 0)
  (record,) = caplog.records
  assert 'Step 1: loss 0.5 is 12 times the usual' in record.getMessage()
