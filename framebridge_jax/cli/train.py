"""--mode=train: from a config to a trained run."""

import datetime
import pathlib
import shlex
import sys
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging
from clu import parameter_overview
from flax import traverse_util

from framebridge_jax import build, check
from framebridge_jax.cli import configs, runs
from framebridge_jax.data import pipeline
from framebridge_jax.porting import surgery, weights
from framebridge_jax.samplers import ancestral, grids
from framebridge_jax.tasks import generate
from framebridge_jax.training import (
  checkpoint,
  loop,
  sharding,
  step,
)
from framebridge_jax.training import logging as run_logging
from framebridge_jax.training import state as states

# What a checkpoint's arrays and their meaning hang on.
_FIXED_KEYS = (
  'job',
  'codec',
  'process',
  'prior',
  'hold_given',
  'denoiser',
  'model',
  'prior_model',
)
_PREVIEW_CLIPS = 4
_PREVIEW_STEPS = 10


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Trains, resuming what the workdir holds."""
  check.check_train(config)
  runs.make_workdir(workdir)
  source = build.make_source(config, 'train', workdir)
  config = _with_classes(config, len(source.class_names))
  mesh = sharding.make_mesh(dict(config.mesh))
  _check_batch(config, mesh)
  _check_resume(config, workdir)
  runs.save_config(workdir, config)

  optimizer = build.make_optimizer(config)
  key = jax.random.key(config.seed)
  with checkpoint.Checkpointer(workdir, keep=config.train.keep) as checkpointer:
    fresh = states.create(build.make_init(config), optimizer, key, mesh)
    state, data_offset = _start(config, fresh, checkpointer)
    first = int(state.step)
    if first >= config.train.num_steps:
      logging.info('Training already stands at step %d; nothing to do', first)
      return
    start = time.perf_counter()
    with (
      jax.set_mesh(mesh),
      nn.logical_axis_rules(sharding.RULES),
      run_logging.Logger(workdir, first_step=first + 1) as logger,
      _open_batches(config, source, first + data_offset) as batches,
    ):
      loop.train(
        step.make_step(
          build.make_loss(config),
          optimizer,
          ema_decay=config.ema_decay,
          key=jax.random.fold_in(key, 1),
        ),
        state,
        batches,
        schedule=_schedule(config),
        mesh=mesh,
        checkpointer=checkpointer,
        logger=logger,
        data_offset=data_offset,
        config=config.to_dict(),
        callbacks=_callbacks(config, source, logger),
      )
  _record(config, workdir, first, time.perf_counter() - start)


def _start(config, fresh, checkpointer):
  """Three ways: the newest checkpoint, the weights of init_from, nothing."""
  logging.info(
    'Parameters of the network:\n%s',
    parameter_overview.get_parameter_overview(fresh.params),
  )
  if checkpointer.latest_step is not None:
    return checkpointer.restore(fresh)
  if config.init_from or 'prior' in fresh.params:
    return checkpoint.Restored(_start_from(config, fresh), 0)
  return checkpoint.Restored(fresh, 0)


def _schedule(config):
  return loop.Schedule(
    num_steps=config.train.num_steps,
    log_every=config.train.log_every,
    checkpoint_every=config.train.checkpoint_every,
  )


def _record(config, workdir, first, seconds):
  facts = {
    'command': shlex.join(
      ['python', '-m', 'framebridge_jax.main', *sys.argv[1:]]
    ),
    'date': datetime.date.today().isoformat(),
    'device': runs.device_name(),
    'first_step': first,
    'last_step': config.train.num_steps,
    'seconds': round(seconds, 1),
  }
  runs.record_session(workdir, facts)
  logging.info('Trained to step %d in %s', config.train.num_steps, workdir)


def _with_classes(config, found):
  """Sets the class count to the data's when the config leaves it open."""
  config = config.copy_and_resolve_references()
  for key in ('model', 'prior_model'):
    classes = config.get(key, {}).get('classes', 0)
    if classes == build.AS_FOUND:
      config[key].classes = found
    elif classes not in (0, found):
      raise ValueError(
        f'the data set has {found} classes, {key}.classes is {classes}; set '
        f'it to {found}, to {build.AS_FOUND} for what is found, or to 0 for '
        f'none'
      )
  return config


