"""Animate one image with a trained run.

Command:
  python -m framebridge_jax.main --mode=sample --workdir=runs/quickstart \
    --config.image=photo.png --config.label=3
Hardware: any.  Duration: seconds to compile, then seconds a clip.
Leaves `samples/NAME.{mp4,gif,png}` in the workdir.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Keys of `--mode=sample`; the run's own config supplies the rest."""
  config = ml_collections.ConfigDict()
  config.image = ''  # any image file
  config.label = 0  # class; -1: no class
  config.count = 1  # clips; clip i has sample id i
  config.seed = 0
  config.sampler = 'ancestral'
  config.grid = 'quadratic'
  config.num_steps = 20
  config.start_noise = 1.0  # scale of the noise at the start
  config.guidance = 7.0  # FrameBridge's value; 1 is the conditional model
  config.guidance_rescale = 0.0  # share taken back to the unguided contrast
  config.guidance_start = 0.0  # guided from this share of the way on
  config.guidance_stop = 1.0  # and up to this one
  config.guidance_history = 1.0  # away from no known frames; diffusion only
  config.fps = 8
  config.weights = ''  # weight file or its short name; '': the run's own EMA
  config.ema = 0.0  # which of the run's ema_decays; 0: the first
  config.name = ''  # of the files written; '': the image's
  return config
