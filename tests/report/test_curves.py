import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from framebridge_jax.report import curves


def _draw(points, name='loss'):
  root = ElementTree.fromstring(curves.learning_curve(points, name=name))
  lines = {
    line.get('class'): np.array(
      [pair.split(',') for pair in line.get('points').split()], float
    )
    for line in root.iter('polyline')
  }
  return root, lines['raw'], lines['smooth']


def _ticks(root, anchor):
  return {
    float(text.text): float(text.get('y' if anchor == 'end' else 'x'))
    for text in root.iter('text')
    if text.get('text-anchor') == anchor and text.text != 'step'
  }


def test_linear_points_stand_where_their_axes_say():
  root, raw, _ = _draw([(0, 1.0), (50, 3.0), (100, 2.0)])
  x, y = _ticks(root, 'middle'), _ticks(root, 'end')
  assert raw[0, 0] == pytest.approx(x[0.0], abs=0.2)
  assert raw[2, 0] == pytest.approx(x[100.0], abs=0.2)
  assert raw[1, 0] == pytest.approx((x[0.0] + x[100.0]) / 2, abs=0.2)
  offset = 4  # numbers hang below their line
  for point, value in zip(raw, (1.0, 3.0, 2.0), strict=True):
    assert point[1] == pytest.approx(y[value] - offset, abs=0.2)
  assert y[3.0] < y[1.0], 'large values stand high'


def test_wide_ranges_are_logarithmic():
  root, raw, _ = _draw([(0, 1.0), (1, 0.1), (2, 0.01)])
  gaps = np.diff(raw[:, 1])
  assert gaps[0] == pytest.approx(gaps[1], abs=0.2)
  assert any('logarithmic' in text.text for text in root.iter('text'))


@pytest.mark.parametrize('values', [(1, 0.5, 0.06), (1, 0.0, -1), (3, 3, 3)])
def test_narrow_signed_and_constant_ranges_are_linear(values):
  root, raw, _ = _draw(list(enumerate(map(float, values))))
  assert np.isfinite(raw).all()
  assert not any('logarithmic' in text.text for text in root.iter('text'))


def test_values_that_are_not_finite_are_left_out():
  _, raw, _ = _draw([(0, 1.0), (1, math.nan), (2, math.inf), (3, 0.5)])
  assert len(raw) == 2


@pytest.mark.parametrize('points', [[], [(1, 2.0)], [(1, 2.0), (2, math.nan)]])
def test_too_few_points(points):
  with pytest.raises(ValueError, match='a curve needs two'):
    curves.learning_curve(points, name='loss')


def test_smoothing_keeps_straight_lines_and_removes_noise():
  line = np.linspace(1, 3, 200)
  np.testing.assert_allclose(curves.smoothed(line), line, rtol=1e-12)
  noise = np.random.default_rng(0).normal(size=400)
  middle = curves.smoothed(noise)[20:-20]
  # A mean of 2 * 10 + 1 independent values of std 1; sampled over 360.
  assert middle.std() == pytest.approx(21**-0.5, rel=0.25)


def test_names_are_escaped_and_long_curves_stay_small():
  points = [(step, 1 + step % 7) for step in range(50_000)]
  root, raw, _ = _draw(points, name='loss <of> "a & b"')
  assert root.get('aria-label').startswith('loss <of> "a & b" of 50000')
  assert len(raw) <= 2000
