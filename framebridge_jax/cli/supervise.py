"""--config.supervise=True: a run that is started again when it dies."""

import signal
import subprocess
import sys
import time

from absl import logging
from etils import epath

# Errors that a second try does not change: config or input, no whole
# checkpoint, numerics.
_FINAL = (0, 2, 3, 4)
_CHILD = (sys.executable, '-m', 'framebridge_jax.main')
_PATIENCE = 5
_LONGEST_WAIT = 60.0


class CrashLoopError(ValueError):
  """The run dies again and again without getting further."""

  exit_code = 5


def run(argv: list[str], workdir: epath.PathLike) -> int:
  """Runs the command line `argv` until it ends for good.

  After a crash it waits 1, 2, 4, ... seconds, a minute at most, and starts
  again.  SIGTERM and SIGINT are passed on, and the run's own end is awaited.

  Returns:
    The exit code of the last try.

  Raises:
    CrashLoopError: five tries in a row ended without a new checkpoint.
  """
  requests = _Requests()
  crashes = 0
  while True:
    newest = _newest_step(workdir)
    child = subprocess.Popen([*_CHILD, *argv])
    code = requests.pass_on_until_end(child)
    if code in _FINAL or requests.received:
      return code if code >= 0 else 128 - code
    crashes = 1 if _newest_step(workdir) > newest else crashes + 1
    if crashes >= _PATIENCE:
      raise CrashLoopError(
        f'the run ended {crashes} times in a row without a new checkpoint '
        f'(last exit code {code}, newest step {max(newest, 0)}); see its '
        f'messages above'
      )
    wait = min(2.0 ** (crashes - 1), _LONGEST_WAIT)
    logging.warning(
      'The run ended with exit code %d; starting it again in %.0f s', code, wait
    )
    if requests.wait(wait):
      return 128 + requests.received


def _newest_step(workdir):
  folder = workdir / 'checkpoints'
  steps = folder.iterdir() if folder.is_dir() else ()
  return max((int(p.name) for p in steps if p.name.isdigit()), default=-1)


class _Requests:
  """Signals to this process, handed to the child of the moment."""

  def __init__(self):
    self.received = 0
    self._child = None
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, self._note)

  def pass_on_until_end(self, child):
    self._child = child
    if self.received:  # it came while the child was being made
      child.send_signal(self.received)
    code = child.wait()
    self._child = None
    return code

  def wait(self, seconds):
    """Sleeps; True when a request came meanwhile."""
    end = time.monotonic() + seconds
    while not self.received and (left := end - time.monotonic()) > 0:
      time.sleep(min(left, 0.1))
    return bool(self.received)

  def _note(self, number, frame):
    del frame
    self.received = number
    if self._child is not None:
      self._child.send_signal(number)
