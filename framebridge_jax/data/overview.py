"""What a data set holds, in numbers."""

import collections
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

MOST_SIZES = 20  # that are told one by one


class Table(NamedTuple):
  """A column for each clip; 0 where something is not known."""

  frames: np.ndarray
  label: np.ndarray
  fps: np.ndarray
  width: np.ndarray
  height: np.ndarray


@runtime_checkable
class Tabled(Protocol):
  """Records that can be told of without reading them."""

  def table(self) -> Table:
    """Columns over all clips."""
    ...


def table_of(records: Any) -> Table:
  """The table of any `sources.Records`; reads them all if need be."""
  if isinstance(records, Tabled):
    return records.table()
  rows = [_row(records[i]) for i in range(len(records))]
  return Table(*np.array(rows, np.float64).reshape(-1, len(Table._fields)).T)


def _row(record):
  width, height = record.get('size', (0, 0))
  return len(record['video']), record['label'], record['fps'], width, height


def summary(table: Table, class_names: tuple[str, ...]) -> dict[str, Any]:
  """Counts, durations, rates, sizes and classes, as JSON can hold them."""
  timed = table.fps > 0
  seconds = table.frames[timed] / table.fps[timed]
  labels = collections.Counter(table.label.astype(int).tolist())
  sizes = collections.Counter(
    f'{width:.0f}x{height:.0f}'
    for width, height in zip(table.width, table.height, strict=True)
    if width
  )
  rates = collections.Counter(f'{fps:.4g}' for fps in table.fps[timed])
  return {
    'clips': len(table.frames),
    'frames': _spread(table.frames),
    'seconds': _spread(seconds),
    'fps': dict(rates.most_common(MOST_SIZES)),
    'sizes': dict(sizes.most_common(MOST_SIZES)),
    'classes': {name: labels[i] for i, name in enumerate(class_names)},
  }


def _spread(values):
  """Sum, least, middle and most; nothing of nothing."""
  if not len(values):
    return {}
  found = values.sum(), values.min(), np.median(values), values.max()
  names = 'total', 'least', 'median', 'most'
  return {
    name: round(float(x), 3) for name, x in zip(names, found, strict=True)
  }
