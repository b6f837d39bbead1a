"""The judge behind FD-phys: a small classifier of how things move.

Command:
  python -m framebridge_jax.main --mode=train \
    --config=configs/motion_reader.py --workdir=runs/motion_reader
  python -m framebridge_jax.main --mode=export --workdir=runs/motion_reader \
    --config.path=framebridge_jax/assets/motion_reader.safetensors \
    --config.export_dtype=float32
Hardware: 2 CPU cores.  Duration: 13 minutes, after 15 to 30 minutes in which
the clips are rendered (extra `physics`).
Expected: at least 92 % of clips of unseen scenes told right.
It sees the train split of physics_motion only, never a generated clip, and no
clip of another split decides anything about it.
"""

import ml_collections

from framebridge_jax.recipes import running


def get_config() -> ml_collections.ConfigDict:
  """A motion reader of physics_motion at 32 x 32."""
  config = ml_collections.ConfigDict()
  config.job = 'motion_reader'
  config.seed = 0

  config.dataset = 'physics_motion:train=8000,test=4000,scenes=64,futures=16'
  config.data_dir = ''
  config.cache_dir = ''
  config.data = {
    'world': '',
    'size': 32,
    'frames': 16,
    'stride': 1,
    'train_clips': 1,
    'test_clips': 1,
    'num_workers': 0,
  }
  config.codec = 'identity'
  config.model = {'name': 'motion_reader', 'classes': 10}
  config.loss = {'brightness': 0.3}

  config.optimizer = {
    'learning_rate': 3e-3,
    'schedule': 'cosine',
    'warmup_steps': 100,
    'weight_decay': 0.05,
    'b2': 0.99,
    'clip_norm': 1.0,
    'freeze': '',
  }
  config.ema_decays = (0.99,)
  config.init_from = ''
  config.init_fresh = ''
  config.init_surgery = False

  config.train = {
    'num_steps': 3000,
    'batch_size': 32,
    'log_every': 50,
    'checkpoint_every': 500,
    'keep': 1,
    'sample_every': 3000,
  }
  config.mesh = {'data': -1, 'fsdp': 1, 'tensor': 1, 'frames': 1}
  running.add(config)
  config.data['flip'] = True
  return config
