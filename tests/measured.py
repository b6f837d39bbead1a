"""Small clips, and a measure that counts what it is given."""

import numpy as np

from framebridge_jax.evaluation import cache, measures


def make_clips(count, frames=4, seed=0):
  rng = np.random.default_rng(seed)
  videos = rng.integers(0, 256, (count, frames, 6, 6, 3), np.uint8)
  return [
    measures.Clip(name=f'{i:03}', video=video, image=video[0], label=i)
    for i, video in enumerate(videos)
  ]


class Counting:
  """Measures mean and spread, and counts the clips that it was given."""

  def __init__(self, **changes):
    self.seen = 0
    self.measure = measures.Measure(
      name='means',
      digest='d' * 64,
      columns={'mean': slice(0, 1), 'std': slice(1, 2)},
      run=self._run,
      **changes,
    )

  def _run(self, clips):
    self.seen += len(clips)
    return np.array([[x.video.mean(), x.video.std()] for x in clips])


def table(clips, counting, *, folder=None, batch_size=3):
  tables = measures.measure(
    clips,
    [counting.measure],
    cache=cache.Cache(folder),
    batch_size=batch_size,
  )
  return tables['means']
