"""--mode=train: from a config to a trained run."""

import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging
from clu import parameter_overview

from framebridge_jax import build, check
from framebridge_jax.cli import runs
from framebridge_jax.data import pipeline
from framebridge_jax.porting import weights
from framebridge_jax.processes import priors
from framebridge_jax.samplers import ancestral, grids
from framebridge_jax.tasks import generate, plans
from framebridge_jax.training import (
  checkpoint,
  loop,
  sharding,
  step,
)
from framebridge_jax.training import logging as run_logging
from framebridge_jax.training import state as states

_PREVIEW_CLIPS = 4
_PREVIEW_STEPS = 10


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Trains, resuming what the workdir holds.

  Three ways to start: the workdir's newest checkpoint, else the weights of
  `init_from`, else fresh parameters.
  """
  check.check_train(config)
  runs.make_workdir(workdir)
  source = build.make_source(config, 'train', workdir)
  config = _with_classes(config, len(source.class_names))
  runs.save_config(workdir, config)

  mesh = sharding.make_mesh(dict(config.mesh))
  optimizer = build.make_optimizer(config)
  key = jax.random.key(config.seed)
  state = states.create(build.make_init(config), optimizer, key, mesh)
  logging.info(
    'Parameters of the network:\n%s',
    parameter_overview.get_parameter_overview(state.params),
  )
  with checkpoint.Checkpointer(workdir, keep=config.train.keep) as checkpointer:
    data_offset = 0
    if checkpointer.latest_step is not None:
      state, data_offset = checkpointer.restore(state)
    elif config.init_from:
      state = _start_from(config, state)
    first = int(state.step)
    if first >= config.train.num_steps:
      logging.info('Training already stands at step %d; nothing to do', first)
      return
    step_fn = step.make_step(
      build.make_loss(config),
      optimizer,
      ema_decay=config.ema_decay,
      key=jax.random.fold_in(key, 1),
    )
    with (
      jax.set_mesh(mesh),
      nn.logical_axis_rules(sharding.RULES),
      run_logging.Logger(workdir, first_step=first + 1) as logger,
      _open_batches(config, source, first + data_offset) as batches,
    ):
      loop.train(
        step_fn,
        state,
        batches,
        schedule=loop.Schedule(
          num_steps=config.train.num_steps,
          log_every=config.train.log_every,
          checkpoint_every=config.train.checkpoint_every,
        ),
        mesh=mesh,
        checkpointer=checkpointer,
        logger=logger,
        data_offset=data_offset,
        config=config.to_dict(),
        callbacks=(
          [_preview(config, source, logger)] if config.job == 'bridge' else []
        ),
      )
  logging.info('Trained to step %d in %s', config.train.num_steps, workdir)


def _with_classes(config, found):
  """Sets the class count to the data's when the config leaves it open."""
  config = config.copy_and_resolve_references()
  if config.model.classes == 0:
    config.model.classes = found
  elif config.model.classes != found:
    raise ValueError(
      f'the data set has {found} classes, model.classes is '
      f'{config.model.classes}; set it to {found}, or to 0 for what is found'
    )
  return config


def _start_from(config, state):
  path = build.weights_path(config.init_from)
  try:
    params, kept = weights.fit(
      weights.load(path).params, state.params, fresh=config.init_fresh
    )
  except weights.WeightsError as error:
    raise ValueError(
      f'init_from {path}: {error}; train from nothing with '
      f"--config.init_from=''"
    ) from None
  logging.info('Started from %s; fresh: %s', path, ', '.join(kept) or 'none')
  return states.with_params(state, params)


def _open_batches(config, source, start):
  return pipeline.batches(
    source,
    frames=config.data.frames,
    stride=config.data.stride,
    seed=config.seed,
    batch_size=config.train.batch_size,
    start=start,
    num_workers=config.data.num_workers,
    shard=jax.process_index(),
    num_shards=jax.process_count(),
  )


def _preview(config, source, logger):
  """Samples clips of fixed seeds while training, into TensorBoard."""
  denoiser = build.make_denoiser(config)
  codec = build.make_codec(config)
  with _open_batches(config, source, 0) as batches:
    batch = next(batches)
  video = batch['video'][:_PREVIEW_CLIPS]
  label = batch['label'][:_PREVIEW_CLIPS]
  task = generate.Task(
    plan=plans.image_to_video(_PREVIEW_STEPS, config.data.frames),
    grid=grids.quadratic(denoiser.process.schedule.T),
    prior=priors.PRIORS[config.prior],
    pad_to=_PREVIEW_STEPS,
  )

  def show(state, step):
    latents = generate.generate(
      denoiser,
      ancestral.Ancestral(),
      state.ema,
      task,
      source=codec.encode(video),
      label=jnp.asarray(label),
      keys=build.sample_keys(0, range(len(video))),
      scale=1.0,
      null_label=config.model.classes,
    )
    clips = np.asarray(codec.decode(latents))
    logger.write_clip('samples', clips, fps=8, step=step)

  return loop.Callback(every=config.train.sample_every, run=show)
