"""Marks of a drawing in SVG: axes, ticks, words and lines.

No plotting library is needed.  A picture stands alone as a file as well as
inside a page.  Its own colours, COLOURS, keep a contrast of 3 or more
on white and on near black, and are apart for readers who tell few hues (Wong
2011); a page replaces them by its light or dark ones through classes.
"""

import html
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np


class Axis(NamedTuple):
  """Maps values from [low, high] to pixels from `start` to `end`."""

  low: float
  high: float
  start: float
  end: float
  log: bool = False

  def __call__(self, value):
    """Pixel of a value; arrays go through elementwise."""
    warp = np.log10 if self.log else np.asarray
    share = (warp(value) - warp(self.low)) / (warp(self.high) - warp(self.low))
    return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, *, log: bool) -> list[float]:
  """Round values in [low, high]: steps of 1, 2 or 5; on a log axis decades.

  A log axis of less than two decades shows their 2 and 5 as well.
  """
  if log:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    parts = (1,) if len(decades) > 3 else (1, 2, 5)
    marks = [part * 10.0**d for d in (*decades, decades.stop) for part in parts]
  else:
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    marks = [index * step for index in range(first, last + 1)]
  return [mark for mark in marks if low <= mark <= high]


def picture(
  width: float, height: float, *, about: str, body: Iterable[str]
) -> str:
  """A whole SVG document; `about` is what screen readers say of it."""
  about = html.escape(about)
  return '\n'.join(
    [
      f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" '
      f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
      f'height="{height:g}" aria-label="{about}" fill="none" '
      'font-size="12" font-family="system-ui, sans-serif">',
      f'<title>{about}</title>',
      *body,
      '</svg>',
    ]
  )


def words(
  x: float,
  y: float,
  text: str,
  *,
  anchor: str = 'start',
  colour: str = 'ink',
  look: str = '',
) -> str:
  """A line of text at its baseline."""
  return (
    f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
    f'class="{colour}-text" fill="{COLOURS[colour]}" {look}>'
    f'{html.escape(text)}</text>'
  )


def group(body: Iterable[str], **names: str) -> Iterator[str]:
  """Marks that belong together, found by their `data-` attributes."""
  data = ''.join(
    f' data-{key}="{html.escape(name)}"' for key, name in names.items()
  )
  yield f'<g{data}>'
  yield from body
  yield '</g>'


def stroke(colour: str) -> str:
  """Attributes of a line in a row of COLOURS."""
  return f'class="{colour}" stroke="{COLOURS[colour]}"'


def polyline(xs: np.ndarray, ys: np.ndarray, look: str) -> str:
  """Straight lines through points given in pixels."""
  pairs = zip(xs, ys, strict=True)
  path = ' '.join(f'{x:.1f},{y:.1f}' for x, y in pairs)
  return f'<polyline points="{path}" stroke-linejoin="round" {look}/>'


COLOURS = {
  'ink': '#7a7f87',
  'blue': '#0072b2',
  'orange': '#d55e00',
  'green': '#009e73',
}
