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


class NoCheckpointError(ValueError):
  """There is no checkpoint where one was asked for."""

  exit_code = 3


class Restored(NamedTuple):
  """A checkpoint read back."""

  state: states.TrainState
  data_offset: int


class Checkpointer:
  """Saves and restores the training state of one run.

  Opened with `read_only` it changes nothing on disk: a run that is saving in
  the same workdir is not disturbed.
  """

  def __init__(
    self, workdir: pathlib.Path, *, keep: int = 1, read_only: bool = False
  ):
    """Opens `workdir/checkpoints`; the newest `keep` steps are kept."""
    self.folder = workdir.absolute() / 'checkpoints'
    self._manager = ocp.CheckpointManager(
      self.folder,
      options=ocp.CheckpointManagerOptions(
        max_to_keep=None if read_only else keep,
        cleanup_tmp_directories=not read_only,
        enable_async_checkpointing=True,
        create=not read_only,
        read_only=read_only,
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

  def restore_ema(self, like: PyTree, layout: jax.sharding.Sharding) -> PyTree:
    """Reads the newest step's averaged parameters alone.

    Args:
      like: their shapes; a checkpoint of another model is refused by Orbax.
      layout: where every array goes.

    Raises:
      NoCheckpointError: nothing has been committed.
    """
    abstract = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=layout), like
    )
    item = {'ema': abstract}
    restored = self._manager.restore(
      self._newest(),
      args=ocp.args.Composite(
        state=ocp.args.PyTreeRestore(
          item,
          restore_args=ocp.checkpoint_utils.construct_restore_args(item),
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
