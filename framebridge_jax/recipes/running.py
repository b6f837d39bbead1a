"""How any run is kept going.  Not a recipe: no `get_config` of its own."""

import ml_collections

from framebridge_jax.recipes import dataset


def add(config: ml_collections.ConfigDict) -> None:
  """Adds the keys that a recipe changes only when it must."""
  dataset.add(config)
  config.require = ''  # stop unless JAX computes on: cpu, gpu, tpu
  config.supervise = False  # start the run again when it dies
  config.verify = True  # hold a checkpoint that is read against its digests
  if 'name' not in config.optimizer:
    config.optimizer.name = 'adamw'
  config.optimizer.clip_from = 0  # first update whose gradient is bounded
  config.optimizer.moments = 'float32'  # or bfloat16: of the first moment
  config.lora = {
    'rank': 0,  # of matrices that train beside frozen ones; 0: all train
    'alpha': 16.0,  # the change is alpha / rank times their product
    'targets': '^params/.*/(qkv|out|mlp_in|mlp_out)/kernel$',
    'also': '',  # regex of parameters that train beside them
  }
  config.cluster = {  # where several processes train as one
    'wait_seconds': 300.0,  # within which all must have come
    'heartbeat_seconds': 60.0,  # of silence: a process counts as dead
  }
  config.train.accumulate = 1  # parts of the batch seen one after the other
  config.train.keep_every = 0  # checkpoints of such steps stay; 0: none
  config.train.best = ''  # metric whose least value stays: loss, ...
  config.train.on_save_error = 'stop'  # or warn, and train on
  config.train.validate_every = 0  # steps between losses on held-out clips
  config.train.validate_batches = 8
  config.guards = {
    'max_bad_steps': 10,  # steps in a row that may be skipped
    'on_bad': 'roll_back',  # then; or stop
    'spike': 100.0,  # a loss so many times the usual is told of
    'skip_spikes': False,  # and changes nothing
    'stall_seconds': 1800.0,  # without a step; then stacks are shown; 0: never
    'stall_exit': False,  # and the process ends
  }
  config.log = {
    'time_bins': 5,  # parts of the time axis whose loss is told apart
    'profile_steps': '',  # as 100:105
    'wandb': '',  # project of Weights & Biases; '': not asked
  }
