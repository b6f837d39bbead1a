"""Small multiples: many small plots on shared axes.

A column is a thing that is compared, a row a quantity.  Every panel of a row
has the same scale, and curves are named where they run, so that no legend is
needed.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from framebridge_jax.report import drawing


class Scale(NamedTuple):
  """What an axis shows; where a curve leaves [low, high] it is cut."""

  name: str
  low: float
  high: float
  log: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
  """Points joined by straight lines; infinite values are off the panel."""

  name: str
  x: Float[np.ndarray, 'points']
  y: Float[np.ndarray, 'points']
  colour: str


class Note(NamedTuple):
  """Words in a panel, at a place in the units of its axes."""

  text: str
  x: float
  y: float
  colour: str = 'ink'
  anchor: str = 'start'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
  """What one cell of the lattice shows."""

  curves: Sequence[Curve] = ()
  notes: Sequence[Note] = ()


def small_multiples(
  panels: Mapping[str, Sequence[Panel]],
  *,
  x: Scale,
  rows: Sequence[Scale],
  about: str,
) -> str:
  """Draws columns of panels, _ABREAST side by side, as an SVG document.

  Args:
    panels: By the column's name, a panel for each row.  A name is broken into
      lines at colons and commas.
    x: The axis that all panels share.
    rows: The vertical axis of each row.
    about: What the picture shows, for screen readers.
  """
  names = list(panels)
  head = max(len(_lines(name)) for name in names) * _LINE + 8
  block = head + len(rows) * (_TALL + _GAP) - _GAP + _FOOT + _BETWEEN
  body = []
  for index, name in enumerate(names):
    above, place = divmod(index, _ABREAST)
    top, left = above * block + head, _MARGIN + place * (_WIDE + _GAP)
    axis = drawing.Axis(x.low, x.high, left, left + _WIDE, x.log)
    if place == 0:
      for row, scale in enumerate(rows):
        ruler = _ruler(_axis(scale, top, row), scale.name)
        body += drawing.group(ruler, ruler=scale.name)
    body += _head(name, left, top)
    for row, panel in enumerate(panels[name]):
      marks = _panel(panel, axis, _axis(rows[row], top, row))
      body += drawing.group(marks, column=name, row=rows[row].name)
    foot = _foot(axis, x.name, top + len(rows) * (_TALL + _GAP) - _GAP)
    body += drawing.group(foot, ruler=x.name)
  abreast = min(_ABREAST, len(names))
  width = _MARGIN + abreast * (_WIDE + _GAP) - _GAP + _RIGHT
  height = block * -(-len(names) // _ABREAST) - _BETWEEN
  return drawing.picture(width, height, about=about, body=body)


def _axis(scale, top, row):
  above = top + row * (_TALL + _GAP)
  return drawing.Axis(scale.low, scale.high, above + _TALL, above, scale.log)


def _lines(name):
  """The lines of a column's heading."""
  return name.replace(':', ',').split(',')


def _head(name, left, top):
  """The column's name, its last line next to the panel."""
  lines = _lines(name)
  for index, line in enumerate(lines):
    weight = 'font-weight="600"' if index == 0 else 'font-size="11"'
    y = top - 8 - (len(lines) - 1 - index) * _LINE
    yield drawing.words(left, y, line, look=weight)


def _ruler(y, name):
  """The numbers of a row's axis, left of its first panel, and its name."""
  for mark in drawing.ticks(y.low, y.high, log=y.log):
    number = _number(mark, y.log)
    yield drawing.words(_MARGIN - 6, y(mark) + _SINK, number, anchor='end')
  middle = (y.start + y.end) / 2
  turn = f'transform="rotate(-90 14 {middle:.1f})"'
  yield drawing.words(14, middle, name, anchor='middle', look=turn)


def _number(mark, log):
  """A round number; thousandths and less as powers of ten on a log axis."""
  if log and mark < 0.01:
    return f'1e{np.log10(mark):.0f}'
  return f'{mark:.6g}'


def _panel(panel, x, y):
  ink = drawing.stroke('ink')
  for mark in drawing.ticks(y.low, y.high, log=y.log):
    yield f'<path d="M{x.start} {y(mark):.1f}H{x.end}" {ink} opacity="0.25"/>'
  yield (
    f'<rect x="{x.start}" y="{y.end}" width="{x.end - x.start}" '
    f'height="{y.start - y.end}" {ink} opacity="0.6"/>'
  )
  for curve in panel.curves:
    look = f'{drawing.stroke(curve.colour)} stroke-width="2"'
    lines = (drawing.polyline(*run, look) for run in _visible(curve, x, y))
    yield from drawing.group(lines, curve=curve.name)
  for note in panel.notes:
    yield drawing.words(
      x(note.x),
      y(note.y),
      note.text,
      anchor=note.anchor,
      colour=note.colour,
      look='font-size="11.5"',
    )


def _foot(x, name, below):
  """Ends and middle of the horizontal axis, and its name."""
  middle = (x.low + x.high) / 2
  for mark, anchor in ((x.low, 'start'), (middle, 'middle'), (x.high, 'end')):
    yield f'<path d="M{x(mark):.1f} {below}v4" {drawing.stroke("ink")}/>'
    yield drawing.words(x(mark), below + 17, f'{mark:g}', anchor=anchor)
  yield drawing.words(x(middle), below + 32, name, anchor='middle')


def _visible(curve, x, y) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """The runs of a curve that lie within the panel, in pixels."""
  with np.errstate(divide='ignore'):
    xs, ys = x(curve.x), y(curve.y)
  top, bottom = y.end, y.start
  ys = np.clip(ys, top - _BEYOND, bottom + _BEYOND)
  for edge in (top, bottom):
    before = np.flatnonzero((ys[:-1] - edge) * (ys[1:] - edge) < 0)
    share = (edge - ys[before]) / (ys[before + 1] - ys[before])
    at = xs[before] + share * (xs[before + 1] - xs[before])
    xs = np.insert(xs, before + 1, at)
    ys = np.insert(ys, before + 1, edge)
  inside = (ys >= top) & (ys <= bottom)
  for run in np.split(np.arange(len(xs)), np.flatnonzero(np.diff(inside)) + 1):
    if inside[run[0]] and len(run) > 1:
      yield xs[run], ys[run]


_ABREAST = 5
_WIDE, _TALL, _GAP = 140, 88, 16
_MARGIN, _RIGHT, _FOOT, _BETWEEN, _LINE = 64, 10, 38, 20, 15
_SINK = 4  # from a line to the baseline of its number
_BEYOND = 1e6  # pixels, stands for infinity
