"""--mode=data: prepare a data set, and look at what is in it."""

import json
from typing import Any

import ml_collections
import numpy as np
from absl import logging
from etils import epath

from framebridge_jax import build, check, files
from framebridge_jax.cli import runs
from framebridge_jax.data import overview, sources, video_io
from framebridge_jax.report import sheets

REPORT = 'data.json'
_CAPTION = 48  # letters on the sheet
_TOLD = 5  # of each kind, in the log; the report has them all


def run(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Prepares every split; with `config.inspect` it tells what they hold.

  Raises:
    ValueError: The data set cannot be prepared.
  """
  workdir = epath.Path(workdir)
  check.check_mode(config, 'data')
  runs.make_workdir(workdir)
  # Clips of any length, all of them.
  whole = config.copy_and_resolve_references().unlock()
  whole.data.update(frames=1, stride=1)
  report = {'dataset': config.dataset, 'data_dir': config.data_dir}
  for split in config.splits:
    source = build.make_source(whole, split, workdir)
    logging.info('%s: %d clips', split, len(source.records))
    if config.inspect:
      report[split] = _inspect(config, source, workdir / f'{split}.png')
      _tell(split, report[split])
  if config.inspect:
    with files.replacing(workdir / REPORT) as path:
      path.write_text(json.dumps(report, indent=1) + '\n', 'utf-8')
    logging.info('Wrote %s and a contact sheet a split', workdir / REPORT)


def _inspect(
  config: ml_collections.ConfigDict,
  source: sources.Source,
  path: epath.PathLike,
) -> dict[str, Any]:
  """The numbers of a split, and a sheet of clips drawn from it."""
  table = overview.table_of(source.records)
  found = overview.summary(table, source.class_names)
  found['skipped'] = dict(source.skipped)
  found['unreadable'] = {}
  rows = []
  order = np.random.default_rng(config.seed).permutation(len(source.records))
  for number in order[: config.clips].tolist():
    record = source.records[number]
    times = np.linspace(0, len(record['video']) - 1, config.frames)
    times = times.round().astype(int).tolist()
    try:
      video = record['video'].read(times, config.data.size)
    except video_io.VideoError as error:
      found['unreadable'][record['name']] = str(error)
    else:
      rows.append((_label(record, source.class_names), video))
  if rows:
    sheets.write_png(path, sheets.sheet_of_clips(rows, zoom=1))
  return found


def _label(record, class_names):
  words = [record['name'], class_names[record['label']]]
  if record['caption']:
    words.append(record['caption'])
  text = ' | '.join(words)
  return text if len(text) <= _CAPTION else text[: _CAPTION - 1] + '…'


def _tell(split, found):
  for name in ('frames', 'seconds', 'fps', 'sizes'):
    said = ', '.join(f'{key} {value:g}' for key, value in found[name].items())
    logging.info('%s %s: %s', split, name, said or 'not known')
  classes = sorted(found['classes'].items(), key=lambda item: -item[1])
  logging.info(
    '%s classes: %d; %s%s',
    split,
    len(classes),
    ', '.join(f'{name} {count}' for name, count in classes[:_TOLD]),
    ', ...' if len(classes) > _TOLD else '',
  )
  for kind in ('skipped', 'unreadable'):
    reasons = list(found[kind].values())
    logging.info('%s %s: %d', split, kind, len(reasons))
    for reason in reasons[:_TOLD]:
      logging.info('  %s', reason)
