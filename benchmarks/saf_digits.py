r"""Compares the students of configs/saf_digits.py: with SAF and without.

  python benchmarks/saf_digits.py runs/saf --seeds 1 2 3

Reads `runs/saf/{saf,bridge}_SEED/metrics.jsonl`, and `evaluation/scores.json`
beside it where a student was evaluated; prints a table, and draws the losses
into docs/images/saf_digits.svg.  Takes a second; the runs take an hour.
"""

import argparse
import json
import pathlib

import numpy as np

from framebridge_jax.report import panels
from framebridge_jax.training import logging as run_logging

ARMS = {'saf': 'blue', 'bridge': 'orange'}
PICTURE = pathlib.Path(__file__).parents[1] / 'docs/images/saf_digits.svg'
EDGE = 20  # steps at the beginning and at the end whose mean is told
SMOOTH = 10  # steps whose mean is drawn


def main() -> None:
  """Prints the table and writes the picture."""
  options = _options()
  losses = {
    (arm, seed): _losses(options.folder / f'{arm}_{seed}')
    for seed in options.seeds
    for arm in ARMS
  }
  print(_table(losses, options.folder))
  PICTURE.write_text(_draw(losses, options.seeds))


def _losses(workdir):
  lines = run_logging.read(workdir / 'metrics.jsonl')
  return np.array([line['loss'] for line in lines])


def _table(losses, folder):
  rows = [
    f'| arm | seed | first loss | first {EDGE} | last {EDGE} | lower than the '
    f"other arm | change energy over the real clips' | best PSNR, dB |",
    '|---|---|---|---|---|---|---|---|',
  ]
  for (arm, seed), mine in losses.items():
    other = losses['bridge' if arm == 'saf' else 'saf', seed]
    lower = np.count_nonzero(mine < other)
    rows.append(
      f'| `{arm}` | {seed} | {mine[0]:.3f} | {mine[:EDGE].mean():.3f} | '
      f'{mine[-EDGE:].mean():.3f} | {lower} of {len(mine)} steps | '
      f'{_scores(folder / f"{arm}_{seed}")} |'
    )
  return '\n'.join(rows)


def _scores(workdir):
  path = workdir / 'evaluation' / 'scores.json'
  if not path.is_file():
    return '- | -'
  scores = json.loads(path.read_text())
  return f'{scores["change_ratio"]:.2f} | {scores["best_psnr"]:.2f}'


def _draw(losses, seeds):
  length = len(next(iter(losses.values())))
  middle = np.arange(SMOOTH, length + 1) - (SMOOTH - 1) / 2
  columns = {}
  for seed in seeds:
    curves = [
      panels.Curve(
        name=arm,
        x=middle,
        y=np.convolve(losses[arm, seed], np.full(SMOOTH, 1 / SMOOTH), 'valid'),
        colour=colour,
      )
      for arm, colour in ARMS.items()
    ]
    saf, bridge = curves
    notes = [
      panels.Note('with SAF', 0.3 * length, 0.5 * float(saf.y.min()), 'blue'),
      panels.Note('without', 0.1 * length, 3.0, 'orange'),
    ]
    columns[f'seed {seed}'] = [panels.Panel(curves=curves, notes=notes)]
  return panels.small_multiples(
    columns,
    x=panels.Scale('step', 0.0, float(length)),
    rows=[panels.Scale('loss', 0.05, 30.0, log=True)],
    about='Loss of a bridge fine-tuned from a diffusion teacher, with and '
    f'without SAF: means over {SMOOTH} steps.',
  )


def _options():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('--seeds', nargs='+', type=int, default=[1, 2, 3])
  return parser.parse_args()


if __name__ == '__main__':
  main()
