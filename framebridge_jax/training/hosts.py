"""Several processes that compute as one.

JAX's runtime joins them and would end all of them when one dies, but it does
not say who is missing.  So each process also holds a connection to the first,
from before the runtime starts until the end: the first knows who has come, and
all learn at once who is gone, and say so.  A machine that vanishes without
closing its connections is noticed by the runtime's heartbeats.

Where the processes are comes from the environment, of which the first that is
there counts:

  JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID     as they say
  SLURM_STEP_NODELIST, SLURM_JOB_ID, SLURM_NTASKS, SLURM_PROCID  a step of srun
  TPU_WORKER_HOSTNAMES, TPU_WORKER_ID                            a slice of TPUs

The first process must be reachable at its port, and at the next one.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from framebridge_jax.training import muster

HostError = muster.HostError


class Place(NamedTuple):
  """Where a process stands among all.

  Attributes:
    coordinator: `address:port` of the first.
    count: of all.
    index: its own number, from 0.
  """

  coordinator: str
  count: int
  index: int


def place(environ: Mapping[str, str]) -> Place | None:
  """What the environment says; None where there is one process alone.

  Raises:
    HostError: it says only a part, or no numbers.
  """
  for names, read in _SOURCES:
    if not environ.get(names[0]):
      continue
    missing = [name for name in names if not environ.get(name)]
    if missing:
      raise HostError(
        f'{names[0]} is set and {", ".join(missing)} is not; set all of '
        f'{", ".join(names)}, or none'
      )
    try:
      found = read(*(environ[name] for name in names))
    except ValueError:
      said = ', '.join(f'{name}={environ[name]!r}' for name in names)
      raise HostError(f'{said}: these name no process of several') from None
    if not 0 <= found.index < found.count:
      raise HostError(
        f'{names[0]} and what belongs to it tell of process {found.index} of '
        f'{found.count}; they count from 0'
      )
    return found if found.count > 1 else None
  return None


@contextlib.contextmanager
def joined(
  where: Place | None, *, wait: float, heartbeat: float
) -> Iterator[None]:
  """Computes with the other processes while the block runs.

  Call it before anything of JAX is computed.

  Args:
    where: this process stands; None: alone.
    wait: seconds within which all must have come.
    heartbeat: seconds of silence after which a process counts as dead.

  Raises:
    HostError: some have not come; they are named.
  """
  if where is None:
    yield
    return
  with muster.held(where.coordinator, where.count, where.index, wait=wait):
    if where.index:
      logging.set_verbosity(logging.WARNING)  # the first speaks for all
    jax.distributed.initialize(
      where.coordinator,
      where.count,
      where.index,
      cluster_detection_method='deactivate',
      initialization_timeout=round(wait),
      heartbeat_timeout_seconds=round(heartbeat),
      shutdown_timeout_seconds=round(heartbeat),
    )
    logging.info(
      'Joined %d processes with %d devices', where.count, jax.device_count()
    )
    yield


def first() -> bool:
  """Whether this process writes what one alone may write."""
  return jax.process_index() == 0


def any_says(flag: bool) -> bool:
  """Whether one of the processes says so; all must ask."""
  if jax.process_count() == 1:
    return flag
  return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def wait_for_all(name: str) -> None:
  """Returns when every process has called it; all give the same name."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def first_alone(name: str) -> Iterator[None]:
  """The first process goes through the block before the others begin."""
  if not first():
    wait_for_all(name)
  yield
  if first():
    wait_for_all(name)


def _explicit(address, count, index):
  if not re.fullmatch(r'.+:\d+', address):
    raise ValueError
  return Place(address, int(count), int(index))


def _slurm(job, count, index, nodes):
  # As node[003-007,9], node3 or a-1,b-2; the port is the job's own.
  match = re.match(r'([^,\[]+)(?:\[(\d+))?', nodes)
  if not match:
    raise ValueError
  port = _PORTS[0] + int(job) % (_PORTS[1] - _PORTS[0])
  return Place(f'{match[1]}{match[2] or ""}:{port}', int(count), int(index))


def _tpu(names, index):
  hosts = names.split(',')
  return Place(f'{hosts[0]}:{_PORTS[0]}', len(hosts), int(index))


_PORTS = 61440, 65534
_SOURCES = (
  (
    ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID'),
    _explicit,
  ),
  (
    ('SLURM_STEP_NODELIST', 'SLURM_JOB_ID', 'SLURM_NTASKS', 'SLURM_PROCID'),
    lambda nodes, job, count, index: _slurm(job, count, index, nodes),
  ),
  (('TPU_WORKER_HOSTNAMES', 'TPU_WORKER_ID'), _tpu),
)
