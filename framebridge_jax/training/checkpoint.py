"""Checkpoints: `{params, ema, opt_state, ...}`, a record, and their digests.

One commit of Orbax holds all of it.  Saving is asynchronous; a step counts
only once Orbax has committed it, so a killed run resumes from the last whole
one.  What is read is held against the digests of what was saved: a damaged
step is named and passed over for the newest whole one.
"""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jaxtyping import PyTree

from framebridge_jax import files, version
from framebridge_jax.training import (
  digests,
  hosts,
  manifests,
  quarantine,
  restoring,
  retention,
  sharding,
)
from framebridge_jax.training import state as states


class SaveError(ValueError):
  """A checkpoint could not be written."""

  exit_code = 1


class Checkpointer:
  """Saves and restores the training state of one run.

  Opened with `read_only` it changes nothing on disk: a run that is saving in
  the same workdir is not disturbed.
  """

  def __init__(
    self,
    workdir: epath.PathLike,
    *,
    keep: retention.Keep = retention.LAST_TWO,
    verify: bool = True,
    read_only: bool = False,
  ):
    """Opens `workdir/checkpoints`.

    Args:
      workdir: of the run.
      keep: which checkpoints stay.
      verify: whether what is read is held against its digests.
      read_only: whether nothing may change.

    Raises:
      ValueError: nothing could be saved under such a path.
    """
    self.folder = files.absolute(workdir) / 'checkpoints'
    self._verify = verify
    self._read_only = read_only
    if not read_only and hosts.first():
      retention.refuse_patterns(self.folder)
      quarantine.set_aside_metrics(self.folder)
    self._saving: int | None = None
    self._manager = ocp.CheckpointManager(
      self.folder,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=None if read_only else keep.policy(),
        best_fn=keep.value if keep.best else None,
        best_mode='min',
        cleanup_tmp_directories=not read_only,
        enable_async_checkpointing=True,
        create=not read_only,
        read_only=read_only,
      ),
    )
    if hosts.first():
      retention.warn_of_strangers(self.folder)

  def __enter__(self) -> 'Checkpointer':
    return self

  def __exit__(self, kind, error, traceback) -> None:
    try:
      self.wait()
    except SaveError as failed:
      if error is None:
        raise
      logging.error('%s', failed)  # what ended the run is told by its end
    finally:
      self._manager.close()
      self._clear()

  @property
  def latest_step(self) -> int | None:
    """The newest committed step, whole or damaged."""
    return self._manager.latest_step()

  def save(
    self,
    state: states.TrainState,
    *,
    step: int,
    data_offset: int,
    config: Mapping[str, Any],
    metrics: Mapping[str, float] | None = None,
  ) -> None:
    """Starts saving; `check` tells how it went.

    Args:
      state: may be donated as soon as this returns.
      step: its step.
      data_offset: batch `step + data_offset` comes next.
      config: written beside the arrays.
      metrics: what `Keep.best` chooses by.

    Raises:
      quarantine.NonFiniteStateError: it was put into `bad/`.
      SaveError: this save cannot start, or the one before it failed.
    """
    self.wait()
    self._clear()
    if not quarantine.finite(state):
      path = quarantine.keep_bad(self.folder.parent, state, step)
      raise quarantine.NonFiniteStateError(
        f'step {step}: parameters or moments are not finite; they are in '
        f'{path} and not among the checkpoints, of which the last is '
        f'{self.latest_step}'
      )
    record = {
      'step': step,
      'data_offset': data_offset,
      'config': json.loads(json.dumps(config)),
      'version': version.__version__,
    }
    self._saving = step
    with self._failures_of(step):
      # Orbax would make it anew; a bucket knows no empty folders.
      if files.is_local(self.folder) and not self.folder.is_dir():
        raise FileNotFoundError(f'{self.folder} is gone')
      started = self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state),
          record=ocp.args.JsonSave(record),
          digests=manifests.SaveDigests(digests.fetch(state), record),
        ),
        metrics=dict(metrics or {}),
      )
      if not started:  # Orbax says no more than that
        raise FileExistsError(f'step {self.latest_step} is there already')

  def check(self) -> None:
    """Raises SaveError when the save under way has failed; does not wait."""
    if self._saving is not None and not self._manager.is_saving_in_progress():
      self.wait()

  def wait(self) -> None:
    """Returns when the save under way is committed.

    Raises:
      SaveError: it failed; nothing of it is left.
    """
    if self._saving is None:
      return
    step, self._saving = self._saving, None
    with self._failures_of(step):
      self._manager.wait_until_finished()
      self._manager.check_for_errors()

  def expect(self, wanted: states.TrainState) -> None:
    """Compares the newest step with a model, before anything is compiled.

    Raises:
      OtherModelError: they have not the same arrays.
    """
    if self.latest_step is None:
      return
    try:
      manifest = manifests.read(self._of(self.latest_step))
    except manifests.DamagedError:
      return  # `restore` will name it
    manifests.compare(manifest, wanted, self._of(self.latest_step))

  def restore(self, like: states.TrainState) -> restoring.Restored:
    """Reads the newest whole step into the shapes and layout of `like`.

    Damaged steps that are newer are named, and moved to `damaged/` beside the
    checkpoints.

    Raises:
      NoCheckpointError: nothing was committed, or all of it is damaged.
      OtherModelError: the newest step is of another model.
    """
    restored = restoring.newest_whole(
      self._manager,
      lambda step: restoring.state(self._manager, step, like, self._verify),
      set_aside=not self._read_only,
    )
    logging.info('Restored step %d of %s', restored.state.step, self.folder)
    return restored

  def restore_average(
    self,
    like: PyTree,
    layout: jax.sharding.Sharding,
    *,
    decay: float,
    step: int = 0,
  ) -> restoring.Average:
    """Reads averaged parameters alone, of a step or of the newest whole one.

    Args:
      like: their shapes.
      layout: where every array goes.
      decay: which average, one of those that were trained.
      step: whose; 0: the newest that is whole.

    Raises:
      NoCheckpointError: nothing was committed, not this step, or all of it is
        damaged.
      OtherModelError: the step is of another model.
      DamagedError: the step that was asked for is damaged.
    """
    wanted = jax.tree.map(lambda x: sharding.target(x, layout), like)

    def read(step):
      return restoring.average(
        self._manager, step, wanted, states.ema_name(decay), self._verify
      )

    if not step:
      return restoring.newest_whole(
        self._manager, read, set_aside=not self._read_only
      )
    self.place(step)
    return read(step)

  def place(self, step: int) -> epath.Path:
    """The folder of a committed step.

    Raises:
      NoCheckpointError: it is not there; those that are there are told.
    """
    steps = sorted(self._manager.all_steps())
    if step not in steps:
      raise restoring.NoCheckpointError(
        f'no checkpoint of step {step} in {self.folder}; there are '
        f'{", ".join(map(str, steps)) or "none"}'
      )
    return self._of(step)

  def _of(self, step):
    return self.folder / str(step)

  @contextlib.contextmanager
  def _failures_of(self, step) -> Iterator[None]:
    """Turns any error of a save into ours, and clears what it left."""
    try:
      yield
    except Exception as error:  # Orbax's, TensorStore's, the file system's
      self._saving = None
      with contextlib.suppress(Exception):  # of its other threads
        self._manager.wait_until_finished()
      self._clear()
      self._manager.reload()
      raise SaveError(
        f'step {step} could not be saved in {self.folder} '
        f'({manifests.reason(error)}); the last good checkpoint is of '
        f'step {self.latest_step}'
      ) from error

  def _clear(self):
    """Removes what failed saves left; none may be under way.

    Writers that Orbax no longer waits for may put some of it back, so it looks
    again, and once more before the next save and at the end.
    """
    if self._read_only or not hosts.first():
      return
    for _ in range(_LOOKS):
      parts = list(self.folder.glob('*.orbax-checkpoint-tmp*'))
      if not parts:
        return
      for part in parts:
        with contextlib.suppress(OSError):
          part.rmtree(missing_ok=True)
      time.sleep(_PAUSE)


_LOOKS = 20
_PAUSE = 0.1  # seconds
