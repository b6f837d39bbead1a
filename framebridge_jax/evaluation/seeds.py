"""Scores of several seeds, brought together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Scores = Mapping[str, Mapping[str, Any]]

LEAST = 3  # seeds, of which a spread can be told


def combine(found: Sequence[Scores]) -> dict[str, dict[str, Any]]:
  """Mean scores of repetitions that differ in their seed alone.

  The interval is that of the mean over seeds (Student's t) from LEAST seeds on;
  with fewer it stays the bootstrap's over clips, of the first seed.  Values of
  scenes are means over seeds, so that systems are compared in pairs of scenes.
  """
  first = found[0]
  if len(found) == 1:
    return {name: dict(score) for name, score in first.items()}
  combined = {}
  for name, score in first.items():
    values = np.array([one[name]['value'] for one in found])
    mine = {**score, 'value': float(values.mean()), 'seeds': values.tolist()}
    if len(found) >= LEAST:
      half = _quantile(len(found)) * values.std(ddof=1) / np.sqrt(len(found))
      mine['low'], mine['high'] = mine['value'] - half, mine['value'] + half
    if 'scenes' in score:
      mine['scenes'] = np.mean([x[name]['scenes'] for x in found], 0).tolist()
    mine['warnings'] = sorted({y for x in found for y in x[name]['warnings']})
    combined[name] = mine
  return combined


def _quantile(count):
  """Of Student's t, for an interval of 95 %."""
  from scipy import stats  # takes a second

  return stats.t.ppf(0.975, count - 1)
