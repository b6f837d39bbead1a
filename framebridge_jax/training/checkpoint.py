"""Checkpoints: `{params, ema, opt_state, step, data_offset, config}`.

One commit of Orbax holds all of it.  Saving is asynchronous; a step counts
only once Orbax has committed it, so a killed run resumes from the last whole
one and leftovers of an unfinished save are removed at the next start.
"""

import pathlib
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from absl import logging
from jaxtyping import PyTree

from framebridge_jax import version
from framebridge_jax.training import state as states


class NoCheckpointError(LookupError):
  """There is no checkpoint where one was asked for."""


class Restored(NamedTuple):
  """A checkpoint read back."""

  state: states.TrainState
  data_offset: int


class Checkpointer:
  """Saves and restores the training state of one run."""

  def __init__(self, workdir: pathlib.Path, *, keep: int):
    """Opens `workdir/checkpoints`; the newest `keep` steps are kept."""
    self.folder = workdir.absolute() / 'checkpoints'
    self._manager = ocp.CheckpointManager(
      self.folder,
      options=ocp.CheckpointManagerOptions(
        max_to_keep=keep,
        cleanup_tmp_directories=True,
        enable_async_checkpointing=True,
      ),
    )

  def __enter__(self) -> 'Checkpointer':
    return self

  def __exit__(self, *exception) -> None:
    self._manager.close()

  @property
  def latest_step(self) -> int | None:
    """The newest committed step."""
    return self._manager.latest_step()

  def save(
    self,
    state: states.TrainState,
    *,
    step: int,
    data_offset: int,
    config: dict[str, Any],
  ) -> None:
    """Starts saving; an error of the previous save surfaces here."""
    record = {
      'step': step,
      'data_offset': data_offset,
      'config': config,
      'version': version.__version__,
    }
    self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(state),
        record=ocp.args.JsonSave(record),
      ),
    )

  def wait(self) -> None:
    """Returns when the save under way is committed."""
    self._manager.wait_until_finished()

  def restore(self, like: states.TrainState) -> Restored:
    """Reads the newest step into the shapes and layout of `like`.

    Raises:
      NoCheckpointError: nothing has been committed.
    """
    step = self._newest()
    abstract = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
      like,
    )
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract),
        record=ocp.args.JsonRestore(),
      ),
    )
    logging.info('Restored step %d from %s', step, self.folder)
    return Restored(restored['state'], restored['record']['data_offset'])

  def restore_ema(self) -> PyTree:
    """Reads the newest step's averaged parameters, on one device.

    Raises:
      NoCheckpointError: nothing has been committed.
    """
    step = self._newest()
    metadata = self._manager.item_metadata(step)['state']
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
      {'ema': metadata['ema']},
    )
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.PyTreeRestore(
          abstract,
          restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
          partial_restore=True,
        )
      ),
    )
    return restored['state']['ema']

  def _newest(self):
    step = self.latest_step
    if step is None:
      raise NoCheckpointError(
        f'no checkpoint in {self.folder}; train first '
        f'(--mode=train --workdir=...) or name another --workdir'
      )
    return step
