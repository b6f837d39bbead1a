"""Measures how fast cached latents are read, and that memory stays flat.

  python benchmarks/latents.py                        # 2 minutes
  python benchmarks/latents.py --clips 2000 --text 77 768

A cache of random latents of 16 frames of 32 x 32 x 4, float16 moments as
`--mode=encode` keeps them, is written to a temporary folder and read back:
record by record in one thread (modes, and drawn), and in shuffled batches of 32
through the pipeline of training, with threads and with processes.  `bare` reads
the same bytes by ArrayRecord alone.  A line is the median of the rounds with
their range; they take turns.  At the end 10,000 clips are read, and the
resident set is printed on the way.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import numpy as np
import psutil
from absl import flags
from array_record.python import array_record_data_source
from etils import epath

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from framebridge_jax.data import (  # noqa: E402
  clips,
  latent_shards,
  pipeline,
  sources,
  visits,
)

FRAMES, SIDE, CHANNELS, FACTOR = 16, 32, 4, 8
BATCH = 32


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--clips', type=int, default=1000)
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--text', type=int, nargs=2, help='tokens and width')
  options = parser.parse_args()
  flags.FLAGS.mark_as_parsed()  # grain's workers read absl flags
  with tempfile.TemporaryDirectory() as home:
    _write(epath.Path(home), options.clips, options.text)
    source = sources.open_source(
      'latents',
      'train',
      data_dir=home,
      path=home,
      size=SIDE * FACTOR,
      frames=FRAMES,
      stride=1,
      options={},
    )
    ways = {
      'bare': lambda: _bare(home),
      'records, modes': lambda: _records(source, draw=False),
      'records, drawn': lambda: _records(source, draw=True),
    }
    for workers in (0, 2):
      for draw in (False, True):
        name = f'batches, {"drawn" if draw else "modes"}, {workers} workers'
        ways[name] = lambda w=workers, d=draw: _batches(source, w, d)
    rates = {name: [] for name in ways}
    for _ in range(options.rounds):
      for name, way in ways.items():
        rates[name].append(way())
    print('| read | clips/s |\n|---|---|')
    for name, found in rates.items():
      middle, low, high = np.median(found), min(found), max(found)
      print(f'| {name} | {middle:.0f} ({low:.0f}-{high:.0f}) |')
    _read_many(source)


def _write(folder, count, text):
  rng = np.random.default_rng(0)
  shape = (FRAMES, SIDE, SIDE, CHANNELS)

  def make(frames, caption):
    del frames, caption
    arrays = {
      name: rng.normal(size=shape).astype(np.float16)
      for name in ('mean', 'logvar')
    }
    if text:
      arrays['text'] = rng.normal(size=text).astype(np.float16)
    return arrays

  job = latent_shards.Job(
    folder=folder,
    split='train',
    records=_Blank(count),
    class_names=('none',),
    size=8,
    piece=FRAMES,
    per_shard=64,
  )
  latent_shards.settle(folder, {'scale': 0.18215, 'factor': FACTOR})
  for shard in range(job.shards):
    latent_shards.write(job, shard, make)
  latent_shards.finish(job, {})


class _Blank:
  """Clips of a few grey pixels: what is kept of them is made up."""

  def __init__(self, count):
    self._count = count

  def __len__(self):
    return self._count

  def __getitem__(self, index):
    pixels = np.zeros((FRAMES, 8, 8, 3), np.uint8)
    return {'video': clips.Decoded(pixels), 'label': 0, 'name': str(index)}


def _bare(home):
  """Bytes of records in a random order."""
  shards = sorted(pathlib.Path(home).glob('*.array_record'))
  rows = array_record_data_source.ArrayRecordDataSource(shards)
  order = np.random.default_rng(0).permutation(len(rows)).tolist()
  begin = time.perf_counter()
  for number in order:
    rows[number]
  return len(order) / (time.perf_counter() - begin)


def _records(source, *, draw):
  rng = np.random.default_rng(0)
  order = rng.permutation(len(source.records)).tolist()
  window, size = range(FRAMES), SIDE * FACTOR
  begin = time.perf_counter()
  for number in order:
    video = source.records[number]['video']
    video.draw(window, size, rng) if draw else video.read(window, size)
  return len(order) / (time.perf_counter() - begin)


def _batches(source, workers, draw, count=40):
  look = visits.Look(size=SIDE * FACTOR, frames=FRAMES, stride=1, draw=draw)
  reading = pipeline.Reading(num_workers=workers)
  with pipeline.batches(
    source, look, seed=0, batch_size=BATCH, reading=reading
  ) as stream:
    # What lies ready is not counted.
    for _ in range(max(1, workers) * reading.prefetch):
      next(stream)
    begin = time.perf_counter()
    for _ in range(count):
      next(stream)
    return count * BATCH / (time.perf_counter() - begin)


def _read_many(source, count=10_000):
  process, begin = psutil.Process(), time.perf_counter()
  for number in range(count + 1):
    if number % (count // 10) == 0:
      rss = process.memory_info().rss / 2**20
      seconds = time.perf_counter() - begin
      print(f'{number} clips read: {rss:.1f} MB, {seconds:.0f} s', flush=True)
    record = source.records[number % len(source.records)]
    record['video'].read(range(FRAMES), SIDE * FACTOR)


if __name__ == '__main__':
  main()
