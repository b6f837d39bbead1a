"""Measures how long scores take: networks for 1,000 clips, and statistics.

  python benchmarks/metrics.py                                  # 3 minutes
  python benchmarks/metrics.py --i3d runs/i3d/weights.safetensors

Clips are noise of the size that a protocol has; a score's time does not depend
on what they show.  A network first gets some that are not counted, which
compiles it; then the median of the rounds is scaled to 1,000 clips, with its
range.  `i3d, XLA's own` is the same network with the convolution of three
dimensions that XLA has, for comparison.  Networks without weights at hand are
left out and named.  Statistics are timed on random features of the number and
size that a score has.
"""

import argparse
import functools
import pathlib
import platform
import sys
import time

import jax
import numpy as np
import psutil

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from framebridge_jax.cli import measuring  # noqa: E402
from framebridge_jax.evaluation import (  # noqa: E402
  frechet,
  fvd,
  measures,
  phys,
  pixels,
)
from framebridge_jax.evaluation.adapters import extras, lpips  # noqa: E402
from framebridge_jax.models import i3d  # noqa: E402


def main() -> None:
  """Prints the tables."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--i3d', type=pathlib.Path, help='ported weights of I3D')
  parser.add_argument('--rounds', type=int, default=3)
  options = parser.parse_args()
  print(
    f'{platform.machine()}, {psutil.cpu_count()} cores, load '
    f'{psutil.getloadavg()[0]:.1f}; jax {jax.__version__}, {jax.devices()}'
  )
  print('\n| measure | clips | seconds for 1,000 | range |\n|---|---|---|---|')
  for name, make, shape, each in _networks(options.i3d):
    try:
      one = make()
    except extras.MissingError as error:
      print(f'| {name} | not measured: {error} | | |')
      continue
    found = _seconds(one, shape, each, options.rounds)
    low, middle, high = np.quantile(found, (0, 0.5, 1)) * 1000
    size = 'x'.join(map(str, shape[:3]))
    print(f'| {name} | {size} | {middle:.1f} | {low:.1f}-{high:.1f} |')
  print(
    '\n| statistic | n | features | seconds | range |\n|---|---|---|---|---|'
  )
  for count, size in ((2000, 320), (2048, 400), (2048, 1408)):
    found = [_statistic(count, size) for _ in range(options.rounds)]
    low, middle, high = np.quantile(found, (0, 0.5, 1))
    told = f'{middle:.2f} | {low:.2f}-{high:.2f}'
    print(f'| Fréchet distance | {count} | {size} | {told} |', flush=True)


def _networks(weights):
  small, large = (16, 32, 32, 3), (16, 256, 256, 3)
  yield 'pixels (motion, flicker, drifts)', pixels.alone, small, 64
  yield 'pixels (motion, flicker, drifts)', pixels.alone, large, 8
  yield 'PSNR and SSIM', pixels.against_truth, small, 32
  yield 'PSNR and SSIM', pixels.against_truth, large, 4
  if measuring.SHIPPED_READER.is_file():
    reader = functools.partial(phys.make, measuring.SHIPPED_READER)
    yield 'motion reader (FD-phys)', reader, small, 64
  yield 'LPIPS', lpips.make, (16, 64, 64, 3), 2
  yield 'LPIPS', lpips.make, large, 1
  if weights:
    yield 'I3D (FVD)', lambda: fvd.make(weights), small, 4
    yield 'I3D (FVD)', lambda: fvd.make(weights), large, 4
    yield "i3d, XLA's own", lambda: _plain(weights), small, 1


def _plain(weights):
  """I3D with XLA's convolution of three dimensions."""

  def convolve(x, kernel, stride):
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (stride,) * 3,
      'SAME',
      dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'),
    )

  i3d.convolve = convolve
  return fvd.make(weights)


def _seconds(one, shape, each, rounds):
  """Of one clip, for each round."""
  rng = np.random.default_rng(0)
  clips = []
  for i in range(each):
    video = rng.integers(0, 256, shape, np.uint8)
    clips.append(
      measures.Clip(name=str(i), video=video, image=video[0], truth=video[::-1])
    )
  one.run(clips[:1])
  found = []
  for _ in range(rounds):
    start = time.perf_counter()
    one.run(clips)
    found.append((time.perf_counter() - start) / each)
  return found


def _statistic(count, size):
  rng = np.random.default_rng(0)
  real, ours = rng.normal(size=(2, count, size))
  start = time.perf_counter()
  frechet.value(frechet.fit(real), frechet.fit(ours))
  return time.perf_counter() - start


if __name__ == '__main__':
  main()
