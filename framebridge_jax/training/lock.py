"""One trainer a workdir."""

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import socket
from collections.abc import Iterator

from absl import logging
from etils import epath

from framebridge_jax import files


class LockedError(ValueError):
  """Another process trains in the workdir."""


@contextlib.contextmanager
def hold(workdir: epath.PathLike) -> Iterator[None]:
  """Keeps other trainers out while the block runs.

  Buckets know no locks: there a second trainer is not noticed, and a warning
  says so.

  The system lets go of the lock when its holder ends, however it ends; the
  file stays and tells who had it last.

  Raises:
    LockedError: somebody has it; the message says who.
    ValueError: the workdir cannot be written to.
  """
  if not files.is_local(workdir):
    logging.warning(
      '%s cannot be locked: see that no other run trains there', workdir
    )
    yield
    return
  path = pathlib.Path(workdir) / 'lock.json'
  try:
    file = path.open('a+')
  except OSError as error:
    raise ValueError(
      f'workdir {workdir} cannot be written to ({error.strerror}: {path}); '
      f'give another folder to --workdir'
    ) from None
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise LockedError(
        f'workdir {workdir} is being trained in ({path.read_text().strip()}); '
        f'end that run, or name another --workdir'
      ) from None
    except OSError as error:
      raise ValueError(
        f'{path} cannot be locked ({error.strerror}); the file system must '
        f'know flock'
      ) from None
    file.truncate(0)
    file.write(json.dumps(_holder()) + '\n')
    file.flush()
    yield


def _holder():
  now = datetime.datetime.now(datetime.UTC)
  return {
    'pid': os.getpid(),
    'host': socket.gethostname(),
    'since': now.isoformat(timespec='seconds'),
  }
