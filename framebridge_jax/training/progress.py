"""What a run tells of itself between two looks: numbers, speed, waits."""

import contextlib
import datetime
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import tqdm
from absl import logging

from framebridge_jax.training import flops as flop_counts
from framebridge_jax.training import logging as run_logging
from framebridge_jax.training import step as steps

# The one array among a step's scalars: [bins, 2], a loss's sum and its count.
BY_TIME = 'loss_by_time'
_WAITS = ('input', 'checkpoint')
_LONG_WAIT = 0.2  # of the window, from where a wait for input is worth a word


class Progress:
  """Collects a window of steps, reports it, and keeps the bar.

  On a terminal there is a bar; in a pipe every window is one line.  Speed
  counts training only: not the compilation of the first step, not what is
  inside `paused`.

  Args:
    logger: gets every window.
    first: the step that the run stands at.
    num_steps: the last step.
    flops: of the matrix products of one step on all devices, None if unknown.
  """

  def __init__(
    self,
    logger: run_logging.Logger,
    *,
    first: int,
    num_steps: int,
    flops: float | None = None,
  ):
    self._logger = logger
    self._num_steps = num_steps
    self._flops = flops
    self._bar = tqdm.tqdm(
      initial=first, total=num_steps, unit='step', disable=None
    )
    self._compiled = False
    self._window: list[_Step] = []
    self._restart()

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *exception) -> None:
    self._bar.close()

  @contextlib.contextmanager
  def waiting(self, name: str) -> Iterator[None]:
    """Counts the time inside as the window's `NAME_seconds`."""
    start = time.perf_counter()
    try:
      yield
    finally:
      waited = time.perf_counter() - start
      self._waits[name] = self._waits.get(name, 0.0) + waited

  def add(
    self,
    step: int,
    scalars: steps.Scalars,
    *,
    frames: int,
    record: Mapping[str, str | int] | None = None,
  ) -> None:
    """Takes a dispatched step; nothing is fetched yet.

    Args:
      step: its number.
      scalars: its numbers, one array BY_TIME among them at most.
      frames: that it trained on.
      record: what else stands in the step's line of JSON.
    """
    if self._compiled:
      self._frames += frames
      self._timed += 1
    else:
      jax.block_until_ready(scalars)
      self._compiled = True
      self._restart()
    self._window.append(_Step(step, scalars, record or {}))
    self._bar.update(step - self._bar.n)

  def flush(self) -> list[dict[str, float]]:
    """Fetches the window, writes and reports it.

    Returns:
      Each step's numbers in order, finite or not; the loss by time as the
      names of `bin_means`.
    """
    if not self._window:
      return []
    fetched = jax.device_get([one.scalars for one in self._window])
    elapsed = time.perf_counter() - self._since
    by_time = [one.pop(BY_TIME) for one in fetched if BY_TIME in one]
    scalars = [{k: float(v) for k, v in one.items()} for one in fetched]
    bins = [bin_means(x) for x in by_time] or [{} for _ in scalars]
    numbers = {**self._speed(elapsed), **_memory()}
    self._logger.write(
      [one.number for one in self._window],
      scalars,
      numbers,
      seconds=elapsed if self._timed else 0.0,
      fields=[
        {**means, **one.record}
        for means, one in zip(bins, self._window, strict=True)
      ],
      shown=bin_means(np.sum(by_time, axis=0)) if by_time else {},
    )
    self._report(self._window[-1].number, scalars[-1]['loss'], numbers)
    self._window = []
    self._restart()
    return [x | means for x, means in zip(scalars, bins, strict=True)]

  @contextlib.contextmanager
  def paused(self) -> Iterator[list[dict[str, float]]]:
    """Flushes, gives what that returned, and leaves out the time inside."""
    flushed = self.flush()
    start = time.perf_counter()
    try:
      yield flushed
    finally:
      self._since += time.perf_counter() - start

  def _restart(self):
    self._frames = self._timed = 0
    self._waits: dict[str, float] = dict.fromkeys(_WAITS, 0.0)
    self._since = time.perf_counter()

  def _speed(self, elapsed):
    """What the window took; empty when it is the first step alone."""
    if not self._timed:
      return {}
    seconds = elapsed / self._timed
    speed = {
      'frames_per_second': self._frames / elapsed,
      'step_seconds': seconds,
    }
    for name, waited in self._waits.items():
      speed[f'{name}_seconds'] = waited
      speed[f'{name}_share'] = waited / elapsed
    if self._flops is not None:
      speed['flops_per_second'] = self._flops / seconds
      peak = flop_counts.peak(jax.devices()[0].device_kind)
      if peak is not None:
        speed['mfu'] = self._flops / seconds / (peak * jax.device_count())
    return speed

  def _report(self, step, loss, numbers):
    notes = ['compiling']
    eta: Any = 'unknown'
    if 'step_seconds' in numbers:
      notes = [f'{numbers["frames_per_second"]:.1f} frames/s']
      left = (self._num_steps - step) * numbers['step_seconds']
      eta = datetime.timedelta(seconds=round(left))
    if 'mfu' in numbers:
      notes.append(f'MFU {numbers["mfu"]:.1%}')
    if numbers.get('input_share', 0) > _LONG_WAIT:
      notes.append(f'waits for input {numbers["input_share"]:.0%} of the time')
    if not self._bar.disable:
      self._bar.set_postfix_str(', '.join([f'loss {loss:.4f}', *notes]))
      return
    logging.info(
      'step %d/%d  loss %.4f  %s  ETA %s',
      step,
      self._num_steps,
      loss,
      '  '.join(notes),
      eta,
    )


class _Step(NamedTuple):
  """A dispatched step; its scalars are still on the device."""

  number: int
  scalars: steps.Scalars
  record: Mapping[str, str | int]


def bin_means(by_time: np.ndarray) -> dict[str, float]:
  """Mean loss of each bin of t / T, as `loss_t/0.0-0.2` and so on.

  Args:
    by_time: sums and counts of frames [bins, 2]; bins without frames are left
      out.
  """
  bins = len(by_time)
  return {
    f'loss_t/{round(i / bins, 3)}-{round((i + 1) / bins, 3)}': float(
      total / count
    )
    for i, (total, count) in enumerate(by_time)
    if count
  }


def _memory():
  """Bytes of the fullest device; where it keeps no count, of the process."""
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  if not all('peak_bytes_in_use' in x for x in stats):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB.
    unit = 1 if sys.platform == 'darwin' else 1024
    return {'host_memory_peak_bytes': float(peak * unit)}
  return {
    'device_memory_bytes': float(max(x['bytes_in_use'] for x in stats)),
    'device_memory_peak_bytes': float(
      max(x['peak_bytes_in_use'] for x in stats)
    ),
  }
