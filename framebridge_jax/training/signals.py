"""Requests to end: noticed between two steps, never in the middle of one."""

import signal
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class InterruptedRunError(ValueError):
  """The run was asked to end, and has saved its step.

  Attributes:
    exit_code: 128 and the signal's number, as shells have it.
  """

  def __init__(self, message: str, number: int):
    super().__init__(message)
    self.exit_code = 128 + number


class Requests:
  """Holds SIGTERM and SIGINT back while the block runs.

  A second signal changes nothing: the save that the first one asked for goes
  on to its end.  When the block ends with `InterruptedRunError`, signals stay
  ignored, for a second one on the process's way out would change its exit
  code.  Outside the main thread nothing is held back.  Of several processes
  JAX's runtime holds SIGTERM back, and all end after the same step.

  Attributes:
    received: the first signal's number, None before it.
  """

  def __init__(self) -> None:
    self.received: int | None = None
    self._before: dict[int, object] = {}

  def __enter__(self) -> 'Requests':
    alone = jax.process_count() == 1
    if alone and threading.current_thread() is threading.main_thread():
      for number in _SIGNALS:
        self._before[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, kind: type | None, *exception) -> None:
    ending = kind is not None and issubclass(kind, InterruptedRunError)
    for number, handler in self._before.items():
      signal.signal(number, signal.SIG_IGN if ending else handler)

  def due(self, step: int) -> int | None:
    """The signal for which the run is to end after this step, if any."""
    if jax.process_count() == 1 or self.received is not None:
      return self.received
    if multihost_utils.reached_preemption_sync_point(step):
      self.received = signal.SIGTERM
    return self.received

  def _note(self, number: int, frame: FrameType | None) -> None:
    del frame
    if self.received is None:
      self.received = number
