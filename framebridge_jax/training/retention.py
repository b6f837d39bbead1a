"""Which checkpoints of a run stay."""

import dataclasses
import math
from collections.abc import Mapping

from absl import logging
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keep:
  """Which checkpoints stay: those that any of the three wants.

  Attributes:
    last: the newest so many.
    every: those of steps that it divides; 0: none.
    best: name of a metric; the step where it was least stays.  '': none.
  """

  last: int = 2
  every: int = 0
  best: str = ''

  def policy(self) -> policies.AnyPreservationPolicy:
    """The same in Orbax's terms."""
    kept: list[policies.PreservationPolicy] = [policies.LatestN(self.last)]
    if self.every:
      kept.append(policies.EveryNSteps(self.every))
    if self.best:
      kept.append(
        policies.BestN(
          get_metric_fn=self.value,
          reverse=True,
          n=1,
          keep_checkpoints_without_metrics=False,
        )
      )
    return policies.AnyPreservationPolicy(kept)

  def value(self, metrics: Mapping[str, float]) -> float:
    """The metric that decides; without a number a step is never best."""
    value = metrics.get(self.best, math.inf)
    return value if math.isfinite(value) else math.inf


def warn_of_strangers(folder: epath.PathLike) -> None:
  """Tells once what lies among the checkpoints and is none."""
  folder = epath.Path(folder)
  if not folder.is_dir():
    return
  strange = [
    path.name
    for path in folder.iterdir()
    if not path.name.isdigit() and 'orbax' not in path.name
  ]
  if strange:
    logging.warning(
      '%s holds what is no checkpoint, left alone: %s',
      folder,
      ', '.join(sorted(strange)[:_SHOWN]),
    )


def refuse_patterns(folder: epath.PathLike) -> None:
  """Refuses a path that Orbax would take for a pattern of paths.

  It writes there, and does not find again what it wrote.

  Raises:
    ValueError: the path holds such letters.
  """
  found = sorted(_PATTERNS & set(str(folder)))
  if found:
    raise ValueError(
      f'checkpoints in {folder} could not be read again, for its path holds '
      f'{" ".join(found)}; name another --workdir'
    )


LAST_TWO = Keep()
_PATTERNS = frozenset('*?[]\\')
_SHOWN = 10
