"""Measures sampling: frames a second, first preview, compilation, memory.

  python benchmarks/sampling.py --model=quickstart_base

Through the Python API, as a user would.  Every row is a process of its own, so
that compilation is cold and memory its own; frames a second are the median of
some calls that compile nothing, with their spread.  Ten minutes on two busy
cores.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import jax
import numpy as np

import framebridge_jax
from framebridge_jax.pipeline import Wish

ROWS = [
  {},
  {'clips': 8},
  {'guidance': 1.0},
  {'guidance': 1.0, 'clips': 8},
  {'num_steps': 50},
  {'sampler': 'heun'},
  {'preview_every': 5},
  {'preview_every': 1},
  {'task': 'interpolate'},
]
REPEATS = 5


def main() -> None:
  """Prints a Markdown table."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--model', default='quickstart_base')
  parser.add_argument('--row', default='')
  options = parser.parse_args()
  if options.row:
    print(json.dumps(measure(options.model, **json.loads(options.row))))
    return
  print(
    '| clips | steps | guidance | sampler | what else | compile s | first '
    'preview s | frames/s (min-max) | memory MB |'
  )
  print('|---|---|---|---|---|---|---|---|---|')
  for row in ROWS:
    words = [sys.executable, __file__, '--model', options.model]
    done = subprocess.run(
      [*words, '--row', json.dumps(row)],
      capture_output=True,
      text=True,
      check=True,
    )
    _print(row, json.loads(done.stdout.splitlines()[-1]))
  print(json.dumps(_compilations(options.model)))


def measure(
  model: str,
  *,
  task: str = 'i2v',
  clips: int = 1,
  num_steps: int = 20,
  preview_every: int = 0,
  **settings,
) -> dict[str, float]:
  """Times one setting, in a process that has compiled nothing yet."""
  pipeline = framebridge_jax.load(model)
  size, frames = pipeline.desk.maker.size, pipeline.desk.maker.frames
  rng = np.random.default_rng(0)
  pictures = rng.integers(0, 256, (2, size, size, 3), np.uint8)
  given = pictures[: 2 if task == 'interpolate' else 1]

  def call(seed):
    """Seconds in all, and to the first preview."""
    seen = []
    start = time.perf_counter()
    how = {'num_steps': num_steps, **settings}
    if preview_every:
      pipeline.make(
        task,
        *given,
        seed=seed,
        preview=lambda progress: seen.append(time.perf_counter() - start),
        preview_every=preview_every,
        **how,
      )
    else:
      wishes = [Wish(given, seed=seed, sample_id=i) for i in range(clips)]
      pipeline.batch(task, wishes, **how)
    return time.perf_counter() - start, (seen or [float('nan')])[0]

  cold, _ = call(0)
  warm = [call(1 + i) for i in range(REPEATS)]
  seconds = [x for x, _ in warm]
  rates = sorted(clips * frames / x for x in seconds)
  return {
    'compile': cold - statistics.median(seconds),
    'preview': statistics.median(x for _, x in warm),
    'least': rates[0],
    'median': statistics.median(rates),
    'most': rates[-1],
    'memory': _memory(),
  }


def _compilations(model):
  """Programs that are compiled for other seeds, scales, steps and tasks."""
  pipeline = framebridge_jax.load(model)
  found = []

  def listen(event, seconds, **kwargs):
    if event == '/jax/core/compile/backend_compile_duration':
      found.append(seconds)

  size = pipeline.desk.maker.size
  a, b = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
  pipeline.animate(a)
  pipeline.interpolate(a, b)
  jax.monitoring.register_event_duration_secs_listener(listen)
  pipeline.animate(b, seed=5, label=2, guidance=3.0, num_steps=33)
  pipeline.interpolate(b, a, num_steps=50, temperature=0.9)
  return {'compilations of other seeds, scales, steps and tasks': len(found)}


def _memory():
  """Megabytes at the most: of the device if it counts, or of the process."""
  stats = jax.devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in stats:
    return stats['peak_bytes_in_use'] / 1e6
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _print(row, got):
  shown = {'clips': 1, 'num_steps': 20, 'guidance': 7.0, 'sampler': 'ancestral'}
  other = [f'{key}={x}' for key, x in row.items() if key not in shown]
  shown |= {key: x for key, x in row.items() if key in shown}
  rate = f'{got["median"]:.1f} ({got["least"]:.1f}-{got["most"]:.1f})'
  preview = '' if np.isnan(got['preview']) else f'{got["preview"]:.2f}'
  cells = [
    *shown.values(),
    ', '.join(other),
    f'{got["compile"]:.1f}',
    preview,
    rate,
    f'{got["memory"]:.0f}',
  ]
  print(f'| {" | ".join(map(str, cells))} |', flush=True)


if __name__ == '__main__':
  main()
