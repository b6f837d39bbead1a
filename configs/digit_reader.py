"""The judge of generated digits: a small classifier of single frames.

Command:
  python -m framebridge_jax.main --mode=train \
    --config=configs/digit_reader.py --workdir=runs/digit_reader
  python -m framebridge_jax.main --mode=export --workdir=runs/digit_reader \
    --config.path=framebridge_jax/assets/digit_reader.safetensors \
    --config.export_dtype=float32
Hardware: 2 CPU cores.  Duration: about 3 minutes.
Expected: reads at least 95 % of last frames of held-out real clips.
It sees training digits only, never a generated clip.
"""

import ml_collections

from framebridge_jax.recipes import running


def get_config() -> ml_collections.ConfigDict:
  """A digit reader of the quickstart's world."""
  config = ml_collections.ConfigDict()
  config.job = 'digit_reader'
  config.seed = 0

  config.dataset = 'moving_digits'
  config.data_dir = ''
  config.cache_dir = ''
  config.data = {
    'world': 'plain32',
    'size': 32,
    'frames': 16,
    'stride': 1,
    'train_clips': 20_000,
    'test_clips': 200,
    'num_workers': 0,
  }
  config.codec = 'identity'
  config.model = {'name': 'digit_reader', 'classes': 10}
  config.loss = {'noise': 0.1}

  config.optimizer = {
    'learning_rate': 3e-3,
    'schedule': 'cosine',
    'warmup_steps': 50,
    'weight_decay': 0.05,
    'b2': 0.99,
    'clip_norm': 1.0,
    'freeze': '',
  }
  config.ema_decays = (0.98,)
  config.init_from = ''
  config.init_fresh = ''
  config.init_surgery = False

  config.train = {
    'num_steps': 1000,
    'batch_size': 64,
    'log_every': 50,
    'checkpoint_every': 250,
    'keep': 1,
    'sample_every': 1000,
  }
  config.mesh = {'data': -1, 'fsdp': 1, 'tensor': 1, 'frames': 1}
  running.add(config)
  return config
