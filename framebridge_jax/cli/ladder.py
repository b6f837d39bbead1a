"""The ladder of a protocol: its scores of real clips, more and more spoilt."""

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import files
from framebridge_jax.cli import bench as benches
from framebridge_jax.evaluation import (
  corruptions,
  measures,
  metrics,
  provenance,
  tables,
)
from framebridge_jax.training import hosts

_SEED = 0
_COLUMNS = ('scores', 'from_clean')


def write(bench: benches.Bench, workdir: epath.Path) -> None:
  """Writes `ladder_PROTOCOL.json` and `.md`: a row a rung.

  Scored are the clips of the floor against the real side; the first row is the
  floor itself.  A distance is taken from the same clips before they were
  spoilt, too: there chance has no part.
  """
  start = time.perf_counter()
  rows = list(_rows(bench))
  table = {
    'protocol': bench.config.protocol,
    'counts': [len(bench.layout.floor), len(bench.layout.against)],
    'seconds': round(time.perf_counter() - start, 1),
    'weights': {
      name: bench.by_name[name].weights
      for name in bench.measures_of(real=False)
    },
    'rows': rows,
    **provenance.here(),
  }
  if not hosts.first():
    return  # the others have the same
  stem = workdir / f'ladder_{bench.config.protocol}'
  for suffix, text in (
    ('.json', json.dumps(table, indent=1) + '\n'),
    ('.md', markdown(table)),
  ):
    with files.replacing(stem.with_suffix(suffix)) as path:
      path.write_text(text)
  logging.info('Wrote %s.json and .md', stem)


def _rows(bench) -> Iterator[dict[str, Any]]:
  needed = bench.measures_of(real=False)
  real = bench.measure(bench.reader.clips(bench.layout.against), needed)
  clean = None
  for rung in (None, *corruptions.LADDER):
    ours = bench.measure(_spoilt(bench, rung), needed)
    clean = clean or ours
    row = {
      'kind': rung.kind if rung else 'real',
      'strength': rung.strength if rung else 'none',
      'scores': {name: _score(name, ours, real) for name in bench.metrics},
      'from_clean': {
        name: _score(name, ours, clean)
        for name in bench.metrics
        if metrics.METRICS[name].real
      },
    }
    logging.info('%s', _line(row))
    yield row


def markdown(table: Mapping[str, Any]) -> str:
  """The table with a column for each score, and for distances another."""
  names, paired = (list(table['rows'][0][x]) for x in _COLUMNS)
  titles = [metrics.METRICS[name].title for name in names]
  titles += [f'{metrics.METRICS[x].title} from the same clips' for x in paired]
  lines = [
    f'| corruption | strength | {" | ".join(titles)} |',
    '|---' * (2 + len(titles)) + '|',
  ]
  for row in table['rows']:
    cells = [
      tables.shown(value, 3) for x in _COLUMNS for value in row[x].values()
    ]
    lines.append(f'| {row["kind"]} | {row["strength"]} | {" | ".join(cells)} |')
  return '\n'.join(lines) + '\n'


def _spoilt(bench, rung) -> Iterator[measures.Clip]:
  for clip in bench.reader.clips(bench.layout.floor):
    if rung is not None:
      rng = np.random.default_rng([_SEED, int(clip.name)])
      video = rung.spoil(clip.video, rng)
      clip = dataclasses.replace(clip, video=np.ascontiguousarray(video))
    yield clip


def _score(name, ours, real):
  metric = metrics.METRICS[name]
  sides = metrics.Sides(ours=ours[metric.measure], real=real[metric.measure])
  return metrics.score(metric, sides, draws=0, seed=0)['value']


def _line(row):
  scores = ', '.join(
    f'{name} {tables.shown(value)}' for name, value in row['scores'].items()
  )
  return f'{row["kind"]}, {row["strength"]}: {scores}'
