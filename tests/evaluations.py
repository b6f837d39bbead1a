"""Evaluations by a protocol, small: a judge that knows nothing, short data."""

import pathlib

import jax
import numpy as np
import tiny

from configs import motion_reader
from framebridge_jax import jobs
from framebridge_jax.cli import configs, evaluate
from framebridge_jax.data import video_io
from framebridge_jax.porting import weights

# Moving digits stand for the real side.
SMALL = {
  'protocol': 'physics_motion',
  'real_set': 'moving_digits:train=48,test=20',
  'real': 8,
  'samples': 8,
  'several': 0,
  'draws': 4,
  'num_steps': 2,
  'num_show': 2,
}
FPS = 1 / 0.06  # of physics_motion


def reader(path: pathlib.Path, seed: int = 0) -> pathlib.Path:
  """An untrained motion reader in a weight file."""
  config = motion_reader.get_config()
  params = tiny.quick_jit(jobs.make_init(config))(jax.random.key(seed))
  weights.save(path, params, config.to_dict(), dtype=np.float32, facts={})
  return path


def run(workdir: pathlib.Path, **changes) -> None:
  """`--mode=evaluate`, in this process; `a__b` stands for a key `a.b`."""
  config = configs.for_mode('evaluate', None, workdir)
  flat = {name.replace('__', '.'): value for name, value in changes.items()}
  config.update_from_flattened_dict(
    {k: str(v) if isinstance(v, pathlib.Path) else v for k, v in flat.items()}
  )
  evaluate.run(config, workdir)


def film(path: pathlib.Path, frames=16, side=32, fps=FPS, seed=0) -> None:
  """A video of a square that drifts over a ground of its own."""
  rng = np.random.default_rng(seed)
  video = np.empty((frames, side, side, 3), np.uint8)
  video[:] = rng.integers(0, 120, 3)
  start, step = rng.uniform(0, side - 8, 2), rng.uniform(-1, 1, 2)
  for t in range(frames):
    y, x = np.clip(start + t * step, 0, side - 8).astype(int)
    video[t, y : y + 8, x : x + 8] = 230
  path.parent.mkdir(parents=True, exist_ok=True)
  video_io.write_mp4(path, video, fps)


def films(folder: pathlib.Path, count: int = 8, **changes) -> pathlib.Path:
  """A folder of such videos."""
  for i in range(count):
    film(folder / f'{i}.mp4', seed=i, **changes)
  return folder
