"""The training loop: dispatch ahead, look back, save, go on."""

import dataclasses
import hashlib
import math
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from framebridge_jax.training import (
  checkpoint,
  guards,
  profiling,
  progress,
  quarantine,
  sharding,
  signals,
  watchdog,
)
from framebridge_jax.training import logging as run_logging
from framebridge_jax.training import state as states
from framebridge_jax.training import step as steps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Callback:
  """Called as `run(state, step)` after every `every`-th step and the last.

  What it gives, if anything, are numbers that a checkpoint is chosen by.
  """

  every: int
  run: Callable[[states.TrainState, int], Mapping[str, float] | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
  """How long to train, and how often to look up, in steps."""

  num_steps: int
  log_every: int
  checkpoint_every: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Saving:
  """Where states go, and what is written beside them.

  Attributes:
    checkpointer: saves them.
    data_offset: batch `step + data_offset` is next after step `step`.
    config: of the run.
    stop_on_error: whether a save that fails ends the run; else it is told.
  """

  checkpointer: checkpoint.Checkpointer
  data_offset: int
  config: Mapping[str, Any]
  stop_on_error: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch:
  """What looks on while a run trains.

  Attributes:
    guard: reads the reports of the steps.
    dog: tells when no step is taken.
    requests: to end.
    window: of steps that are profiled.
  """

  guard: guards.Guard
  dog: watchdog.Watchdog
  requests: signals.Requests
  window: profiling.Window | None = None


def train(
  step_fn: steps.Step,
  state: states.TrainState,
  batches: Iterator[guards.HostBatch],
  *,
  schedule: Schedule,
  mesh: jax.sharding.Mesh,
  saving: Saving,
  watch: Watch,
  logger: run_logging.Logger,
  ahead: Callable[[Any], Any] = lambda batch: batch,
  flops: float | None = None,
  callbacks: Iterable[Callback] = (),
) -> states.TrainState:
  """Trains from the state's step to `schedule.num_steps`.

  `batches` must stand at batch `step + data_offset`; `ahead` is done to a
  batch on the devices, before the step.  Metrics are fetched
  once a window, so that the device never waits for the host; a window is
  looked at before any checkpoint that contains it.

  Raises:
    guards.BadRegionError: too many steps in a row changed nothing, or the
      state is no longer finite.
    checkpoint.SaveError: a checkpoint could not be written, if that ends it.
    signals.InterruptedRunError: the run was asked to end; its step is saved.
  """
  first = int(state.step)
  run = _Run(schedule, saving, watch, logger)
  run_step = steps.jitted(step_fn, state)
  with progress.Progress(
    logger, first=first, num_steps=schedule.num_steps, flops=flops
  ) as meter:
    for step in range(first + 1, schedule.num_steps + 1):
      run.before(step)
      with meter.waiting('input'):
        batch = next(batches)
      state, scalars = run_step(
        state, ahead(sharding.place_batch(batch, mesh)), run.position(step)
      )
      meter.add(
        step,
        scalars,
        frames=math.prod(batch['video'].shape[:2]),
        record={'batch': digest(batch), **_replaced(batch)},
      )
      run.after(step, meter)
      numbers: dict[str, float] = {}
      for callback in callbacks:
        if step == schedule.num_steps or step % callback.every == 0:
          run.look_back(step, meter)
          with meter.paused():
            numbers |= callback.run(state, step) or {}
      run.save_if_due(step, state, meter, numbers)
      run.end_if_asked(step, state, meter)
    run.finish()
  return state


def digest(batch: guards.HostBatch) -> str:
  """Hash of a batch's content, by which two runs' data are compared."""
  content = hashlib.blake2b(digest_size=8)
  for name in sorted(batch):
    content.update(np.ascontiguousarray(batch[name]))
  return content.hexdigest()


def _replaced(batch):
  """How many clips are shown in the place of damaged ones, if any."""
  count = int(np.sum(batch.get('replaced', 0)))
  return {'replaced': count} if count else {}


class _Run:
  """What happens beside the steps."""

  def __init__(self, schedule, saving, watch, logger):
    self._schedule = schedule
    self._saving = saving
    self._watch = watch
    self._logger = logger
    self._saved: int | None = None
    self._recent: list[Mapping[str, float]] = []

  def position(self, step):
    return np.int32(step - 1 + self._saving.data_offset)

  def before(self, step):
    if self._watch.window:
      self._watch.window.before(step)

  def after(self, step, meter):
    """Looks back where it is due."""
    self._watch.dog.beat()
    if self._watch.window:
      self._watch.window.after(step)
    self._checked(self._saving.checkpointer.check)
    if self._saves(step) or step % self._schedule.log_every == 0:
      self.look_back(step, meter)

  def save_if_due(self, step, state, meter, numbers):
    if self._saves(step):
      last = step == self._schedule.num_steps
      self._save(step, state, meter, numbers, must=last)

  def _saves(self, step):
    last = step == self._schedule.num_steps
    return last or step % self._schedule.checkpoint_every == 0

  def look_back(self, step, meter):
    """Fetches the window and judges it."""
    rows = meter.flush()
    if rows:
      self._recent = rows
      self._watch.guard.judge(rows, step, self._saving.data_offset)

  def end_if_asked(self, step, state, meter):
    number = self._watch.requests.due(step)
    if number is None:
      return
    self.look_back(step, meter)
    if self._saved != step:
      self._save(step, state, meter, {}, must=True)
    self._saving.checkpointer.wait()
    raise signals.InterruptedRunError(
      f'{signal.Signals(number).name}: step {step} is saved in '
      f'{self._saving.checkpointer.folder}; the same command goes on there',
      number,
    )

  def finish(self):
    """The last save must be there; a failure ends the run in any case."""
    self._saving.checkpointer.wait()

  def _save(self, step, state, meter, numbers, *, must):
    checkpointer = self._saving.checkpointer
    taken = [row for row in self._recent if not row['skipped']]
    self._logger.bring(now=True)  # a checkpoint is not ahead of its log
    with meter.waiting('checkpoint'):
      self._checked(checkpointer.wait)
      try:
        started = self._checked(
          checkpointer.save,
          state,
          must=must,
          step=step,
          data_offset=self._saving.data_offset,
          config=self._saving.config,
          metrics=run_logging.means(taken) | numbers,
        )
      except quarantine.NonFiniteStateError as error:
        position = int(self.position(step))
        raise guards.BadRegionError(str(error), position) from None
    if started:
      self._saved = step

  def _checked(self, act, *args, must=False, **kwargs):
    """Whether it went well; an error that may be borne is told."""
    try:
      act(*args, **kwargs)
    except checkpoint.SaveError as error:
      if must or self._saving.stop_on_error:
        raise
      logging.error('%s; training goes on', error)
      return False
    return True
