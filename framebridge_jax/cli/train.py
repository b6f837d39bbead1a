"""--mode=train: from a config to a trained run."""

import contextlib
import dataclasses
import datetime
import os
import shlex
import sys
import time

import flax.linen as nn
import jax
import ml_collections
from absl import logging
from clu import parameter_overview
from etils import epath

from framebridge_jax import build, check, files, jobs
from framebridge_jax.cli import (
  devices,
  fitting,
  previews,
  runs,
  starts,
  supervise,
)
from framebridge_jax.data import sources
from framebridge_jax.training import (
  checkpoint,
  flops,
  goodput,
  guards,
  hosts,
  lock,
  loop,
  profiling,
  sharding,
  signals,
  silence,
  watchdog,
)
from framebridge_jax.training import logging as run_logging


def run(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Trains, resuming what the workdir holds.

  With `config.supervise` another process does it, again and again if need be.
  """
  workdir = epath.Path(workdir)
  check.check_train(config)
  if config.supervise:
    argv = [*sys.argv[1:], '--config.supervise=False']
    raise SystemExit(supervise.run(argv, workdir))
  with hosts.joined(
    hosts.place(os.environ),
    wait=config.cluster.wait_seconds,
    heartbeat=config.cluster.heartbeat_seconds,
  ):
    _run(config, workdir)


def _run(config, workdir):
  devices.require(config.require)
  mesh = sharding.make_mesh(dict(config.mesh))
  fitting.check_mesh(config, mesh)
  runs.make_workdir(workdir)
  with lock.hold(workdir) if hosts.first() else contextlib.nullcontext():
    with hosts.first_alone('data'):  # it prepares them
      source = build.make_source(config, 'train', workdir)
      held_out = (
        build.make_source(config, 'test', workdir)
        if config.train.validate_every
        else None
      )
    config = fitting.with_classes(config, len(source.class_names))
    fitting.check_resume(config, workdir)
    codec = fitting.check_codec(config, workdir)
    if hosts.first():
      runs.save_config(workdir, config)
      if codec:
        with files.replacing(workdir / fitting.CODEC) as temporary:
          temporary.write_text(codec)
    _train(config, workdir, source, held_out, mesh)


@dataclasses.dataclass(kw_only=True)
class _Run:
  """What the sittings of one process share."""

  config: ml_collections.ConfigDict
  workdir: epath.Path
  source: sources.Source
  held_out: sources.Source | None
  mesh: jax.sharding.Mesh
  checkpointer: checkpoint.Checkpointer
  requests: signals.Requests
  gained: int | None = None  # good steps before the state last rolled back to


def _train(config, workdir, source, held_out, mesh):
  start = time.perf_counter()
  with (
    signals.Requests() as requests,
    checkpoint.Checkpointer(
      workdir, keep=build.make_keep(config), verify=config.verify
    ) as checkpointer,
  ):
    run = _Run(
      config=config,
      workdir=workdir,
      source=source,
      held_out=held_out,
      mesh=mesh,
      checkpointer=checkpointer,
      requests=requests,
    )
    (state, data_offset), layout = _start(run)
    first = int(state.step)
    if first >= config.train.num_steps:
      logging.info('Training already stands at step %d; nothing to do', first)
      return
    with (
      jax.set_mesh(mesh),
      nn.logical_axis_rules(sharding.RULES),
      _logger(config, workdir, first + 1) as logger,
    ):
      while state is not None:
        bad = None
        try:
          _sit(run, state, data_offset, logger)
        except guards.BadRegionError as error:
          # A copy: the error's own traceback holds the state that went bad,
          # and a device may have no room for a second one.
          bad = guards.BadRegionError(str(error), error.position)
        state = None
        if bad:
          state, data_offset = _roll_back(run, bad, layout, logger)
  if hosts.first():
    _record(config, workdir, first, time.perf_counter() - start)


def _logger(config, workdir, first_step):
  if not hosts.first():
    return silence.Silent()
  return run_logging.Logger(
    workdir, first_step=first_step, wandb=config.log.wandb
  )


def _start(run):
  """The state that the run stands at, and its shapes and places."""
  config = run.config
  layout = jobs.layout(config, run.mesh)
  fitting.check_trained(config, layout)
  fitting.check_log(config, run.workdir, run.checkpointer.latest_step)
  run.checkpointer.expect(layout)
  logging.info(
    'Parameters of the network:\n%s',
    parameter_overview.get_parameter_overview(
      layout.params, include_stats=False
    ),
  )
  restored = starts.start(
    config,
    layout,
    lambda: jobs.create(config, run.mesh),
    run.checkpointer,
  )
  return restored, layout


def _sit(run, state, data_offset, logger):
  """Trains from a state to the end, or to an error."""
  config = run.config
  with (
    _open_batches(run, int(state.step) + data_offset) as batches,
    watchdog.Watchdog(
      config.guards.stall_seconds, end=config.guards.stall_exit
    ) as dog,
    contextlib.ExitStack() as stack,
  ):
    window = (
      profiling.parse(config.log.profile_steps, run.workdir)
      if hosts.first()
      else None
    )
    if window:
      stack.callback(window.close)
    loop.train(
      jobs.make_step(config),
      state,
      batches,
      schedule=loop.Schedule(
        num_steps=config.train.num_steps,
        log_every=config.train.log_every,
        checkpoint_every=config.train.checkpoint_every,
      ),
      mesh=run.mesh,
      saving=loop.Saving(
        checkpointer=run.checkpointer,
        data_offset=data_offset,
        config=config.to_dict(),
        stop_on_error=config.train.on_save_error == 'stop',
      ),
      watch=loop.Watch(
        guard=guards.Guard(
          folder=run.workdir / 'dumps',
          max_bad_steps=config.guards.max_bad_steps,
          spike=config.guards.spike,
          reread=lambda position: _reread(run, position),
        ),
        dog=dog,
        requests=run.requests,
        window=window,
      ),
      logger=logger,
      ahead=build.make_ahead(config),
      flops=_flops(config, state),
      callbacks=previews.callbacks(config, run.source, run.held_out, logger),
    )


def _roll_back(run, error, layout, logger):
  """Goes back to the last good checkpoint, and on behind the bad region.

  Raises:
    guards.BadRegionError: there is none, it has been tried, or the config
      wants the run to stop.
  """
  try:
    run.checkpointer.wait()
  except checkpoint.SaveError as failed:
    if run.config.train.on_save_error == 'stop':
      raise
    logging.error('%s', failed)
  good = run.checkpointer.latest_step
  where = (
    'there is no checkpoint yet'
    if good is None
    else f'the last good checkpoint is of step {good} in '
    f'{run.checkpointer.folder}'
  )
  final = guards.BadRegionError(
    f'{error}; {where}; lower optimizer.learning_rate or '
    f'optimizer.clip_norm, or look at the data',
    error.position,
  )
  if run.config.guards.on_bad == 'stop' or good is None:
    raise final
  state, _ = run.checkpointer.restore(layout)
  step = int(state.step)
  # Not the step: checkpoints of steps that changed nothing are no progress.
  gained = step - int(state.skipped)
  if gained == run.gained:
    raise final
  run.gained = gained
  data_offset = error.position + 1 - step
  logging.warning(
    '%s; %s; going on from there with batch %d',
    error,
    where,
    error.position + 1,
  )
  logger.rewind(step + 1)
  return state, data_offset


def _open_batches(run, start):
  return build.open_batches(run.config, run.source, start)


def _reread(run, position):
  with _open_batches(run, position) as batches:
    return next(batches)


def _flops(config, state):
  """Of one training step; None when the program does not tell."""
  try:
    return flops.TRAINING * jobs.loss_operations(config, state.params)
  except ValueError as error:
    logging.warning('The FLOPs of a step are not counted: %s', error)
    return None


def _record(config, workdir, first, seconds):
  account = goodput.account(run_logging.read(workdir / run_logging.CLOCK))
  facts = {
    'command': shlex.join(
      ['python', '-m', 'framebridge_jax.main', *sys.argv[1:]]
    ),
    'date': datetime.date.today().isoformat(),
    'device': runs.device_name(),
    'first_step': first,
    'last_step': config.train.num_steps,
    'seconds': round(seconds, 1),
    'goodput': round(account.goodput, 4),
  }
  runs.record_session(workdir, facts)
  logging.info('Trained to step %d in %s', config.train.num_steps, workdir)
  logging.info('Goodput %s', account)
