"""Jobs of encoding with a stand-in for an autoencoder.

As a script it encodes slowly into the folder that it is given, to be killed.
"""

import sys
import time

import numpy as np
from etils import epath

from framebridge_jax.data import clips, latent_shards, video_io

SIZE, FACTOR = 8, 4
LONG = (9,) * 12
PLAN = {'scale': 0.5, 'factor': FACTOR, 'weights': 'abc', 'size': SIZE}


class Videos:
  """Records whose pixels tell the video and the frame; some are damaged."""

  def __init__(self, lengths, damaged=()):
    self._lengths = lengths
    self._damaged = damaged

  def __len__(self):
    return len(self._lengths)

  def __getitem__(self, index):
    n = self._lengths[index]
    level = (10 * index + np.arange(n))[:, None, None, None]
    pixels = np.broadcast_to(level, (n, SIZE, SIZE, 3)).astype(np.uint8)
    video = clips.Decoded(pixels)
    if index in self._damaged:
      video = Damaged()
    return {
      'video': video,
      'label': index % 2,
      'caption': f'video {index}',
      'name': f'{index}.mp4',
      'fps': 8.0,
    }


class Damaged:
  def __len__(self):
    return 12

  def read(self, indices, size):
    raise video_io.VideoError('torn.mp4 is cut off')


def shrunk(frames, caption):
  """A stand-in for an autoencoder: the mean over squares, in [-1, 1]."""
  x = frames.astype(np.float32) / 127.5 - 1
  x = x.reshape(len(x), SIZE // FACTOR, FACTOR, SIZE // FACTOR, FACTOR, 3)
  mean = x.mean((2, 4)).astype(np.float16)
  return {'mean': mean, 'logvar': np.full_like(mean, np.log(0.04))}


def job(folder, lengths=(5, 20, 9, 17, 4), **changes):
  return latent_shards.Job(
    **{
      'folder': epath.Path(folder),
      'split': 'train',
      'records': Videos(lengths),
      'class_names': ('even', 'odd'),
      'size': SIZE,
      'piece': 8,
      'per_shard': 2,
      **changes,
    }
  )


def encode(made, shards=None, make=shrunk):
  """A whole run: what is missing, and the manifest."""
  latent_shards.settle(made.folder, PLAN)
  shards = range(made.shards) if shards is None else shards
  done = latent_shards.missing(made, shards)
  for shard in done:
    latent_shards.write(made, shard, make)
  return done, latent_shards.finish(made, {})


def _slowly(frames, caption):
  time.sleep(0.05)
  return shrunk(frames, caption)


if __name__ == '__main__':
  encode(job(sys.argv[1], lengths=LONG), make=_slowly)
