"""Reading checkpoints back, held against their manifests."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import orbax.checkpoint as ocp
from absl import logging
from jaxtyping import PyTree

from framebridge_jax.training import (
  digests,
  freezing,
  hosts,
  manifests,
  quarantine,
  sharding,
)
from framebridge_jax.training import state as states

Found = TypeVar('Found')


class NoCheckpointError(ValueError):
  """There is no whole checkpoint where one was asked for."""

  exit_code = 3


class Restored(NamedTuple):
  """A checkpoint read back."""

  state: states.TrainState
  data_offset: int


class Average(NamedTuple):
  """Averaged parameters, and the step they are of."""

  params: PyTree
  step: int


def newest_whole(
  manager: ocp.CheckpointManager,
  read: Callable[[int], Found],
  *,
  set_aside: bool,
) -> Found:
  """What `read` makes of the newest step that it does not find damaged.

  Args:
    manager: of the steps.
    read: gives what is wanted of a step.
    set_aside: whether damaged steps that are newer are moved to `damaged/`:
      training takes them again.

  Raises:
    NoCheckpointError: nothing was committed, or all of it is damaged.
    OtherModelError: of `read`; it is no damage.
  """
  folder = manager.directory
  damaged = {}
  for step in sorted(manager.all_steps(), reverse=True):
    try:
      found = read(step)
    except _NO_DAMAGE:
      raise
    except manifests.DamagedError as error:
      damaged[step] = manifests.reason(error)
    except Exception as error:  # noqa: BLE001  damage has many faces
      if jax.process_count() > 1:
        raise  # the others may be reading on, and do not know
      damaged[step] = manifests.reason(error)
    else:
      if damaged and set_aside:
        with hosts.first_alone('damaged steps'):
          quarantine.set_aside([folder / str(step) for step in damaged])
        manager.reload()
      return found
    logging.error(
      'Checkpoint %s is damaged: %s', folder / str(step), damaged[step]
    )
  if not damaged:
    raise NoCheckpointError(
      f'no checkpoint in {folder}; train first '
      f'(--mode=train --workdir=...) or name another --workdir'
    )
  reasons = '; '.join(f'step {step}: {why}' for step, why in damaged.items())
  raise NoCheckpointError(
    f'every checkpoint in {folder} is damaged ({reasons}); nothing was '
    f'changed; bring a copy of one back, or name another --workdir'
  )


def state(
  manager: ocp.CheckpointManager,
  step: int,
  like: states.TrainState,
  verify: bool,
) -> Restored:
  """A step's whole state in the shapes and layout of `like`.

  Raises:
    DamagedError: it is not as it was saved; Orbax may raise other errors.
    OtherModelError: it has other arrays.
  """
  folder = manager.directory / str(step)
  manifest = manifests.read(folder)
  manifests.compare(manifest, like, folder)
  read = manager.restore(
    step,
    args=ocp.args.Composite(
      state=ocp.args.StandardRestore(jax.tree.map(sharding.target, like)),
      record=ocp.args.JsonRestore(),
    ),
  )
  _hold_against(manifest, read['state'], verify)
  if digests.of_json(read['record']) != manifest['record']:
    raise manifests.DamagedError('record has not its digest')
  return Restored(read['state'], read['record']['data_offset'])


def average(
  manager: ocp.CheckpointManager,
  step: int,
  wanted: PyTree,
  name: str,
  verify: bool,
) -> Average:
  """A step's average of this name, in shapes and layout of `wanted`.

  Parameters that were frozen have no average, and are taken as they were.

  Raises:
    DamagedError, OtherModelError: as of `state`.
  """
  folder = manager.directory / str(step)
  manifest = manifests.read(folder)
  branch = f'ema/{name}/'
  frozen, averaged = freezing.split(
    wanted, lambda leaf: branch + leaf in manifest['arrays']
  )
  averaged = averaged or wanted  # if it has none of them it is compared whole
  manifests.compare(manifest, {'ema': {name: averaged}}, folder, branch=branch)
  manifests.compare(manifest, {'params': wanted}, folder, branch='params/')
  item = {'ema': {name: averaged}} | ({'params': frozen} if frozen else {})
  read = manager.restore(
    step,
    args=ocp.args.Composite(
      state=ocp.args.PyTreeRestore(
        item,
        restore_args=ocp.checkpoint_utils.construct_restore_args(item),
        partial_restore=True,
      )
    ),
  )
  _hold_against(manifest, read['state'], verify)
  found = read['state']
  return Average(
    freezing.over(found.get('params', {}), found['ema'][name]), step
  )


def _hold_against(manifest, tree, verify):
  found = digests.damage(manifest, tree) if verify else ''
  if hosts.any_says(bool(found)):
    raise manifests.DamagedError(found or 'another host has found damage')
  if not quarantine.finite(tree):
    raise manifests.DamagedError('it holds numbers that are not finite')


# What says nothing about the checkpoint: it may be whole and out of reach.
_NO_DAMAGE = (
  manifests.OtherModelError,
  MemoryError,
  PermissionError,
  jax.errors.JaxRuntimeError,
)
