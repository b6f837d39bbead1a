"""Reads numbers back from plots: curves through their axes, cells of maps."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import numpy as np

SINK = 4  # numbers hang below their line


class Plot:
  """Curves of small multiples, in the units that their axes show."""

  def __init__(self, svg):
    root = ElementTree.fromstring(svg)
    groups = list(root.findall('.//{*}g'))
    self.panels = {
      (group.get('data-column'), group.get('data-row')): group
      for group in groups
      if group.get('data-column')
    }
    self.columns = list(dict.fromkeys(column for column, _ in self.panels))
    self._rulers = {}
    for group in groups:
      self._rulers.setdefault(group.get('data-ruler'), []).append(group)

  def curve(self, column, row, name, *, log=False, x='t / T'):
    """Points of a curve."""
    (line,) = [
      line
      for group in self.panels[column, row].findall('.//{*}g')
      if group.get('data-curve') == name
      for line in group.findall('.//{*}polyline')
    ]
    at = np.array([p.split(',') for p in line.get('points').split()], float)
    foot = self._rulers[x][self.columns.index(column)]
    read_x = self._reader([foot], 'x', 0, log=False)
    # Blocks of columns have a ruler each: take that beside the panel.
    block = self.columns.index(column) // 5
    read_y = self._reader([self._rulers[row][block]], 'y', SINK, log=log)
    return read_x(at[:, 0]), read_y(at[:, 1])

  def at(self, column, row, name, share, **options):
    """Value of a curve at a share of the horizontal axis."""
    xs, ys = self.curve(column, row, name, **options)
    assert xs[0] <= share <= xs[-1]
    return np.interp(share, xs, ys)

  def words(self, column, row):
    """The notes of a panel."""
    return [
      text.text for text in self.panels[column, row].findall('.//{*}text')
    ]

  @staticmethod
  def _reader(groups, key, sink, *, log) -> Callable[[np.ndarray], np.ndarray]:
    """From pixels to the numbers that stand along an axis."""
    marks = [
      (float(text.get(key)) - sink, float(text.text))
      for group in groups
      for text in group.findall('.//{*}text')
      if re.fullmatch(r'-?[\d.]+(e-?\d+)?', text.text)
    ]
    pixels, numbers = np.array(marks).T
    line = np.polyfit(pixels, np.log10(numbers) if log else numbers, 1)
    return lambda p: 10 ** np.polyval(line, p) if log else np.polyval(line, p)


def lines_of(svg: str, method: str) -> list[np.ndarray]:
  """Points in pixels of the lines of a method."""
  root = ElementTree.fromstring(svg)
  return [
    np.array([p.split(',') for p in line.get('points').split()], float)
    for group in root.findall('.//{*}g')
    if group.get('data-method') == method
    for line in group.findall('.//{*}polyline')
  ]


def read_map(
  group: ElementTree.Element,
) -> tuple[list[list[str]], list[int]]:
  """Colours of the cells, [rows][columns], and the marked columns."""
  cells = {}
  for path in group.findall('.//{*}path'):
    bar = r'M(\d+) (\d+)h(\d+)v7h-\d+z'
    for x, y, wide in re.findall(bar, path.get('d')):
      for step in range(0, int(wide), 10):
        place = int(y), int(x) + step
        assert place not in cells, 'cells do not overlap'
        cells[place] = path.get('fill')
  rows = sorted({y for y, _ in cells})
  columns = sorted({x for _, x in cells})
  assert len(cells) == len(rows) * len(columns), 'no cell is missing'
  marked = [
    int(path.get('data-marked'))
    for path in group.findall('.//{*}path')
    if path.get('data-marked')
  ]
  return [[cells[y, x] for x in columns] for y in rows], marked
