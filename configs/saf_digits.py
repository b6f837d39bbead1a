"""SAF in the small: a diffusion on moving digits becomes a bridge.

Command:
  python -m framebridge_jax.main --mode=train \
    --config=configs/saf_digits.py:arm=teacher --workdir=runs/saf/teacher
  python -m framebridge_jax.main --mode=export --workdir=runs/saf/teacher \
    --config.path=runs/saf/teacher.safetensors --config.export_dtype=float32
  python -m framebridge_jax.main --mode=port --workdir=runs/saf/named \
    --config.checkpoint=runs/saf/teacher.safetensors --config.back=True
  python -m framebridge_jax.main --mode=port --workdir=runs/saf/ported \
    --config.checkpoint=runs/saf/named/pytorch.safetensors \
    --config.model=latte_tiny4 --config.channels=3
  python -m framebridge_jax.main --mode=train \
    --config=configs/saf_digits.py:arm=saf \
    --config.init_from=runs/saf/ported/weights.safetensors \
    --config.seed=1 --workdir=runs/saf/saf_1
  python benchmarks/saf_digits.py runs/saf
Hardware: 2 CPU cores.  Duration: 15 minutes for the teacher and 3 for each
student when nothing else runs.  Result, seeds 1 to 3: with SAF the loss begins
at 0.16 to 0.23 and is lower than without at every step
(benchmarks/results/saf_digits.md).

The teacher is a class-conditional Latte trained as FVDM trains (the linear
table, a time per frame), but for v: an error of eps in x0 is large near T.
The students are bridges with the first frame known: `saf` shows them to the
teacher as its own noisy clips, `bridge` does not and asks the same weights for
psi.
"""

import ml_collections

from framebridge_jax import arguments
from framebridge_jax.recipes import running


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Arguments: arm (teacher, bridge, saf).

  Raises:
    ValueError: the arm is none of these.
  """
  arm = arguments.parse_arg(arg, arm='teacher')['arm']
  if arm not in ARMS:
    raise ValueError(f'arm={arm}: want one of {", ".join(ARMS)}')
  config = ml_collections.ConfigDict()
  config.job = 'denoiser'
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
  config.model = {
    'name': 'latte_tiny4',
    'classes': 10,
    'attention': 'heads_first',
  }
  config.dtype = 'float32'
  config.prior = 'replicate'
  config.prior_from = ''
  config.hold_given = True
  config.times = {
    'draw': 'uniform',
    'coin': 'sample',
    't_min': 1e-3,
    'p_frames': 0.2,
    'p_end': 0.02,
    'known_time': 0.0,
  }
  config.condition_noise = ''
  config.label_dropout = 0.1
  # In x0, so that all arms are measured by one loss.
  config.loss_weight = 'snr:floor=4.0,most=24.0'
  config.optimizer = {
    'learning_rate': 1e-3,
    'schedule': 'cosine',
    'warmup_steps': 50,
    'weight_decay': 0.01,
    'b2': 0.99,
    'clip_norm': 1.0,
    'freeze': '',
  }
  config.ema_decays = (0.99,)
  config.init_from = ''
  config.init_fresh = ''
  config.init_surgery = False
  config.train = {
    'num_steps': 800,
    'batch_size': 16,
    'log_every': 10,
    'checkpoint_every': 100,
    'keep': 1,
    'sample_every': 10_000,
  }
  config.mesh = {'data': -1, 'fsdp': 1, 'tensor': 1, 'frames': 1}
  running.add(config)
  ARMS[arm](config)
  return config


def _teacher(config):
  config.process = {'name': 'diffusion', 'schedule': 'table_linear'}
  config.denoiser = _denoiser('v', 'plain', 'table')
  config.task_mix = {'none': 1.0}


def _student(config):
  config.process = {'name': 'bridge', 'schedule': 'bridge_gmax:b0=0.01,b1=50.0'}
  config.task_mix = {'first': 1.0}
  config.optimizer.learning_rate = 2e-4
  config.optimizer.schedule = 'constant'
  config.optimizer.warmup_steps = 0
  config.train.num_steps = 200


def _bridge(config):
  _student(config)
  config.denoiser = _denoiser('psi', 'plain', 'continuous')


def _saf(config):
  _student(config)
  config.denoiser = _denoiser('v', 'aligned', 'table')
  config.denoiser.teacher = 'table_linear'


def _denoiser(prediction, view, clock):
  return ml_collections.ConfigDict(
    {
      'prediction': prediction,
      'view': view,
      'shown': '',
      'clock': clock,
      'teacher': '',
      'lookup': 'own',
    }
  )


ARMS = {'teacher': _teacher, 'bridge': _bridge, 'saf': _saf}
