"""Measures every task, through the whole of sampling, against exact moments.

  PYTHONPATH=.:tests python benchmarks/oracle.py

The videos are Gaussian, of six frames, autoregressive with correlation 0.8 of
neighbours; the network answers with the exact conditional mean.  A task then
must give the conditional mean and covariance of the frames that it does not
know (`tests/gaussian_clips.py`).  65,536 clips an entry.  Ten minutes on a
busy CPU.
"""

import argparse
import time

import gaussian_clips
import jax.numpy as jnp
import numpy as np

import oracles
from framebridge_jax.samplers import table as samplers
from framebridge_jax.tasks import long_video, plans

SAMPLERS = ('ancestral', 'dbim', 'dbim2', 'heun', 'dpmpp_2m_sde')
STEPS = 128
FRAMES = gaussian_clips.FRAMES
VALUES = np.repeat(gaussian_clips.VALUES[None], 4, axis=0)
TASKS = {
  'i2v': {},
  'interpolate': {},
  'keyframes': {'known': '0 2 3'},
  'extend': {'overlap': 2},
  'transition': {'overlap': 2},
  'next_frame': {},
  'loop': {},
  'inpaint_time': {'missing': '1 4'},
}
LONG = {
  'extend, 10 frames': (long_video.extend, 2),
  'rolling, 8 frames': (long_video.roll, 6),
}


def main() -> None:
  """Prints a Markdown table: greatest error of mean and covariance."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--side', type=int, default=128)
  side = parser.parse_args().side
  start = time.perf_counter()
  _row('task', 'process', *SAMPLERS)
  _row(*['---'] * (2 + len(SAMPLERS)))
  for process in gaussian_clips.PROCESSES:
    for task, options in TASKS.items():
      plan = plans.TASKS[task](STEPS, FRAMES, **options)
      wanted = gaussian_clips.conditional(plans.known_frames(plan))
      cells = [
        _error(_draw(process, name, plan, VALUES, side).latents, *wanted)
        for name in SAMPLERS
      ]
      _row(task, process, *cells)
    for name, (walk, pieces) in LONG.items():
      cells = [_long(process, x, walk, pieces, side) for x in SAMPLERS]
      _row(name, process, *cells)
  plan = plans.generate(STEPS, FRAMES)
  mean = np.full(FRAMES, gaussian_clips.MEAN)
  cells = [
    _error(
      _draw('diffusion', name, plan, VALUES, side).latents,
      mean,
      gaussian_clips.covariance(),
    )
    for name in SAMPLERS
  ]
  _row('generate', 'diffusion', *cells)
  print(f'\n{time.perf_counter() - start:.0f} s with compilation')


def _draw(process, sampler, plan, source, side, **more):
  return gaussian_clips.draw(
    gaussian_clips.PROCESSES[process],
    samplers.SAMPLERS[sampler](),
    plan,
    source,
    side=side,
    **more,
  )


def _long(process, sampler, walk, pieces, side):
  """Windows that know two frames, behind two given ones."""

  def make(number, plan, source, carried=None):
    return _draw(
      process,
      sampler,
      plan,
      source,
      side,
      seed=number,
      carried=carried,
      steps=STEPS,
    )

  shape = (4, 2, side, side, 1)
  start = jnp.asarray(
    np.broadcast_to(VALUES[:, :2, None, None, None], shape), jnp.float32
  )
  made = walk(
    make,
    start,
    num_steps=STEPS,
    frames=FRAMES,
    handover=long_video.Handover(overlap=2),
  )
  clips = jnp.concatenate([start, *(next(made) for _ in range(pieces))], axis=1)
  frames = clips.shape[1]
  mean, cov = oracles.conditional(
    np.full(frames, gaussian_clips.MEAN),
    gaussian_clips.covariance(frames),
    (0, 1),
    np.append(VALUES[0, :2], np.zeros(frames - 2)),
  )
  return _error(clips, mean, cov)


def _error(clips, mean, cov):
  got_mean, got_cov = gaussian_clips.moments(clips)
  return (
    f'{np.abs(got_mean - mean).max():.3f} / {np.abs(got_cov - cov).max():.3f}'
  )


def _row(*cells):
  print(f'| {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
  main()
