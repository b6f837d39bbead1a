"""Times the training step of a config on random clips.

  python benchmarks/train_step.py --config=configs/quickstart.py --steps=20

Compare two settings in one sitting and quote the ratio: machines are noisy.
Settings of XLA go into XLA_FLAGS, settings of the model into a config.
"""

import argparse
import json
import os
import statistics
import time

import flax.linen as nn
import jax
import numpy as np

from framebridge_jax import build, jobs
from framebridge_jax.cli import configs, runs
from framebridge_jax.training import sharding, state, step


def main() -> None:
  """Prints one line of JSON: settings, and the spread of step times."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--config', default='configs/quickstart.py')
  parser.add_argument('--steps', type=int, default=20)
  options = parser.parse_args()
  config = configs.load_recipe(options.config)
  seconds = time_steps(config, options.steps)
  frames = config.train.batch_size * config.data.frames
  median = statistics.median(seconds)
  print(
    json.dumps(
      {
        'config': options.config,
        'device': runs.device_name(),
        'xla_flags': os.environ.get('XLA_FLAGS', ''),
        'steps': len(seconds),
        'seconds_min_median_max': [min(seconds), median, max(seconds)],
        'frames_per_second': frames / median,
      }
    )
  )


def time_steps(config, count):
  """Seconds of each step after the one that compiles."""
  mesh = sharding.make_mesh(dict(config.mesh))
  optimizer = build.make_optimizer(config)
  key = jax.random.key(0)
  decays = config.ema_decays
  current = state.create(
    jobs.make_init(config), optimizer, key, mesh, ema_decays=decays
  )
  loss = jobs.make_loss(config)
  step_fn = jax.jit(
    step.make_step(loss, optimizer, ema_decays=decays, key=key),
    donate_argnums=0,
  )
  batch = sharding.place_batch(_random_batch(config), mesh)
  seconds = []
  with jax.set_mesh(mesh), nn.logical_axis_rules(sharding.RULES):
    for number in range(count + 1):
      start = time.perf_counter()
      current, scalars = step_fn(current, batch, np.int32(number))
      jax.block_until_ready(scalars)
      seconds.append(time.perf_counter() - start)
  return seconds[1:]


def _random_batch(config):
  rng = np.random.default_rng(0)
  size, data = config.train.batch_size, config.data
  shape = (size, data.frames, data.size, data.size, 3)
  return {
    'video': rng.integers(0, 256, shape, np.uint8),
    'label': np.zeros(size, np.int32),
  }


if __name__ == '__main__':
  main()
