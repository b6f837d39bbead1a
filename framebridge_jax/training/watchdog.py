"""A run that stands still says where."""

import faulthandler
import sys


class Watchdog:
  """Writes every thread's stack to stderr when no step was taken for long.

  It runs beside Python (`faulthandler`), so it also sees a process that hangs
  inside a library.  It starts with the first `beat`: before it the step is
  compiled.
  """

  def __init__(self, seconds: float, *, end: bool):
    """Prepares it.

    Args:
      seconds: without a step; 0 never looks.
      end: whether the process then ends (exit code 1), for a supervisor to
        start it again.
    """
    self._seconds = seconds
    self._end = end

  def __enter__(self) -> 'Watchdog':
    return self

  def __exit__(self, *exception) -> None:
    faulthandler.cancel_dump_traceback_later()

  def beat(self) -> None:
    """Tells that a step was taken."""
    if self._seconds:
      faulthandler.dump_traceback_later(
        self._seconds, exit=self._end, file=sys.__stderr__
      )
