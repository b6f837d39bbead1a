"""Data sets by name: table DATASETS."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from framebridge_jax.data import clips, folder

SPLITS = ('train', 'test')


@runtime_checkable
class Records(Protocol):
  """Clips by number: `{'video': uint8 [n, h, w, 3], 'label': int}`."""

  def __len__(self) -> int:
    """Counts the clips."""
    ...

  def __getitem__(self, index: int) -> dict:
    """Reads one clip; the same in every process and at every time."""
    ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
  """Clips long enough for a window, and what their labels mean."""

  records: Records
  class_names: tuple[str, ...]


def open_source(
  name: str,
  split: str,
  *,
  data_dir: str | os.PathLike,
  size: int,
  frames: int,
  stride: int,
  options: Mapping[str, Any],
) -> Source:
  """Opens a data set of DATASETS, preparing it at the first use.

  Args:
    name: `moving_digits`, with options `world`, and if wanted `train`, `test`
      (clips) and `seed`; or `folder`, with option `path`.
    split: `train` or `test`.
    data_dir: Where prepared data are kept.
    size: Side of the frames in pixels.
    frames: Frames a window.
    stride: Frames of the clip from one frame of the window to the next.
    options: What the data set needs besides.

  Raises:
    ValueError: A name or option is unknown or missing, or no clip fits.
  """
  if name not in DATASETS:
    raise ValueError(f'unknown data set {name!r}; known: {", ".join(DATASETS)}')
  if split not in SPLITS:
    raise ValueError(f'unknown split {split!r}; known: {", ".join(SPLITS)}')
  return DATASETS[name](
    split,
    data_dir=pathlib.Path(data_dir),
    size=size,
    min_frames=clips.span(frames=frames, stride=stride),
    options=options,
  )


def _moving_digits(split, *, data_dir, size, min_frames, options):
  # Imported here: TFDS takes a third of a second, and a folder needs none.
  from framebridge_jax.data.builders import moving_digits

  _check_options(
    'moving_digits', options, ('world',), ('train', 'test', 'seed')
  )
  config = moving_digits.make_config(**options)
  world = config.world
  if world.size != size:
    raise ValueError(
      f'{options["world"]} is {world.size} pixels wide, size is {size}; '
      'make them equal'
    )
  if world.frames < min_frames:
    raise ValueError(
      f'{options["world"]} has {world.frames} frames a clip, the window spans '
      f'{min_frames}; lower frames or stride'
    )
  records = moving_digits.open_records(config, split, data_dir=data_dir)
  return Source(records=records, class_names=tuple('0123456789'))


def _folder(split, *, data_dir, size, min_frames, options):
  _check_options('folder', options, ('path',), ())
  records = folder.open_folder(
    options['path'],
    split,
    size=size,
    min_frames=min_frames,
    cache_dir=data_dir / 'folder_cache',
  )
  return Source(records=records, class_names=records.class_names)


def _check_options(name, options, needed, allowed):
  missing = [key for key in needed if key not in options]
  unknown = [key for key in options if key not in needed + allowed]
  if missing or unknown:
    raise ValueError(
      f'data set {name} got options {sorted(options)}; it needs '
      f'{list(needed)} and may have {list(allowed)}'
    )


DATASETS = {'moving_digits': _moving_digits, 'folder': _folder}
