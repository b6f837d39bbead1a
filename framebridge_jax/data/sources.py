"""Data sets by name: table DATASETS."""

import dataclasses
import functools
import importlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from etils import epath

from framebridge_jax import arguments
from framebridge_jax.data import clips, drawn, folder, opened, subset

MAX_BAD_FRACTION = 0.01  # of the files of a data set


@runtime_checkable
class Records(Protocol):
  """Clips by number.

  A record holds `video` (`clips.Frames`), `label` (int), `caption` and `name`
  (str), and `fps` (float, 0 where it is not known).  It may hold all
  `captions`, where `caption` is the first, and the `size` (width, height).
  """

  def __len__(self) -> int:
    """Counts the clips."""
    ...

  def __getitem__(self, index: int) -> dict:
    """Reads one clip; the same in every process and at every time."""
    ...


class Part(NamedTuple):
  """So many of a source's clips, and how often one of them is drawn."""

  count: int
  weight: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
  """Clips long enough for a window, and what their labels mean.

  Attributes:
    records: the clips.
    class_names: in the order of the labels.
    skipped: why files were left out when the data set was prepared, by name.
    parts: of a mixture, in the order of the clips; none: all are one.
  """

  records: Records
  class_names: tuple[str, ...]
  skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)
  parts: tuple[Part, ...] = ()


class Row(NamedTuple):
  """A data set with the options that a text gives it."""

  name: str
  options: dict[str, Any]


def parse(text: str) -> list[Row]:
  """Reads `name:key=value`, or several of these with a `+` between.

  Raises:
    ValueError: A data set or an option is unknown.
  """
  rows = []
  for one in text.split('+'):
    _, options = arguments.parse_row(one.strip(), DATASETS)
    rows.append(Row(one.strip().partition(':')[0], options))
  return rows


def open_source(
  name: str,
  split: str,
  *,
  data_dir: str | os.PathLike,
  size: int,
  frames: int,
  stride: int,
  path: str | os.PathLike = '',
  max_bad_fraction: float = MAX_BAD_FRACTION,
  options: Mapping[str, Any],
) -> Source:
  """Opens a data set of DATASETS, preparing it at the first use.

  Args:
    name: A row of DATASETS.
    split: `train`, `test`, or another that the data set has.
    data_dir: Where prepared data are kept.
    size: Side of the frames in pixels.
    frames: Frames a window.
    stride: Frames of the clip from one frame of the window to the next.
    path: Of the folder of the user's own or downloaded files.
    max_bad_fraction: Of the files, that may be damaged or absent.
    options: Of the row.

  Raises:
    ValueError: A name or option is unknown or missing, or no clip fits.
  """
  if name not in DATASETS:
    raise ValueError(f'unknown data set {name!r}; known: {", ".join(DATASETS)}')
  known = arguments.options_of(DATASETS[name])
  unknown = sorted(options.keys() - known.keys())
  if unknown:
    raise ValueError(
      f'data set {name} has no option {", ".join(unknown)}; known: '
      f'{", ".join(known) or "there are none"}'
    )
  wanted = opened.Wanted(
    split=split,
    data_dir=epath.Path(data_dir),
    path=os.fspath(path),
    size=size,
    min_frames=clips.span(frames=frames, stride=stride),
    max_bad_fraction=max_bad_fraction,
  )
  return Source(**DATASETS[name](wanted, **options)._asdict())


def _folder(wanted):
  opened.check_split(wanted.split)
  _check_path('folder', wanted.path)
  records = folder.open_folder(
    wanted.path,
    wanted.split,
    size=wanted.size,
    min_frames=wanted.min_frames,
    cache_dir=wanted.data_dir / 'folder_cache',
  )
  return opened.Opened(records, records.class_names, dict(records.skipped))


def _check_path(name, path):
  if not path:
    raise ValueError(f'data set {name} needs a folder; set data_dir')


def _ucf101(wanted, *, fold: str = '01'):
  return _open('ucf101', wanted, fold=fold)


def _webvid(wanted, *, cut: str = '2M'):
  return _open('webvid', wanted, cut=cut)


def _faceforensics(wanted, *, compression: str = 'c23'):
  return _open('faceforensics', wanted, compression=compression)


def _prepared_folder(wanted):
  _check_path('prepared_folder', wanted.path)
  return _open('prepared_folder', wanted)


def _without_options(name, wanted):
  return _open(name, wanted)


def _open(name, wanted, **options):
  """A data set that a builder of its name prepares."""
  from framebridge_jax.data.builders import videos

  module = importlib.import_module(f'framebridge_jax.data.builders.{name}')
  config = module.make_config(
    folder=wanted.path, max_bad_fraction=wanted.max_bad_fraction, **options
  )
  records = videos.open_records(
    module.BUILDER, config, wanted.split, data_dir=wanted.data_dir
  )
  fitting = subset.long_enough(
    records,
    records.table().frames,
    wanted.min_frames,
    name=f'{name} {wanted.split}',
    advice='lower frames or stride',
  )
  return opened.Opened(fitting, records.class_names, records.skipped)


def _latents(wanted):
  """A cache that `--mode=encode` left, at `path`."""
  from framebridge_jax.data import latents

  _check_path('latents', wanted.path)
  records = latents.Records(wanted.path, wanted.split)
  fitting = subset.long_enough(
    records,
    records.lengths,
    wanted.min_frames,
    name=f'{wanted.path} {wanted.split}',
    advice='encode with a larger piece, or lower frames or stride',
  )
  return opened.Opened(
    fitting, records.class_names, records.manifest['skipped']
  )


DATASETS = {
  'moving_digits': drawn.moving_digits,
  'physics_motion': drawn.physics_motion,
  'folder': _folder,
  'latents': _latents,
  'prepared_folder': _prepared_folder,
  'ucf101': _ucf101,
  'webvid': _webvid,
  'msrvtt': functools.partial(_without_options, 'msrvtt'),
  'sky_timelapse': functools.partial(_without_options, 'sky_timelapse'),
  'taichi_hd': functools.partial(_without_options, 'taichi_hd'),
  'faceforensics': _faceforensics,
}
