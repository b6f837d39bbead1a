"""Work shared among processes that begin without this one's libraries.

A fork would carry over what JAX and OpenGL hold open.
"""

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import process
from typing import TypeVar

Result = TypeVar('Result')

_AT_ONCE = 4  # calls that a worker is handed


class WorkerError(ValueError):
  """A worker was ended from outside."""


def in_order(
  function: Callable[[int], Result], count: int, *, workers: int
) -> Iterator[Result]:
  """Gives `function(0)`, ..., `function(count - 1)`, as `map` does.

  Args:
    function: Of a module, so that it can be sent to another process.
    count: How many calls.
    workers: How many processes.

  Raises:
    WorkerError: A process was ended.
  """
  with concurrent.futures.ProcessPoolExecutor(
    min(workers, count),
    mp_context=multiprocessing.get_context('spawn'),
    initializer=_end_with_parent,
  ) as pool:
    try:
      yield from pool.map(function, range(count), chunksize=_AT_ONCE)
    except process.BrokenProcessPool as error:
      raise WorkerError(
        'a worker was ended: for lack of memory, if nobody did it; ask for '
        f'fewer than {workers}, or guard the main module with '
        "if __name__ == '__main__'"
      ) from error


def _end_with_parent():
  """Leaves Ctrl-C to the parent, and ends when that was killed."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  parent = multiprocessing.parent_process()
  assert parent

  def watch():
    parent.join()
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()
