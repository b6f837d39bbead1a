"""Times how long a checkpoint holds up the training loop.

  python benchmarks/save_stall.py

A real loop trains Latte-S/2 as a bridge on random latents (16 frames of
32 x 32 x 4, one clip a step) and saves every 12 steps.  Printed are the seconds
of a step, those for which the loop stood still for a save, and the second as
a part of 100 of the first.  The step behind a save, beside which it is written,
is told apart: writing takes processor time too.  About 5 minutes on 2 cores,
and 2 GB of disk; `--tiny` is a quick try.
"""

import argparse
import itertools
import json
import pathlib
import statistics
import tempfile

import flax.linen as nn
import jax
import numpy as np

from framebridge_jax import build, jobs
from framebridge_jax.cli import configs, runs
from framebridge_jax.training import (
  checkpoint,
  guards,
  loop,
  sharding,
  signals,
  state,
  step,
  watchdog,
)
from framebridge_jax.training import logging as run_logging

RECIPE = 'configs/framebridge_ucf101.py'
EVERY = 12


def main() -> None:
  """Prints one line of JSON: settings, and the times."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--tiny', action='store_true', help='a quick try')
  parser.add_argument('--saves', type=int, default=4)
  parser.add_argument('--folder', help='where the checkpoints go for a while')
  options = parser.parse_args()
  config = _config(options)
  with tempfile.TemporaryDirectory(dir=options.folder) as folder:
    windows, size = measure(config, pathlib.Path(folder))
  print(json.dumps(_settings(config, size) | _times(windows)))


def measure(config, workdir):
  """Trains; the windows of one step each, and the bytes of a state."""
  mesh = sharding.make_mesh(dict(config.mesh))
  optimizer, key = build.make_optimizer(config), jax.random.key(0)
  with (
    checkpoint.Checkpointer(workdir) as checkpointer,
    signals.Requests() as requests,
    jax.set_mesh(mesh),
    nn.logical_axis_rules(sharding.RULES),
    run_logging.Logger(workdir, first_step=1) as logger,
  ):
    init, decays = jobs.make_init(config), config.ema_decays
    now = state.create(init, optimizer, key, mesh, ema_decays=decays)
    size = sum(x.nbytes for x in jax.tree.leaves(now))
    loop.train(
      step.make_step(
        jobs.make_loss(config), optimizer, ema_decays=decays, key=key
      ),
      now,
      _batches(config),
      schedule=loop.Schedule(
        num_steps=config.train.num_steps, log_every=1, checkpoint_every=EVERY
      ),
      mesh=mesh,
      saving=loop.Saving(
        checkpointer=checkpointer, data_offset=0, config=config.to_dict()
      ),
      watch=loop.Watch(
        guard=guards.Guard(
          folder=workdir / 'dumps',
          max_bad_steps=0,
          spike=1e9,
          reread=lambda position: next(_batches(config)),
        ),
        dog=watchdog.Watchdog(0, end=False),
        requests=requests,
      ),
      logger=logger,
    )
  return run_logging.read(workdir / 'performance.jsonl'), size


def _config(options):
  config = configs.load_recipe(RECIPE)
  with config.unlocked():
    if options.tiny:
      config.model.update(name='latte', patch=8, width=32, depth=2, heads=2)
    config.dtype = 'float32'
    config.train.batch_size = 1
    # The last step saves too, where no window comes behind it.
    config.train.num_steps = EVERY * options.saves + 1
  return config


def _batches(config):
  rng = np.random.default_rng(0)
  shape = build.make_codec(config).latent_shape(
    config.data.frames, config.data.size
  )
  clip = rng.normal(size=(1, *shape)).astype(np.float32)
  batch = {'video': clip, 'label': np.zeros(1, np.int32)}
  return itertools.repeat(batch)


def _settings(config, size):
  return {
    'device': runs.device_name(),
    'model': config.model.name,
    'latents': build.make_codec(config).latent_shape(
      config.data.frames, config.data.size
    ),
    'state_bytes': size,
  }


def _times(windows):
  """Spreads in seconds: minimum, median, maximum."""
  stalls, alone, behind = [], [], []
  for window in windows:
    if 'step_seconds' not in window:
      continue  # it compiles
    if window['step'] % EVERY == 1:  # the save at the step before
      stalls.append(window['checkpoint_seconds'])
      behind.append(window['step_seconds'] - stalls[-1])
    else:
      alone.append(window['step_seconds'])
  share = statistics.median(stalls) / (100 * statistics.median(alone))
  return {
    'stall_seconds': _spread(stalls),
    'step_seconds': _spread(alone),
    'step_seconds_behind_a_save': _spread(behind),
    'stall_of_100_steps': f'{share:.2%}',
  }


def _spread(seconds):
  median = statistics.median(seconds)
  return [round(x, 3) for x in (min(seconds), median, max(seconds))]


if __name__ == '__main__':
  main()
