"""From progress to process time: `grid(u)` for u from 0 (start) to 1 (clean).

Grids work elementwise, on the host, in float64, so that per-frame plans of
progress become per-frame plans of time.
"""

from collections.abc import Callable

import numpy as np

Grid = Callable[[np.ndarray], np.ndarray]


def uniform(T: float) -> Grid:
  """Equal steps of time from T to 0."""
  return lambda u: T * (1 - u)


def quadratic(T: float) -> Grid:
  """Steps that grow away from T: fine where a bridge leaves its prior.

  `t = T (1 - u^2)`: there the first steps decide what will move where.
  """
  return lambda u: T * (1 - u**2)


GRIDS = {'uniform': uniform, 'quadratic': quadratic}
