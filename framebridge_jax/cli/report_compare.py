"""Reports of any number of methods: one page, and a page to rank them by."""

import json
from collections.abc import Mapping

import jax
import ml_collections
from absl import logging
from etils import epath

from framebridge_jax import files, version
from framebridge_jax.cli import methods, report_process, runs
from framebridge_jax.evaluation import conditional, metrics
from framebridge_jax.report import comparison, rating

PAGE, BLIND, KEY = 'comparison.html', 'rating.html', 'rating_key.json'
_TITLE = 'framebridge_jax: methods side by side'


def write(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Writes `comparison.html`.

  Raises:
    ValueError: a method or an answer cannot be read.
  """
  workdir = epath.Path(workdir)
  found = methods.find(config.methods)
  rankings = _rankings(config, workdir)
  runs.make_workdir(workdir)
  rows = [metrics.METRICS, conditional.KINDS]
  page = comparison.Page(
    title=config.title or _TITLE,
    methods=[one.method for one in found],
    truth={k: v for one in found for k, v in one.truth.items()},
    titles={k: v.title for table in rows for k, v in table.items()},
    meanings={k: v.meaning for table in rows for k, v in table.items()},
    drawings={'SNR alignment': _alignment()},
    rankings=rankings,
    facts={
      'Methods': '; '.join(config.methods),
      'Versions': f'framebridge_jax {version.__version__}, jax '
      f'{jax.__version__}',
    },
  )
  with files.replacing(workdir / PAGE) as path:
    path.write_text(comparison.render(page), 'utf-8')
  logging.info('Wrote %s', workdir / PAGE)


def write_rating(
  config: ml_collections.ConfigDict, workdir: epath.PathLike
) -> None:
  """Writes `rating.html` for raters, and `rating_key.json` to keep from them.

  Raises:
    ValueError: the methods share no clips.
  """
  workdir = epath.Path(workdir)
  found = methods.find(config.methods)
  names = set.intersection(*(set(one.method.clips) for one in found))
  if not names:
    raise ValueError(
      'the methods share no clip: files of the same name are compared'
    )
  items = [
    rating.Item(
      name=name,
      given=found[0].method.clips[name][0],
      clips={one.method.name: one.method.clips[name] for one in found},
    )
    for name in sorted(names)[: config.clips]
  ]
  text, key = rating.render(items, seed=config.seed)
  runs.make_workdir(workdir)
  for name, content in ((BLIND, text), (KEY, json.dumps(key, indent=1))):
    with files.replacing(workdir / name) as path:
      path.write_text(content + '\n', 'utf-8')
  logging.info(
    'Wrote %s; give it to raters, keep %s, and count their answers with '
    '--config.report=compare --config.ratings',
    workdir / BLIND,
    KEY,
  )


def _rankings(config, workdir) -> Mapping[str, list[rating.Ranking]]:
  if not config.ratings:
    return {}
  key = epath.Path(config.rating_key or workdir / KEY)
  return rating.rankings(
    _json(key, 'rating_key'),
    [_json(epath.Path(path), 'ratings') for path in config.ratings],
    seed=config.seed,
  )


def _json(path, what):
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError):
    raise ValueError(f'{what}: {path} cannot be read as JSON') from None


def _alignment() -> tuple[str, str]:
  plot = report_process.PLOTS['saf_alignment']
  return plot.text, plot.draw()
