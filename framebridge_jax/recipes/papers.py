"""What the papers' recipes share.  Not a recipe: no `get_config` of its own.

Latents come from the Stable-Diffusion autoencoder, which shrinks a side by 8
and gives 4 channels.  Encoding them, and the data sets, are later releases'
work: until then these recipes are checked in shape, and run only on data that
comes as latents.
"""

import ml_collections

from framebridge_jax.recipes import running


def base(*, classes: int, frames: int = 16) -> ml_collections.ConfigDict:
  """Clips of 16 frames at 256 x 256, every third frame, AdamW at 1e-4."""
  config = ml_collections.ConfigDict()
  config.job = 'denoiser'
  config.seed = 0
  config.dataset = 'folder'
  config.data_dir = ''
  config.cache_dir = ''
  config.data = {
    'world': '',
    'size': 256,
    'frames': frames,
    'stride': 3,
    'train_clips': 1,
    'test_clips': 1,
    'num_workers': 8,
  }
  config.codec = 'cached'
  config.model = {'name': 'latte_xl2', 'classes': classes}
  config.dtype = 'bfloat16'
  config.label_dropout = 0.1
  config.optimizer = {
    'learning_rate': 1e-4,
    'schedule': 'constant',
    'warmup_steps': 0,
    'weight_decay': 0.0,
    'b2': 0.999,
    'clip_norm': 1.0,
    'freeze': '',
  }
  config.ema_decays = (0.9999,)
  config.init_from = ''
  config.init_fresh = ''
  config.init_surgery = False
  config.train = {
    'num_steps': 400_000,
    'batch_size': 40,
    'log_every': 100,
    'checkpoint_every': 5_000,
    'keep': 3,
    'sample_every': 5_000,
  }
  config.mesh = {'data': -1, 'fsdp': 1, 'tensor': 1, 'frames': 1}
  running.add(config)
  return config


def add_diffusion(config: ml_collections.ConfigDict) -> None:
  """Latte's and FVDM's diffusion: the linear table, eps, learned variance."""
  config.process = {'name': 'diffusion', 'schedule': 'table_linear'}
  config.prior = 'replicate'
  config.prior_from = ''
  config.hold_given = True
  config.denoiser = {
    'prediction': 'eps',
    'view': 'plain',
    'shown': '',
    'clock': 'table',
    'teacher': '',
    'lookup': 'own',
  }
  config.model.learned_variance = True
  config.task_mix = {'none': 1.0}
  config.times = {
    'draw': 'uniform',
    'coin': 'sample',
    't_min': 1e-3,
    'p_frames': 0.0,
    'p_end': 0.0,
    'known_time': 0.0,
  }
  config.condition_noise = ''
  config.loss_weight = 'own_target'


def give_image(config: ml_collections.ConfigDict) -> None:
  """The first frame is a condition, before the clip, and is made anew."""
  config.hold_given = False
  config.model.image_frame = True
  config.model.learned_variance = False
  config.task_mix = {'first': 1.0}


def add_bridge(config: ml_collections.ConfigDict) -> None:
  """FrameBridge's own recipe: psi at weight 1 over one time a clip."""
  add_diffusion(config)
  give_image(config)
  config.process = {'name': 'bridge', 'schedule': 'bridge_gmax'}
  config.denoiser.prediction = 'psi'
  config.denoiser.clock = 'continuous'
  config.times.p_end = 0.02


def align(config: ml_collections.ConfigDict, teacher: str) -> None:
  """Shows the bridge's latents to a teacher of another schedule (SAF)."""
  config.denoiser.view = 'aligned'
  config.denoiser.teacher = teacher
  config.denoiser.prediction = 'eps'
  config.denoiser.clock = 'table'


def show_prior(config: ml_collections.ConfigDict, what: str) -> None:
  """Puts the replicated image, or F, on the network's channels."""
  config.denoiser.shown = what
  config.model.prior = bool(what)
