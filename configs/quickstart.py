"""Moving digits on a CPU: the main job in minutes, and its base checkpoint.

Command:
  bash launch/quickstart.sh
which trains with
  python -m framebridge_jax.main --mode=train --config=configs/quickstart.py \
    --workdir=runs/quickstart
Hardware: 2 CPU cores.  Duration: about 3 minutes of training.  It continues
from the shipped base checkpoint; `--config.init_from=''` starts from nothing.

The base itself (`framebridge_jax/assets/quickstart_base.safetensors`):
  python -m framebridge_jax.main --mode=train \
    --config=configs/quickstart.py:base=true --workdir=runs/base
  python -m framebridge_jax.main --mode=export --workdir=runs/base \
    --config.path=framebridge_jax/assets/quickstart_base.safetensors
  python -m framebridge_jax.main --mode=evaluate --workdir=runs/base \
    --config.weights=quickstart_base
whose evaluation_quickstart_base/scores.json is kept beside the weights as
quickstart_base.json.  Log and figures: benchmarks/results/quickstart_base.md.

The world is plain on purpose (white ink, plain grounds): textured grounds and
coloured ink (`data.world=textured32`) want hours, not minutes.
"""

import ml_collections

from framebridge_jax import arguments
from framebridge_jax.recipes import running


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """A class-conditional frame-aware bridge on moving digits."""
  base = arguments.parse_arg(arg, base=False)['base']
  config = ml_collections.ConfigDict()
  config.job = 'denoiser'
  config.seed = 0

  config.dataset = 'moving_digits'
  config.data_dir = ''  # of --config.dataset=folder: the folder of videos
  config.cache_dir = ''  # prepared data; '': WORKDIR/data
  config.data = {
    'world': 'plain32',
    'size': 32,
    'frames': 16,
    'stride': 1,
    'train_clips': 40_000 if base else 4_000,
    'test_clips': 200,
    'num_workers': 0,
  }
  config.codec = 'identity'

  # The paper's b1. Less noise at T (b1 = 8) lets a digit's place be decided in
  # the first 3 % of the way, where training seldom looks: in 20 steps
  # of the quadratic grid it fell to pieces (benchmarks/results).
  config.process = {
    'name': 'bridge',
    'schedule': 'bridge_gmax:b0=0.01,b1=50.0',
  }
  config.prior = 'blend'  # of the known frames before and after
  config.prior_from = ''  # of prior neural: the weights of F
  config.hold_given = True  # given frames stand at t = 0 and come back as given
  config.denoiser = {
    'prediction': 'x0',
    'view': 'residual',
    'shown': 'blend',  # on the network's channels
    'clock': 'continuous',
    'teacher': '',  # of view aligned: the schedule it was trained on
    'lookup': 'own',
  }
  config.model = {
    'name': 'latte',
    'patch': 4,
    'width': 128,
    'depth': 6,
    'heads': 4,
    'classes': 10,
    'prior': True,
    'stem': 24,
    'anchor': True,
    'attention': 'heads_first',  # quicker on a CPU, the same numbers
  }
  config.dtype = 'float32'

  config.task_mix = {
    'first': 0.6,
    'first_and_last': 0.1,
    'first_m': 0.15,
    'last_m': 0.05,
    'random': 0.1,
  }
  config.times = {
    'draw': 'uniform',
    'coin': 'sample',
    't_min': 1e-3,
    'p_frames': 0.2,
    'p_end': 0.02,
    'known_time': 0.03,
  }
  config.condition_noise = ''  # on given frames as a condition: lognormal, ...
  config.label_dropout = 0.1
  config.loss_weight = 'snr:floor=4.0,most=24.0'

  config.optimizer = {
    # Muon learns as much in 200 steps as AdamW in 300 (benchmarks/results).
    'name': 'muon:rate=0.02' if base else 'adamw',
    'learning_rate': 2e-3 if base else 2e-4,
    'schedule': 'cosine',
    'warmup_steps': 100 if base else 10,
    'weight_decay': 0.01,
    'b2': 0.99,
    'clip_norm': 1.0,
    'freeze': '',
  }
  config.ema_decays = (0.998 if base else 0.98,)
  config.init_from = '' if base else 'quickstart_base'
  config.init_fresh = '^params/labels/'  # may differ from the weights in shape
  config.init_surgery = False  # widens and resizes what we know how to

  config.train = {
    'num_steps': 3000 if base else 100,
    'batch_size': 16,
    'log_every': 10,
    'checkpoint_every': 200 if base else 20,
    'keep': 2,
    'sample_every': 2000 if base else 40,
  }
  config.mesh = {'data': -1, 'fsdp': 1, 'tensor': 1, 'frames': 1}
  running.add(config)
  return config
