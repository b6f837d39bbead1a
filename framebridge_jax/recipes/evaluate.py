"""Score a run on held-out clips of its data set.

Command:
  python -m framebridge_jax.main --mode=evaluate --workdir=runs/quickstart
Hardware: CPU or one accelerator.  Duration: minutes on 2 cores.
Leaves `evaluation/scores.json` and the clips in the workdir.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Keys of `--mode=evaluate`; the run's own config supplies the rest."""
  config = ml_collections.ConfigDict()
  config.num_clips = 64
  config.num_futures = 8  # samples of each clip's first frame
  config.batch_size = 32
  config.num_show = 8  # clips kept as videos for the report
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
  return config
