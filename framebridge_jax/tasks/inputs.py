"""What sampling refuses before it compiles: wrong arrays, and wrong starts."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from framebridge_jax import arrays, denoiser


def check_clips(source: Any, label: Any, keys: Any, null_label: Any) -> None:
  """Checks what there is one of for each clip.

  Raises:
    ValueError: an argument has another shape, or holds other things.
  """
  hint = '; a codec makes latents'
  arrays.require('source', source, 'floating', arrays.CLIPS, hint)
  clips = len(source)
  arrays.require('label', label, 'integer', (clips,), '; one for each clip')
  hint = '; make them with generate.sample_keys'
  arrays.require('keys', keys, 'key', (clips,), hint)
  arrays.require('null_label', np.asarray(null_label), 'integer', ())


def check_task(task: Any, *, frames: int) -> None:
  """Checks that a task is for clips of so many frames.

  Raises:
    ValueError: its plan has another shape, a given frame is outside, or its
      grid is no function.
  """
  hint = '; a column for each frame of source'
  arrays.require('task.plan', task.plan, 'floating', ('rows', frames), hint)
  if any(i not in range(frames) for i in task.given or ()):
    raise ValueError(
      f'task.given is {task.given}, want frames from 0 to {frames - 1}'
    )
  if not callable(task.grid):
    raise ValueError(
      f'task.grid is {type(task.grid).__name__}, want a function of progress; '
      f'the rows of samplers.grids.GRIDS make one'
    )
  _check_motion(task.motion, task.conditioning)


def check_start(
  model: denoiser.Denoiser, task: Any, given: np.ndarray, guide: Any
) -> None:
  """Checks that there is something to start from.

  Raises:
    ValueError: a bridge has no given frame or is guided by its history, or
      the prediction says nothing where the plan starts.
  """
  pulled = model.process.marginal(jnp.full((1, 1), model.process.schedule.T)).b
  if pulled != 0 and not given.any():
    raise ValueError(
      'no frame is given, so a bridge has no prior to start from; give a task '
      'with given frames, or a diffusion model'
    )
  if pulled != 0 and guide.history != 1:
    raise ValueError(
      f'history guidance is {guide.history:g} on a bridge, whose prior is made '
      f'of the known frames; set it to 1, or use a diffusion model'
    )
  start = task.grid(task.plan[:1])[:, task.plan[0] < 1].astype(np.float32)
  deaf = (start > 0) & ~np.asarray(model.hears(jnp.asarray(start)))
  if deaf.any():
    raise ValueError(
      f'no signal is left at t = {start[deaf].max():g}, where a prediction of '
      f'noise says nothing about the clip; start below it, or use a model '
      f'that predicts v or x0'
    )


def _check_motion(motion, conditioning):
  """Numbers that a clip can be made with, and a stride that can be heard."""
  for name in ('temperature', 'start_noise', 'image_noise'):
    value = getattr(motion, name)
    if not 0 <= value < float('inf'):
      raise ValueError(f'{name} is {value:g}, want a number of at least 0')
  if not 0 <= motion.known_time < 1:
    raise ValueError(
      f'known_time is {motion.known_time:g}, want a share of the way from 0 '
      f'to below 1'
    )
  if motion.stride is not None and conditioning.stride is None:
    raise ValueError(
      f'stride is {motion.stride:g} and this model hears none; leave it out, '
      f'or train one with model.stride=True'
    )
