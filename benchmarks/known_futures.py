"""Scores answers that are known to be right or wrong on true futures.

  python benchmarks/known_futures.py --cache runs/motion_reader/data

Split `multi` of physics_motion, 64 first frames with 16 true futures each, and
four answers: other true futures, the mean of all true futures, copies of the
first frame, and the futures of the next scene.  Takes 6 minutes on two busy
cores, after the clips are rendered.
"""

import argparse
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from framebridge_jax.cli import bench, measuring  # noqa: E402
from framebridge_jax.data import sources  # noqa: E402
from framebridge_jax.evaluation import (  # noqa: E402
  cache,
  conditional,
  measures,
  phys,
  protocols,
  sides,
)


def main() -> None:
  """Prints a row for each answer."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--cache', type=pathlib.Path, required=True)
  options = parser.parse_args()
  truth = _true_clips(options.cache)
  futures = truth.shape[1]
  judge = phys.make(measuring.SHIPPED_READER)
  mean = truth.mean(axis=1, keepdims=True).round().astype(np.uint8)
  answers = {
    'mean of the true futures': mean.repeat(futures, 1),
    'copies of the first frame': truth[:, :, :1].repeat(truth.shape[2], 2),
    "another scene's futures": np.roll(truth, 1, axis=0),
  }
  whole = _several(judge, truth)
  found = {
    name: conditional.scores(whole, _several(judge, clips), draws=0, seed=0)
    for name, clips in answers.items()
  }
  kinds = conditional.KINDS
  print(f'{len(truth)} first frames, {futures} true futures of each\n')
  print(f'| answer | {" | ".join(x.title for x in kinds.values())} |')
  print('|---' * (1 + len(kinds)) + '|')
  floor = next(iter(found.values()))
  _line('other true futures', [floor[name]['floor'] for name in kinds])
  for answer, scores in found.items():
    _line(answer, [scores[name]['value'] for name in kinds])


def _line(name, values):
  print(f'| {name} | {" | ".join(f"{x:.3g}" for x in values)} |')


def _true_clips(folder):
  """Clips [scenes, futures, f, h, w, c]."""
  protocol = protocols.PROTOCOLS['physics_motion']
  (row,) = sources.parse(protocol.dataset)
  source = sources.open_source(
    row.name,
    bench.MULTI,
    data_dir=folder,
    size=protocol.size,
    frames=protocol.frames,
    stride=protocol.stride,
    options=row.options,
  )
  scenes, futures = sides.futures_of(source)
  reader = sides.Reader(source=source, protocol=protocol)
  clips = [clip.video for clip in reader.clips(np.arange(scenes * futures))]
  return np.stack(clips).reshape(scenes, futures, *clips[0].shape)


def _several(judge, clips):
  flat = clips.reshape(-1, *clips.shape[2:])
  named = [
    measures.Clip(name=f'{i:05}', video=np.ascontiguousarray(video))
    for i, video in enumerate(flat)
  ]
  table = measures.measure(named, [judge], cache=cache.Cache(), batch_size=256)[
    judge.name
  ]
  features = table.column('features').reshape(*clips.shape[:2], -1)
  return conditional.Several(features, clips)


if __name__ == '__main__':
  main()
