"""A score against training steps, sampling steps or seconds, for each method.

FrameBridge Figs 6 to 8.  Methods are told by colour, dash and their name at the
last point.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from framebridge_jax.report import drawing


class Point(NamedTuple):
  """A score at one place, with its interval where there is one."""

  x: float
  y: float
  low: float | None = None
  high: float | None = None


def series(
  name: str, rows: Sequence[Mapping[str, Any]], *, x: str, held: str
) -> dict[str, list[Point]]:
  """The curves of a method: a point for each place, the last one measured.

  A curve joins what was measured with one value of `held` alone; one of several
  is called by that value.

  Args:
    name: of the method.
    rows: of one score.
    x: a key of rows, and of NAMES.
    held: another one.
  """
  by_held: dict[Any, dict[float, Point]] = {}
  for row in rows:
    if row.get(x) is not None and row.get('value') is not None:
      point = Point(row[x], row['value'], row.get('low'), row.get('high'))
      by_held.setdefault(row.get(held), {})[row[x]] = point
  walks = {key: at for key, at in by_held.items() if len(at) > 1} or by_held
  return {
    name if len(walks) == 1 else f'{name}, {key} {NAMES[held]}': [*at.values()]
    for key, at in walks.items()
  }


def draw(
  methods: Mapping[str, Sequence[Point]], *, x_name: str, y_name: str
) -> str:
  """Draws the methods' points, joined in the order of x, as an SVG document.

  The vertical axis begins at 0 where no value is below it.

  Raises:
    ValueError: there is no point.
  """
  points = [point for series in methods.values() for point in series]
  if not points:
    raise ValueError(f'no points of {y_name} against {x_name}')
  x = drawing.Axis(*_ends([p.x for p in points]), _LEFT, _WIDTH - _RIGHT)
  values = [v for p in points for v in (p.y, p.low, p.high) if v is not None]
  low, high = _ends([*values, 0.0] if min(values) >= 0 else values)
  y = drawing.Axis(low, high, _HEIGHT - _BOTTOM, _TOP)
  body = [*_rulers(x, y, x_name, y_name)]
  for index, (name, series) in enumerate(methods.items()):
    if series:
      marks = _series(name, sorted(series), x, y, index)
      body += drawing.group(marks, method=name)
  about = (
    f'{y_name} against {x_name} of {", ".join(methods)}; '
    f'{len(points)} measurements.'
  )
  return drawing.picture(_WIDTH, _HEIGHT, about=about, body=body)


def _series(name, series, x, y, index):
  colour = _COLOURS[index % len(_COLOURS)]
  dash = _DASHES[index // len(_COLOURS) % len(_DASHES)]
  look = drawing.stroke(colour)
  for point in series:
    if point.low is not None and point.high is not None:
      yield (
        f'<path d="M{x(point.x):.1f} {y(point.low):.1f}'
        f'V{y(point.high):.1f}" {look} opacity="0.5"/>'
      )
  xs, ys = (np.array(v) for v in zip(*(p[:2] for p in series), strict=True))
  yield drawing.polyline(x(xs), y(ys), f'{look} stroke-width="2" {dash}')
  for point in series:
    yield (
      f'<circle cx="{x(point.x):.1f}" cy="{y(point.y):.1f}" r="3" {look}/>'
    )
  last = series[-1]
  yield drawing.words(
    x(last.x) + 8, y(last.y) + 4, name, colour=colour, look='font-weight="600"'
  )


def _rulers(x, y, x_name, y_name):
  ink = drawing.stroke('ink')
  for mark in drawing.ticks(y.low, y.high, log=False):
    yield f'<path d="M{x.start} {y(mark):.1f}H{x.end}" {ink} opacity="0.25"/>'
    yield drawing.words(x.start - 8, y(mark) + 4, f'{mark:.6g}', anchor='end')
  for mark in drawing.ticks(x.low, x.high, log=False):
    yield f'<path d="M{x(mark):.1f} {y.start}v5" {ink}/>'
    yield drawing.words(x(mark), y.start + 20, f'{mark:.12g}', anchor='middle')
  yield f'<path d="M{x.start} {y.start}H{x.end}" {ink}/>'
  middle = (x.start + x.end) / 2
  yield drawing.words(middle, _HEIGHT - 6, x_name, anchor='middle')
  yield drawing.words(x.start, _TOP - 14, y_name)


def _ends(values):
  """Lowest and highest, apart even where all are equal."""
  low, high = float(min(values)), float(max(values))
  return (low, high) if high > low else (low - 0.5, high + 0.5)


NAMES = {
  'training_step': 'training steps',
  'num_steps': 'sampling steps',
  'seconds': 'seconds a sample',
}
_WIDTH, _HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 36, 44
_COLOURS = ('blue', 'orange', 'green', 'ink')
_DASHES = ('', 'stroke-dasharray="6 4"', 'stroke-dasharray="2 3"')
