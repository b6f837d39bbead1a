"""Measures every sampler on data for which the exact answer is known.

  PYTHONPATH=.:tests python benchmarks/samplers.py

The denoisers are exact, so that all errors are the sampler's own.  Two oracles:
correlated Gaussian videos of four frames, whose mean and covariance come out
without sampling (`tests/walks.py`); and videos of two frames and two kinds, of
which 30 % are of the first (`tests/mixtures.py`).  Deterministic; minutes on a
CPU, nearly all of them compilation.
"""

import argparse
import time

import jax
import mixtures
import numpy as np
import walks

from framebridge_jax.samplers import grids
from framebridge_jax.tasks import plans

STEPS = (10, 20, 50)
INSIDE = (64, 128)
PIXELS = 4000
# The grid that each schedule is customarily walked on.
GRIDS = {
  'diffusion vp': 'uniform',
  'diffusion edm': 'karras',
  'diffusion flow': 'uniform',
  'diffusion table_linear': 'trailing',
  'bridge bridge_gmax': 'uniform',
  'bridge bridge_gconst': 'uniform',
  'bridge vp': 'uniform',
}
HEAD = (
  'process',
  'grid',
  'sampler',
  'order',
  'measured',
  *(f'Gauss {n}' for n in STEPS),
  *(f'weight {n}' for n in STEPS),
)


def main() -> None:
  """Prints a Markdown table, one row a process and sampler."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--grid', default='', help='one grid for all processes')
  options = parser.parse_args()
  jax.config.update('jax_enable_x64', True)
  start = time.perf_counter()
  _print_row(HEAD)
  _print_row(['---'] * len(HEAD))
  for name, customary in GRIDS.items():
    grid = options.grid or customary
    for kind, sampler in walks.SAMPLERS.items():
      _print_row((name, grid, kind, *measure(walks.CASES[name], sampler, grid)))
  print(f'\n{time.perf_counter() - start:.0f} s with compilation')


def measure(case, sampler, grid):
  """Declared and measured order, and errors by step count."""
  time_of = {n: grids.GRIDS[grid](case.process, n) for n in STEPS}
  walked = [walks.whole(case, 'all', n, time_of[n]) for n in STEPS]
  walked += [walks.inside(case, n) for n in INSIDE]
  means, covs = walks.moments(case, sampler, walked)
  errors = [
    max(np.abs(mean - walk.mean).max(), np.abs(cov - walk.cov).max())
    for mean, cov, walk in zip(means, covs, walked, strict=True)
  ]
  shares = mixtures.share(
    case.process,
    sampler,
    [time_of[n](plans.progress(n, 2)) for n in STEPS],
    PIXELS,
  )
  order = np.log2(errors[-2] / errors[-1])
  return (
    sampler.order,
    f'{order:.2f}',
    *(f'{error:.4f}' for error in errors[: len(STEPS)]),
    *(f'{100 * (share - 0.3):+.1f}' for share in shares),
  )


def _print_row(cells):
  print('|', ' | '.join(str(cell) for cell in cells), '|', flush=True)


if __name__ == '__main__':
  main()
