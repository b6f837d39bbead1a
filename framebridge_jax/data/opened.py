"""What a row of DATASETS gets, and gives."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from etils import epath

SPLITS = ('train', 'test')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
  """What a data set is opened for.

  Attributes:
    split: `train`, `test`, or another that the data set has.
    data_dir: where prepared data are kept.
    path: of the folder of the user's files, '' where there are none.
    size: side of the frames in pixels.
    min_frames: that a clip must have.
    max_bad_fraction: of the files, that may be damaged or absent.
  """

  split: str
  data_dir: epath.Path
  path: str
  size: int
  min_frames: int
  max_bad_fraction: float


class Opened(NamedTuple):
  """A split of a data set, see `sources.Source`."""

  records: Any
  class_names: tuple[str, ...]
  skipped: Mapping[str, str] = {}


def check_split(split: str) -> None:
  """For data sets that have the usual splits alone.

  Raises:
    ValueError: It is none of them.
  """
  if split not in SPLITS:
    raise ValueError(f'unknown split {split!r}; known: {", ".join(SPLITS)}')
