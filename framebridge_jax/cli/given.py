"""The first frames of a protocol, for another system to animate."""

import json

import numpy as np
from absl import logging
from etils import epath

from framebridge_jax.cli import bench as benches
from framebridge_jax.evaluation import sides
from framebridge_jax.report import sheets

TABLE = 'given.json'


def write(bench: benches.Bench, folder: epath.Path) -> None:
  """Writes NAME.png for each sample, and what it is asked for in `given.json`.

  A system writes NAME.mp4 for each, and `multi/NAME-K.mp4` for each NAME of
  `multi` and K from 0 on.
  """
  _write(folder, list(bench.reader.whole().given(bench.layout.given)))
  told = f'{len(bench.layout.given)} first frames'
  if bench.protocol.several:
    first = first_of_scenes(bench)
    _write(folder / benches.MULTI, first)
    told += (
      f', and {len(first)} of which {bench.protocol.several} videos each are '
      f'scored'
    )
  logging.info('Wrote %s to %s', told, folder)


def first_of_scenes(bench: benches.Bench) -> list[sides.Given]:
  """What the samples of each scene are made from."""
  reader = bench.several.whole()
  count, each = sides.futures_of(reader.source)
  return list(reader.given(np.arange(count) * each))


def _write(folder, given):
  folder.mkdir(parents=True, exist_ok=True)
  table = {}
  for own in given:
    sheets.write_png(folder / f'{own.name}.png', own.image)
    table[own.name] = {'class': own.label, 'caption': own.caption}
  (folder / TABLE).write_text(json.dumps(table, indent=1) + '\n')
