"""What the loop does about steps that changed nothing.

The step itself decides what to skip (`training.step`); here its reports are
read: each skipped batch is dumped, and many in a row end the run or send it
back.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from framebridge_jax.training import hosts

HostBatch = Mapping[str, np.ndarray]
# Opens the batch at a position once more.
Reread = Callable[[int], HostBatch]


class BadRegionError(ValueError):
  """Too many steps in a row changed nothing.

  Attributes:
    position: of the last of their batches.
  """

  exit_code = 4

  def __init__(self, message: str, position: int):
    super().__init__(message)
    self.position = position


@dataclasses.dataclass(kw_only=True)
class Guard:
  """Counts skipped steps, and dumps their batches.

  Attributes:
    folder: of the dumps.
    max_bad_steps: as many in a row are borne.
    spike: factor above which a loss is told of.
    reread: opens a batch again.
    in_row: skipped steps since the last good one.
  """

  folder: epath.PathLike
  max_bad_steps: int
  spike: float
  reread: Reread
  in_row: int = 0

  def judge(
    self, rows: Sequence[Mapping[str, float]], last: int, data_offset: int
  ) -> None:
    """Looks at the reports of a window of steps.

    Args:
      rows: each step's numbers.
      last: the last of the steps.
      data_offset: of the data's position against the step.

    Raises:
      BadRegionError: more than `max_bad_steps` in a row were skipped.
    """
    first = last - len(rows) + 1
    for step, row in enumerate(rows, start=first):
      if not row['skipped']:
        self.in_row = 0
        if row['spike'] > self.spike:
          _warn_of_spike(step, row)
        continue
      self.in_row += 1
      position = step - 1 + data_offset
      path = self._dump(step, position, row)
      logging.warning(
        'Step %d was skipped (loss %g, gradient norm %g, %d in a row): %s',
        step,
        row['loss'],
        row['grad_norm'],
        self.in_row,
        path,
      )
      if self.in_row > self.max_bad_steps:
        raise BadRegionError(
          f'{self.in_row} steps in a row up to step {step} could not be taken '
          f'(loss {row["loss"]:g}, gradient norm {row["grad_norm"]:g}); their '
          f'batches are described in {self.folder}',
          position,
        )

  def _dump(self, step, position, row) -> epath.Path:
    path = epath.Path(self.folder) / f'step_{step}_batch_{position}.json'
    facts = {
      'step': step,
      'batch': position,
      'numbers': {name: str(value) for name, value in row.items()},
      'samples': _describe(self.reread(position)),
    }
    path.parent.mkdir(exist_ok=True)
    if hosts.first():
      path.write_text(json.dumps(facts, indent=2) + '\n')
    return path


def _describe(batch: HostBatch) -> list[dict[str, Any]]:
  """Where each sample of a batch comes from, and what it looks like."""
  video = np.asarray(batch['video'], np.float64)
  others = {name: x for name, x in batch.items() if np.ndim(x) == 1}
  return [
    {name: np.asarray(x)[i].item() for name, x in others.items()}
    | {
      'shape': list(clip.shape),
      'min': float(clip.min()),
      'max': float(clip.max()),
      'mean': float(clip.mean()),
      'std': float(clip.std()),
      'change': float(np.abs(np.diff(clip, axis=0)).mean()),
    }
    for i, clip in enumerate(video)
  ]


def _warn_of_spike(step, row):
  logging.warning(
    'Step %d: loss %g is %.0f times the usual; it was taken, for '
    'guards.skip_spikes is off',
    step,
    row['loss'],
    row['spike'],
  )
