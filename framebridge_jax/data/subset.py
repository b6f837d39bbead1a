"""Some of the records of a data set."""

import dataclasses
from typing import Any

import numpy as np
from absl import logging

from framebridge_jax.data import overview


@dataclasses.dataclass(frozen=True, eq=False)
class Some:
  """Records with those numbers."""

  records: Any
  numbers: np.ndarray

  def __len__(self) -> int:
    return len(self.numbers)

  def __getitem__(self, index: int) -> dict:
    return self.records[int(self.numbers[index])]

  def table(self) -> overview.Table:
    """Columns over these."""
    columns = overview.table_of(self.records)
    return overview.Table(*(column[self.numbers] for column in columns))


def long_enough(
  records: Any, lengths: np.ndarray, least: int, *, name: str, advice: str
) -> Any:
  """The records that have `least` frames; how many have not is logged.

  Args:
    records: of a split.
    lengths: frames of each.
    least: frames that a window spans.
    name: of the split.
    advice: what to do where none is left.

  Raises:
    ValueError: None has as many.
  """
  numbers = np.flatnonzero(lengths >= least)
  if len(numbers) == len(records):
    return records
  if not len(numbers):
    raise ValueError(
      f'no clip of {name} has the {least} frames that the window spans; '
      f'{advice}'
    )
  logging.warning(
    '%s: %d of %d clips have fewer than %d frames and are left out',
    name,
    len(records) - len(numbers),
    len(records),
    least,
  )
  return Some(records, numbers)
