"""The markdown tables of `latte.py`."""

from typing import Any

import latte_job
import numpy as np


def table(rows: list[dict[str, Any]]) -> str:
  """A line for each job and arm; one that failed says why."""
  columns = {
    'job': lambda r: r['job'],
    'arm': lambda r: f'`{r["arm"]}`',
    'seconds (min-max)': lambda r: _text(r['seconds'], '.3g'),
    'ratio (min-max)': lambda r: _text(r['ratio'], '.2f'),
    'compile s': lambda r: _number(r['facts']['compile_s'], 1, '.1f'),
    'peak GB': lambda r: _number(r['facts']['peak_bytes'], 1e9, '.2f'),
    'XLA temporaries GB': lambda r: _number(
      r['facts'].get('temporary_bytes'), 1e9, '.2f'
    ),
    'GFLOP by hand': lambda r: _number(r['flops'], 1e9, '.0f'),
    'GFLOP by XLA': lambda r: _number(
      r['facts'].get('counted_flops'), 1e9, '.0f'
    ),
    'TFLOP/s': lambda r: _number(r['flops_per_s'], 1e12, '.3g'),
    'MFU %': lambda r: _number(r.get('mfu'), 0.01, '.1f'),
    'apart': lambda r: f'{r["apart"]:.0e}',
  }
  lines = [list(columns), ['---'] * len(columns)]
  for row in rows:
    if 'failed' in row:
      reason = row['failed'].split('\n')[0][:200].replace('|', '/')
      cells = [row['job'], f'`{row["arm"]}`', f'failed: {reason}']
      lines.append(cells + [''] * (len(columns) - 3))
    else:
      lines.append([cell(row) for cell in columns.values()])
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def profile(model: str, arms: list[str], rows: list[dict[str, Any]]) -> str:
  """Milliseconds of each part in the network, and of the whole.

  A backward column holds the forward pass, too.
  """
  depth = latte_job.SIZES[model][1]
  median = {
    (row['job'], row['arm']): row.get('seconds', [np.nan] * 3)[1]
    for row in rows
  }
  head = '| part | times |' + ''.join(
    f' `{arm}` {way} ms |' for arm in arms for way in _WAYS
  )
  lines = [head, '|---|---|' + '---|' * (len(arms) * len(_WAYS))]
  totals = dict.fromkeys([(arm, way) for arm in arms for way in _WAYS], 0.0)
  for part, count in latte_job.PARTS.items():
    line = f'| {part} | {count(depth)} |'
    for arm, way in totals:
      share = count(depth) * median[f'{part}/{way}', arm]
      totals[arm, way] += share
      line += f' {1e3 * share:.4g} |'
    lines.append(line)
  lines.append(
    '| all parts | |' + ''.join(f' {1e3 * x:.4g} |' for x in totals.values())
  )
  whole = (1e3 * median[_WAYS[way], arm] for arm, way in totals)
  lines.append('| forward, train | |' + ''.join(f' {x:.4g} |' for x in whole))
  return '\n'.join(lines)


def _text(spread, form):
  low, median, high = (format(x, form) for x in spread)
  return f'{median} ({low}-{high})'


def _number(value, unit, form):
  return '-' if value is None else format(value / unit, form)


# The whole that a way through the parts belongs to.
_WAYS = {'forward': 'forward', 'backward': 'train'}
