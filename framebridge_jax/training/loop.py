"""The training loop: dispatch ahead, look back, save, go on."""

import contextlib
import dataclasses
import datetime
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
import tqdm
from absl import logging

from framebridge_jax.training import checkpoint, sharding
from framebridge_jax.training import logging as run_logging
from framebridge_jax.training import state as states
from framebridge_jax.training import step as steps


class NonFiniteError(ValueError):
  """The loss or the gradient is no longer a number."""

  exit_code = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Callback:
  """Called as `run(state, step)` after every `every`-th step and the last."""

  every: int
  run: Callable[[states.TrainState, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
  """How long to train, and how often to look up, in steps."""

  num_steps: int
  log_every: int
  checkpoint_every: int


def train(
  step_fn: Callable[..., tuple[states.TrainState, steps.Scalars]],
  state: states.TrainState,
  batches: Iterator[steps.Batch],
  *,
  schedule: Schedule,
  mesh: jax.sharding.Mesh,
  checkpointer: checkpoint.Checkpointer,
  logger: run_logging.Logger,
  data_offset: int,
  config: dict[str, Any],
  callbacks: Iterable[Callback] = (),
) -> states.TrainState:
  """Trains from the state's step to `schedule.num_steps`.

  `batches` must stand at batch `step + data_offset`.  Metrics are fetched
  once a window, so that the device never waits for the host; a window is
  looked at before any checkpoint that contains it, so that no checkpoint
  holds a state that followed a broken step.

  Raises:
    NonFiniteError: a loss or gradient norm is not finite.
  """
  first = int(state.step)
  # The state stays where it was born; the compiler might move it, and compile
  # the next step for the new layout.
  layout = jax.tree.map(lambda x: x.sharding, state)
  step_fn = jax.jit(step_fn, donate_argnums=0, out_shardings=(layout, None))
  with Progress(logger, first=first, num_steps=schedule.num_steps) as progress:
    for step in range(first + 1, schedule.num_steps + 1):
      batch = next(batches)
      state, scalars = step_fn(state, sharding.place_batch(batch, mesh))
      progress.add(step, scalars, frames=math.prod(batch['video'].shape[:2]))
      last = step == schedule.num_steps
      save = last or step % schedule.checkpoint_every == 0
      if save or step % schedule.log_every == 0:
        progress.flush()
      if save:
        checkpointer.save(
          state, step=step, data_offset=data_offset, config=config
        )
      for callback in callbacks:
        if last or step % callback.every == 0:
          with progress.paused():
            callback.run(state, step)
  checkpointer.wait()
  return state


class Progress:
  """Collects a window of steps, reports it, and keeps the bar.

  On a terminal there is a bar; in a pipe every window is one line.  Speed
  counts training only: not the compilation of the first step, not callbacks.
  """

  def __init__(self, logger: run_logging.Logger, *, first: int, num_steps: int):
    self._logger = logger
    self._num_steps = num_steps
    self._bar = tqdm.tqdm(
      initial=first, total=num_steps, unit='step', disable=None
    )
    self._steps: list[int] = []
    self._scalars: list[steps.Scalars] = []
    self._frames = 0
    self._since = time.perf_counter()
    self._rate: float | None = None
    self._compiled = False

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *exception) -> None:
    self._bar.close()

  def add(self, step: int, scalars: steps.Scalars, *, frames: int) -> None:
    """Takes a dispatched step; nothing is fetched yet."""
    if self._compiled:
      self._frames += frames
    else:
      jax.block_until_ready(scalars)
      self._compiled = True
      self._restart()
    self._steps.append(step)
    self._scalars.append(scalars)
    self._bar.update()

  def flush(self) -> None:
    """Fetches the window, checks that it is finite, and writes it."""
    if not self._steps:
      return
    fetched = jax.device_get(self._scalars)
    scalars = [{k: float(v) for k, v in one.items()} for one in fetched]
    elapsed = time.perf_counter() - self._since
    if self._frames:
      self._rate = self._frames / elapsed
    window = {} if self._rate is None else {'frames_per_second': self._rate}
    self._logger.write(self._steps, scalars, window)
    _check_finite(self._steps, scalars)
    self._report(scalars[-1], elapsed)
    self._steps, self._scalars = [], []
    self._restart()

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Keeps what happens inside out of the measured speed."""
    self.flush()
    yield
    self._restart()

  def _restart(self):
    self._frames = 0
    self._since = time.perf_counter()

  def _report(self, scalars, elapsed):
    step = self._steps[-1]
    rate = 'compiling' if self._rate is None else f'{self._rate:.1f} frames/s'
    if not self._bar.disable:
      self._bar.set_postfix_str(f'loss {scalars["loss"]:.4f}, {rate}')
      return
    left = (self._num_steps - step) * elapsed / len(self._steps)
    eta = datetime.timedelta(seconds=round(left))
    logging.info(
      'step %d/%d  loss %.4f  %s  ETA %s',
      step,
      self._num_steps,
      scalars['loss'],
      rate,
      eta,
    )


def _check_finite(numbers, scalars):
  for step, values in zip(numbers, scalars, strict=True):
    broken = [name for name, value in values.items() if not np.isfinite(value)]
    if broken:
      raise NonFiniteError(
        f'step {step}: {", ".join(broken)} is not finite ({values}); no '
        f'checkpoint was saved after the last good one; lower '
        f'optimizer.learning_rate or optimizer.clip_norm and run again'
      )
