"""A score, and what stands beside it."""

import numpy as np
import pytest

from framebridge_jax.evaluation import measures, metrics


def _table(values, columns, labels=None):
  one = measures.Measure(
    name='m', digest='d', columns=columns, run=lambda clips: values, weights='w'
  )
  count = len(values)
  return measures.Table(
    measure=one,
    names=tuple(f'{i:04}' for i in range(count)),
    values=np.asarray(values, np.float32),
    digests=tuple(map(str, range(count))),
    labels=tuple(labels or [-1] * count),
  )


def _cloud(shift, count=40, seed=0):
  rng = np.random.default_rng(seed)
  return _table(rng.normal(size=(count, 3)) + shift, {'features': slice(0, 3)})


def test_a_distance_comes_with_floor_copy_counts_and_interval():
  sides = metrics.Sides(
    ours=_cloud(1.0),
    real=_cloud(0.0, seed=1),
    floor=_cloud(0.0, 30, seed=2),
    copy=_cloud(3.0, seed=3),
  )
  found = metrics.score(metrics.METRICS['fd_phys'], sides, draws=10, seed=0)
  assert 0 <= found['floor'] < 1 < found['value'] < 20 < found['copy']
  assert found['low'] < found['value'] < found['high']
  assert (found['samples'], found['real']) == (40, 40)
  assert found['floor_clips'] == [30, 40]
  assert found['weights'] == 'w'
  assert 'make no claim below 1000' in found['warnings'][0]


def test_the_floor_is_held_against_its_own_half():
  real, half = _cloud(0.0, seed=1), _cloud(5.0, 20, seed=2)
  sides = metrics.Sides(
    ours=_cloud(1.0), real=real, floor=_cloud(5.0, 20, seed=3), against=half
  )
  found = metrics.score(metrics.METRICS['fd_phys'], sides, draws=0, seed=0)
  assert found['floor'] < 2
  assert found['floor_clips'] == [20, 20]
  assert found['low'] is None


def test_a_mean_needs_no_real_side():
  sides = metrics.Sides(
    ours=_table([[1.0], [3.0]], {'motion': slice(0, 1)}),
    floor=_table([[5.0], [6.0]], {'motion': slice(0, 1)}),
  )
  found = metrics.score(metrics.METRICS['motion'], sides, draws=0, seed=0)
  assert (found['value'], found['floor']) == (2.0, 5.5)
  assert 'real' not in found
  assert found['warnings'] == []


def test_accuracy_is_of_the_class_that_was_asked_for():
  logits = np.eye(3)[[0, 1, 2, 1]]
  columns = {'logits': slice(0, 3)}
  sides = metrics.Sides(ours=_table(logits, columns, [0, 1, 0, 2]))
  metric = metrics.METRICS['class_accuracy']
  assert metrics.score(metric, sides, draws=0, seed=0)['value'] == 0.5


def test_a_sum_of_float32_is_taken_in_float64():
  values = np.full((3_000, 1), 16_777_217.0, np.float32)
  sides = metrics.Sides(ours=_table(values, {'motion': slice(0, 1)}))
  found = metrics.score(metrics.METRICS['motion'], sides, draws=0, seed=0)
  assert found['value'] == pytest.approx(float(values[0, 0]), rel=1e-12)


@pytest.mark.parametrize('name', metrics.METRICS)
def test_rows_are_complete(name):
  metric = metrics.METRICS[name]
  assert metric.better in ('lower', 'higher', 'real')
  assert metric.meaning.endswith('.')
  assert metric.real == (metric.statistic is metrics.distance)
