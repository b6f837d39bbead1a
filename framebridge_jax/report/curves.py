"""Learning curves as inline SVG, drawn without a plotting library.

Colours come from the page (`currentColor`, and `--accent` where it is set), so
a curve follows the page's light and dark looks.
"""

import html
from collections.abc import Sequence

import numpy as np

from framebridge_jax.report import drawing

Points = Sequence[tuple[int, float]]


def learning_curve(points: Points, *, name: str) -> str:
  """Draws value against step as an SVG element: raw faint, smoothed strong.

  The value axis is logarithmic where the values are positive and span more
  than a factor of 20.  Values that are not finite are left out.

  Args:
    points: (step, value) in the order of steps.
    name: What the value is, for the axis and for screen readers.

  Raises:
    ValueError: Fewer than two finite values, which make no curve.
  """
  steps, values = _finite(points, name)
  smooth = smoothed(values)
  log = bool(values.min() > 0 and values.max() > 20 * values.min())
  x = drawing.Axis(*_ends(steps), _LEFT, _WIDTH - _RIGHT)
  y = drawing.Axis(*_ends(values), _HEIGHT - _BOTTOM, _TOP, log)
  name = html.escape(name)
  about = (
    f'{name} of {len(values)} measurements; smoothed, it goes from '
    f'{smooth[0]:.3g} at step {steps[0]:.0f} to {smooth[-1]:.3g} at step '
    f'{steps[-1]:.0f}.'
  )
  return '\n'.join(
    [
      f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
      f'aria-label="{about}" fill="none" stroke="currentColor" '
      'font-size="12" font-family="system-ui, sans-serif">',
      f'<title>{about}</title>',
      *_grid(x, y, name),
      _line(x(steps), y(values), 'class="raw" stroke-opacity="0.3"'),
      _line(
        x(steps),
        y(smooth),
        'class="smooth" style="stroke: var(--accent, currentColor)" '
        'stroke-width="2"',
      ),
      '</svg>',
    ]
  )


def smoothed(values: np.ndarray) -> np.ndarray:
  """Centred mean over a twentieth of the curve, narrower at its ends."""
  reach = len(values) // 40
  total = np.concatenate([[0.0], np.cumsum(values)])
  index = np.arange(len(values))
  near = np.minimum(reach, np.minimum(index, index[::-1]))
  return (total[index + near + 1] - total[index - near]) / (2 * near + 1)


def _finite(points, name):
  data = np.array(points, np.float64).reshape(-1, 2)
  data = data[np.isfinite(data).all(axis=1)]
  if len(data) < 2:
    raise ValueError(
      f'{name} has {len(data)} finite values of {len(points)}; a curve needs '
      'two: train longer or leave the curve out'
    )
  return data.T


def _ends(values):
  """Lowest and highest; apart even where all values are equal."""
  low, high = float(values.min()), float(values.max())
  return (low, high) if high > low else (low - 0.5, high + 0.5)


def _grid(x, y, name):
  """Tick lines with their numbers, and the names of the axes."""
  for mark in drawing.ticks(y.low, y.high, log=y.log):
    yield (
      f'<path d="M{x.start} {y(mark):.1f}H{x.end}" stroke-opacity="0.15"/>'
      + _label(x.start - 8, y(mark) + 4, 'end', f'{mark:.6g}')
    )
  for mark in drawing.ticks(x.low, x.high, log=False):
    yield (
      f'<path d="M{x(mark):.1f} {y.start}v5" stroke-opacity="0.5"/>'
      + _label(x(mark), y.start + 20, 'middle', f'{mark:.12g}')
    )
  yield f'<path d="M{x.start} {y.start}H{x.end}" stroke-opacity="0.5"/>'
  yield _label((x.start + x.end) / 2, _HEIGHT - 6, 'middle', 'step')
  scale = ', logarithmic' if y.log else ''
  yield _label(x.start, _TOP - 12, 'start', name + scale)


def _label(x, y, anchor, text):
  return (
    f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" stroke="none" '
    f'fill="currentColor">{text}</text>'
  )


def _line(xs, ys, look):
  """A polyline of at most some two thousand points."""
  every = -(-len(xs) // _MOST_POINTS)
  return drawing.polyline(xs[::every], ys[::every], look)


_WIDTH, _HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 32, 44
_MOST_POINTS = 2000
