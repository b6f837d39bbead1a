"""How much a score would differ with other clips of the same kind."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
  """Where 95 of 100 repetitions with other clips are expected."""

  low: float
  high: float


def interval(
  statistic: Callable[..., float],
  sides: Sequence[np.ndarray],
  *,
  value: float,
  draws: int,
  seed: int,
) -> Interval | None:
  """The bootstrap interval of `statistic(*sides)`, centred at its value.

  A draw repeats some clips and so holds fewer different ones; a distance that
  falls with their number, as Fréchet's does, is therefore too large in every
  draw by about the same amount.  The draws say how far a score spreads, and
  `value` where.  Near the floor, where that amount is most of the distance,
  they spread up to twice too far.

  Args:
    statistic: of arrays whose first axis are clips (or scenes).
    sides: the arrays; each is drawn from alone.
    value: of the statistic.
    draws: how often; 0: no interval.
    seed: of the draws.

  Returns:
    None without draws.
  """
  if not draws:
    return None
  rng = np.random.default_rng(seed)
  found = []
  for _ in range(draws):
    picks = (rng.integers(len(side), size=len(side)) for side in sides)
    found.append(
      statistic(*(side[pick] for side, pick in zip(sides, picks, strict=True)))
    )
  low, high = np.quantile(found, (0.025, 0.975)) - np.mean(found) + value
  return Interval(float(low), float(high))
