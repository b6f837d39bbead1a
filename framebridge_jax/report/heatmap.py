"""Heat maps side by side, with a key of their colours.

Colours run from bright (0) to dark (1) at an even pace of lightness, so that
they survive grey print and readers who tell few hues apart.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from framebridge_jax.report import drawing


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeatMap:
  """Values in [0, 1], row 0 on top.

  Attributes:
    values: What the colours show.
    marked: Columns with a mark above them.
    notes: Lines below the name.
  """

  values: Float[np.ndarray, 'rows columns']
  marked: Sequence[int] = ()
  notes: Sequence[str] = ()


def heat_maps(
  maps: Mapping[str, HeatMap],
  *,
  columns: str,
  rows: str,
  key: tuple[str, str, str],
  about: str,
) -> str:
  """Draws maps of one shape, _ABREAST side by side, as an SVG document.

  Args:
    maps: By name.
    columns: What the columns are, counted from 0.
    rows: What the rows are, counted from 0.
    key: What the values are, and what 0 and 1 are.
    about: What the picture shows, for screen readers.
  """
  tall, wide = (
    size * cell
    for size, cell in zip(
      next(iter(maps.values())).values.shape, (_TALL, _WIDE), strict=True
    )
  )
  lines = max(len(one.notes) for one in maps.values()) + 1
  head = lines * _LINE + 12
  body = []
  for index, (name, one) in enumerate(maps.items()):
    above, place = divmod(index, _ABREAST)
    left = _MARGIN + place * (wide + _GAP)
    top = above * (head + tall + _FOOT) + head
    marks = [
      *_head(name, one, left, top),
      *_cells(one.values, left, top),
      *_frame(one.values.shape, left, top, columns, rows),
    ]
    body += drawing.group(marks, map=name)
  height = (head + tall + _FOOT) * -(-len(maps) // _ABREAST)
  body += _key(*key, _MARGIN, height)
  width = _MARGIN + min(_ABREAST, len(maps)) * (wide + _GAP) - _GAP + _RIGHT
  return drawing.picture(width, height + _KEY, about=about, body=body)


def colour(value: float) -> str:
  """The colour of a value in [0, 1]."""
  at = np.linspace(0, 1, len(_RAMP))
  parts = (
    np.interp(value, at, channel) for channel in zip(*_RAMP, strict=True)
  )
  return '#' + ''.join(f'{round(part):02x}' for part in parts)


def _head(name, one, left, top):
  """Name, notes, and a mark over each marked column."""
  for index, line in enumerate((name, *one.notes)):
    look = 'font-size="11"' if index else 'font-weight="600"'
    y = top - 12 - (len(one.notes) - index) * _LINE
    yield drawing.words(left, y, line, look=look)
  for column in one.marked:
    x = left + (column + 0.5) * _WIDE
    yield (
      f'<path d="M{x - 3:g} {top - 7}h6l-3 5z" class="ink-text" '
      f'fill="{drawing.COLOURS["ink"]}" data-marked="{column}"/>'
    )


def _cells(values, left, top):
  """One path a colour; cells of a row that share it are one bar."""
  bars = {}
  for row, line in enumerate(values):
    x, y = left, top + row * _TALL
    for paint, cells in itertools.groupby(map(colour, line)):
      wide = len(list(cells)) * _WIDE
      bars.setdefault(paint, []).append(f'M{x} {y}h{wide}v{_TALL}h-{wide}z')
      x += wide
  for paint, path in bars.items():
    look = f'fill="{paint}" shape-rendering="crispEdges"'
    yield f'<path d="{"".join(path)}" {look}/>'


def _frame(shape, left, top, columns, rows):
  """Outline, first and last index of rows and columns, and their names."""
  tall, wide = shape[0] * _TALL, shape[1] * _WIDE
  yield (
    f'<rect x="{left}" y="{top}" width="{wide}" height="{tall}" '
    f'{drawing.stroke("ink")}/>'
  )
  for index in (0, shape[0] - 1):
    y = top + (index + 0.5) * _TALL + 4
    yield drawing.words(left - 5, y, f'{index}', anchor='end')
  for index in (0, shape[1] - 1):
    x = left + (index + 0.5) * _WIDE
    yield drawing.words(x, top + tall + 14, f'{index}', anchor='middle')
  middle = top + tall / 2
  yield drawing.words(
    left + wide / 2, top + tall + 14, columns, anchor='middle'
  )
  yield drawing.words(
    left - 8,
    middle,
    rows,
    anchor='middle',
    look=f'transform="rotate(-90 {left - 8} {middle:g})"',
  )


def _key(name, low, high, left, top):
  """The ramp of colours with its ends."""
  count, wide, tall = 50, 4, 12
  for index in range(count):
    paint = colour(index / (count - 1))
    yield (
      f'<rect x="{left + index * wide}" y="{top}" width="{wide}" '
      f'height="{tall}" fill="{paint}" shape-rendering="crispEdges"/>'
    )
  yield drawing.words(left, top + tall + 15, low)
  right = left + count * wide
  yield drawing.words(right, top + tall + 15, high, anchor='end')
  yield drawing.words(right + 10, top + tall - 1, name)


# Nine colours of matplotlib's viridis, from its bright end.
_RAMP = [
  tuple(bytes.fromhex(paint))
  for paint in (
    'fde725',
    'addc30',
    '5ec962',
    '28ae80',
    '21918c',
    '2c728e',
    '3b528b',
    '472d7b',
    '440154',
  )
]
_ABREAST = 4
_WIDE, _TALL = 10, 7
_MARGIN, _RIGHT, _GAP, _FOOT, _LINE, _KEY = 28, 8, 40, 34, 15, 32
