"""Methods of a report: whatever evaluation, sampling or another system left.

A method is given as `NAME=PATH` or as a path alone: the workdir of a run or of
an evaluation, one of its evaluation folders, a `result.json`, a table
`results.jsonl`, or a folder of videos.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from framebridge_jax.data import clips, images, video_io
from framebridge_jax.evaluation import tables
from framebridge_jax.report import comparison

RESULT, RESULTS, PATHS = 'result.json', 'results.jsonl', 'paths'
_MOST = 16  # clips of a method


class Found(NamedTuple):
  """A method, and the true clips that stand beside its own."""

  method: comparison.Method
  truth: dict[str, np.ndarray]


def find(texts: Sequence[str]) -> list[Found]:
  """Reads the methods of a config.

  Raises:
    ValueError: there is none, two have one name, or one cannot be read.
  """
  if not texts:
    raise ValueError(
      "methods is (); give some: --config.methods=\"('ours=runs/a', "
      "'theirs=/path/to/mp4s')\""
    )
  found = [_read(text) for text in texts]
  names = [one.method.name for one in found]
  twice = sorted({name for name in names if names.count(name) > 1})
  if twice:
    raise ValueError(f'two methods are called {twice[0]}; name them: NAME=PATH')
  return found


def _read(text) -> Found:
  name, _, path = text.rpartition('=')
  path = epath.Path(path)
  if not path.exists():
    raise ValueError(f'method {text!r}: nothing is at {path}')
  if path.is_file():
    return _of_file(name, path)
  folders = [x for x in (path, *sorted(path.iterdir())) if _is_result(x)]
  if folders:
    return _of_results(name, path, folders)
  videos = _clips(path / 'samples') or _clips(path)
  if not videos:
    raise ValueError(
      f'method {text!r}: {path} holds neither results of --mode=evaluate nor '
      f'videos'
    )
  truth = _clips(path / 'evaluation' / 'truth')
  name = name or path.name
  return Found(_method(name, path, clips=videos), truth)


def _of_file(name, path):
  if path.suffix == '.jsonl':
    rows = tables.read(path)
    return Found(_method(name or path.parent.name, None, rows=rows), {})
  result = _result(path)
  method = _method(
    name or result['method'],
    None,
    results={result['protocol']: result},
    rows=tables.rows_of(result),
  )
  return Found(method, {})


def _of_results(name, path, folders):
  results = [_result(folder / RESULT) for folder in folders]
  home = path.parent if folders == [path] else path
  shown, truth = {}, {}
  for folder in folders:
    shown |= _clips(folder / 'samples')
    truth |= _clips(folder / 'truth')
  table = home / RESULTS
  rows = [row for result in results for row in tables.rows_of(result)]
  method = _method(
    name or results[0]['method'],
    home,
    results={result['protocol']: result for result in results},
    rows=tables.read(table) if table.exists() else rows,
    clips=shown,
  )
  return Found(method, truth)


def _method(name, home, *, results=None, rows=(), clips=None):
  return comparison.Method(
    name=name,
    results=results or {},
    rows=rows,
    clips=clips or {},
    pictures=dict(_pictures(home / PATHS)) if home else {},
  )


def _pictures(folder) -> Iterator[tuple[str, clips.Picture]]:
  for path in sorted(folder.glob('*.png')) if folder.exists() else ():
    yield path.stem.replace('_', ' '), images.read_image(path)


def _is_result(folder):
  return folder.is_dir() and (folder / RESULT).exists()


def _result(path) -> dict[str, Any]:
  try:
    found = json.loads(path.read_text())
    if not {'protocol', 'method', 'scores'} <= found.keys():
      raise ValueError
  except (ValueError, AttributeError):
    raise ValueError(f'{path} is no result of --mode=evaluate') from None
  return found


def _clips(folder) -> dict[str, np.ndarray]:
  """The first clips of a folder by name, each from its best file."""
  if not folder.is_dir():
    return {}
  files: dict[str, dict[str, epath.Path]] = {}
  for path in folder.iterdir():
    if path.suffix in (*video_io.SUFFIXES, '.png'):
      files.setdefault(path.stem, {})[path.suffix] = path
  found = {}
  for name in sorted(files):
    clip = _clip(files[name])
    if clip is not None and len(found) < _MOST:
      found[name] = clip
  return found


def _clip(by_suffix) -> clips.Video | None:
  """Strips of frames are exact, videos are not."""
  if '.png' in by_suffix:
    strip = images.read_image(by_suffix['.png'])
    height, width, _ = strip.shape
    if width % height == 0 and width > height:
      return np.stack(np.split(strip, width // height, axis=1))
  for suffix in video_io.SUFFIXES:
    if suffix in by_suffix:
      return video_io.read_video(by_suffix[suffix])
  return None
