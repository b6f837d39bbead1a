"""The table of results: a line of JSON for each score, and Markdown of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath

from framebridge_jax import files
from framebridge_jax.evaluation import provenance

Row = Mapping[str, Any]


def rows_of(result: Row) -> list[dict[str, Any]]:
  """A line for each score of a result."""
  shared = {name: result.get(name) for name in _SHARED}
  real = result.get('clips') or {}
  shared |= {name: real.get(name) for name in ('dataset', 'split', 'size')}
  return [
    {**shared, 'score': name, **{k: score.get(k) for k in _OWN}}
    for name, score in result['scores'].items()
  ]


def append(path: epath.PathLike, rows: Iterable[Row]) -> None:
  """Adds lines to a table, which need not be there yet."""
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  known = path.read_text() if path.exists() else ''
  lines = ''.join(json.dumps(row) + '\n' for row in rows)
  with files.replacing(path) as part:
    part.write_text(known + lines)


def read(path: epath.PathLike) -> list[dict[str, Any]]:
  """The lines of a table.

  Raises:
    ValueError: a line is no row; it names the line.
  """
  path, found = epath.Path(path), []
  for number, line in enumerate(path.read_text().splitlines(), 1):
    try:
      row = json.loads(line)
    except ValueError:
      row = None
    if not isinstance(row, dict) or row.get('tier') not in provenance.TIERS:
      raise ValueError(f'{path} line {number} is no row of a table of results')
    found.append(row)
  return found


def markdown(rows: Sequence[Row]) -> str:
  """The rows under a heading for each tier, best known first."""
  parts = []
  for tier, meaning in provenance.TIERS.items():
    own = [row for row in rows if row['tier'] == tier]
    if own:
      lines = [_line(row) for row in own]
      parts.append('\n'.join([f'**{tier}**: {meaning}.', '', *_HEAD, *lines]))
  return '\n\n'.join(parts) + '\n'


def shown(value: float | None, digits: int = 4) -> str:
  """A number of some digits; a dash for none."""
  return '-' if value is None else f'{value:.{digits}g}'


def _line(row):
  interval = '-'
  if row.get('low') is not None:
    interval = f'{shown(row["low"])} to {shown(row["high"])}'
  counts = ' / '.join(str(row.get(x) or '-') for x in ('samples', 'real'))
  cells = [
    row['protocol'],
    row['method'],
    row['score'],
    shown(row.get('value')),
    interval,
    shown(row.get('floor')),
    shown(row.get('copy')),
    counts,
    row.get('weights') or '-',
    row['date'],
  ]
  return f'| {" | ".join(cells)} |'


_SHARED = (
  'tier',
  'protocol',
  'method',
  'seed',
  'training_step',
  'num_steps',
  'seconds',
  'date',
  'version',
  'commit',
)
_OWN = (
  'value',
  'low',
  'high',
  'floor',
  'copy',
  'samples',
  'real',
  'weights',
)
_HEAD = (
  '| protocol | method | score | value | 95 % | floor | copy of frame 1 | '
  'samples / real | weights | date |',
  '|---|---|---|---|---|---|---|---|---|---|',
)
