"""What is to be sampled: one command, a folder, or a file of many lines."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import ml_collections
from etils import epath

from framebridge_jax import check, keys
from framebridge_jax.data import given, video_io

# What holds for all lines of a file: they share one model and one loop.
_COMMON = (
  'batch',
  'batch_size',
  'weights',
  'ema',
  'frames',
  'size',
  'compute_dtype',
  'host',
  'hosts',
)


class Line(NamedTuple):
  """One thing to be made.

  Attributes:
    place: where it was asked for, for errors.
    name: of the files.
    given: paths of what the task reads.
    values: of the keys of `--mode=sample`.
  """

  place: str
  name: str
  given: tuple[str, ...]
  values: dict[str, Any]


class Bad(NamedTuple):
  """A line that cannot be made, and why."""

  place: str
  error: str


def read(config: ml_collections.ConfigDict) -> list[Line | Bad]:
  """All lines, in order; the first of two with one name has it.

  Raises:
    ValueError: the file or the folder cannot be read, or there is nothing in
      it; or the command itself is wrong.
  """
  common = {name: config[name] for name in keys.MODES['sample']}
  if config.batch:
    found = _of_file(config.batch, common)
  else:
    found = _of_command(common)
  lines, taken = [], {}
  for line in found:
    if isinstance(line, Line) and line.name in taken:
      owner = taken[line.name]
      error = f'name {line.name!r} is taken by {owner}; give it one of its own'
      lines.append(Bad(line.place, error))
      continue
    if isinstance(line, Line):
      taken[line.name] = line.place
    lines.append(line)
  return lines


def _of_command(values) -> Iterator[Line]:
  folder = next(
    (
      (kind, values[kind], suffixes)
      for kind, suffixes in _KINDS.items()
      if values[kind] and epath.Path(values[kind]).is_dir()
    ),
    None,
  )
  if folder is None:
    yield _line('the command', values)
    return
  kind, path, suffixes = folder
  for file in given.files_in(path, suffixes):
    yield _line(file, {**values, kind: [file], 'name': ''})


def _of_file(path, common) -> Iterator[Line | Bad]:
  file = epath.Path(path)
  if not file.is_file():
    raise ValueError(f'batch is {path!r}, want a file of JSON lines')
  texts = [
    (number, text)
    for number, text in enumerate(file.read_text().splitlines(), 1)
    if text.strip()
  ]
  if not texts:
    raise ValueError(f'{path} holds no line; each is a clip: {_EXAMPLE}')
  for number, text in texts:
    place = f'line {number}'
    try:
      yield _line(place, {**common, **_object(text)})
    except ValueError as error:
      yield Bad(place, str(error))


def _object(text) -> Mapping[str, Any]:
  """One line's keys.

  Raises:
    ValueError: it is no JSON object, or has keys that no line has.
  """
  try:
    values = json.loads(text)
  except json.JSONDecodeError as error:
    raise ValueError(f'no JSON ({error}); as {_EXAMPLE}') from None
  if not isinstance(values, dict):
    raise ValueError(f'{type(values).__name__}, want an object: {_EXAMPLE}')
  own = [name for name in keys.MODES['sample'] if name not in _COMMON]
  for name in values:
    if name not in own:
      raise ValueError(f'{name} is no key of a line{check.nearest(name, own)}')
  return values


def _line(place, values) -> Line:
  """A line whose values are right, as far as can be told without files.

  Raises:
    ValueError: a value is wrong.
  """
  paths = [path for kind in _KINDS for path in _paths(values[kind])]
  texts = {kind: '' for kind in _KINDS}
  check.check_values({**values, **texts}, 'sample')
  if values['length'] and _task(values) not in ('extend', 'rolling'):
    raise ValueError(
      f'length is {values["length"]} and task is {values["task"]!r}; only '
      f'extend and rolling have a length'
    )
  if _task(values) == 'rolling' and not values['length']:
    raise ValueError(
      'task is rolling and length is 0; give the frames of the result, or -1 '
      'to go on until stopped'
    )
  if not paths and _task(values) not in ('generate', 'staggered'):
    raise ValueError(
      f'no image given for task {values["task"]}; set '
      f'--config.image=photo.png, or --config.video=clip.mp4'
    )
  name = values['name'] or '_'.join(epath.Path(x).stem for x in paths[:2])
  return Line(place, name or _task(values), tuple(paths), dict(values))


def _task(values):
  return values['task'].partition(':')[0]


def _paths(value) -> list[str]:
  """A path, several in a list, or several with commas between."""
  if isinstance(value, list | tuple):
    return [os.fspath(x) for x in value]
  if not isinstance(value, str):
    raise ValueError(f'{value!r} is no path; give a text, or a list of them')
  if not value or epath.Path(value).is_file():
    return [value] if value else []
  return value.split(',')


_KINDS = {'image': given.PICTURES, 'video': video_io.SUFFIXES}
_EXAMPLE = '{"image": "photo.png", "label": 3}'
