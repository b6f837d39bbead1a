"""Several data sets as one."""

import bisect
import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from framebridge_jax.data import overview, sources


def mix(
  parts: Mapping[str, sources.Source], weights: Sequence[float] = ()
) -> sources.Source:
  """Puts the clips of several data sets one behind the other.

  Classes are told apart by the name of their data set, `NAME/CLASS`.

  Args:
    parts: the data sets by name.
    weights: how often each is drawn; none: by the number of its clips, so that
      each clip is drawn equally often.

  Raises:
    ValueError: There is not one weight above 0 for each.
  """
  if weights and (len(weights) != len(parts) or min(weights) <= 0):
    raise ValueError(
      f'data.weights are {tuple(weights)}, want a number above 0 for each of '
      f'{", ".join(parts)}'
    )
  found = list(parts.values())
  counts = [len(source.records) for source in found]
  if not all(counts):
    raise ValueError(f'a data set of {", ".join(parts)} holds no clip')
  return sources.Source(
    records=Joined(
      tuple(source.records for source in found),
      tuple(itertools.accumulate(counts, initial=0)),
      tuple(
        itertools.accumulate((len(x.class_names) for x in found), initial=0)
      ),
    ),
    class_names=tuple(
      f'{name}/{class_name}'
      for name, source in parts.items()
      for class_name in source.class_names
    ),
    skipped={
      f'{name}/{file}': reason
      for name, source in parts.items()
      for file, reason in source.skipped.items()
    },
    parts=tuple(
      sources.Part(count, weight)
      for count, weight in zip(counts, weights, strict=True)
    )
    if weights
    else (),
  )


@dataclasses.dataclass(frozen=True)
class Joined:
  """Records one behind the other.

  Attributes:
    records: of each data set.
    starts: number of its first clip, and the number of all clips.
    labels: number of its first class, and of all classes.
  """

  records: tuple[sources.Records, ...]
  starts: tuple[int, ...]
  labels: tuple[int, ...]

  def __len__(self) -> int:
    return self.starts[-1]

  def __getitem__(self, index: int) -> dict:
    part = bisect.bisect_right(self.starts, index) - 1
    record = self.records[part][index - self.starts[part]]
    return {**record, 'label': record['label'] + self.labels[part]}

  def table(self) -> overview.Table:
    """Columns over all."""
    tables = [overview.table_of(records) for records in self.records]
    told = [
      table._replace(label=table.label + first)
      for table, first in zip(tables, self.labels, strict=False)
    ]
    return overview.Table(*map(np.concatenate, zip(*told, strict=True)))