def _check_batch(config, mesh):
  parts = mesh.shape['data'] * mesh.shape['fsdp']
  if config.train.batch_size % parts:
    raise ValueError(
      f'train.batch_size {config.train.batch_size} cannot be shared by the '
      f'{parts} devices along mesh.data and mesh.fsdp; make it a multiple'
    )


def _check_resume(config, workdir):
  """Refuses to go on with another model than the workdir's."""
  if not (workdir / runs.CONFIG).is_file():
    return
  old = dict(
    configs.flatten(ml_collections.ConfigDict(runs.load_config(workdir)))
  )
  new = dict(configs.flatten(config))
  differences = [
    f'{key} was {old.get(key)!r}, is {new.get(key)!r}'
    for key in sorted(old.keys() | new.keys())
    if key.split('.')[0] in _FIXED_KEYS and old.get(key) != new.get(key)
  ]
  if differences:
    raise ValueError(
      f'{workdir} holds a run of another model: {"; ".join(differences)}; '
      f'name another --workdir'
    )


def _start_from(config, state):
  """The state with weights of other runs: the network's, and F's beside it."""
  params = dict(state.params)
  if config.init_from:
    own = {'params': params.pop('params')}
    params |= _fitted(config, 'init_from', own)
  if 'prior' in params:
    prior = {'params': params.pop('prior')}
    params['prior'] = _fitted(config, 'prior_from', prior)['params']
  return states.with_params(state, params)


def _fitted(config, key, like):
  """Weights of a file, changed to the model's shapes where we know how."""
  path = build.weights_path(config[key])
  flat = traverse_util.flatten_dict(weights.load(path).params, sep='/')
  shapes = traverse_util.flatten_dict(like, sep='/')
  try:
    if key == 'init_from' and config.init_surgery:
      flat = surgery.adapt(
        {name: np.asarray(x) for name, x in flat.items()},
        {name: x.shape for name, x in shapes.items()},
        patch=build.make_network(config.model, config.dtype).patch,
      )
    fitted, kept = weights.fit(
      traverse_util.unflatten_dict(flat, sep='/'),
      like,
      fresh=config.init_fresh if key == 'init_from' else '',
    )
  except (weights.WeightsError, surgery.SurgeryError) as error:
    raise ValueError(f'{key} {path}: {error}') from None
  logging.info('Started from %s; fresh: %s', path, ', '.join(kept) or 'none')
  return fitted


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


def _callbacks(config, source, logger):
  """A denoiser of pixels shows clips while it trains."""
  if config.job != 'denoiser' or not build.make_codec(config).shows:
    return []
  return [_preview_clips(config, source, logger)]


def _preview_clips(config, source, logger):
  """Samples clips of fixed seeds while training, into TensorBoard."""
  denoiser = build.make_denoiser(config)
  codec = build.make_codec(config)
  with _open_batches(config, source, 0) as batches:
    batch = next(batches)
  video = batch['video'][:_PREVIEW_CLIPS]
  label = batch['label'][:_PREVIEW_CLIPS]
  grid = grids.quadratic(denoiser.process, _PREVIEW_STEPS)
  task = build.make_task(config, grid, _PREVIEW_STEPS)

  def show(state, step):
    latents = generate.generate(
      denoiser,
      ancestral.Ancestral(),
      state.ema,
      task,
      source=codec.encode(video),
      label=jnp.asarray(label),
      keys=generate.sample_keys(0, range(len(video))),
      guide=generate.Guidance(),
      null_label=config.model.classes,
    )
    clips = np.asarray(codec.decode(latents))
    logger.write_clip('samples', clips, fps=8, step=step)

  return loop.Callback(every=config.train.sample_every, run=show)
