"""Make clips with a trained run: of an image, of others' frames, of a batch.

Command:
  python -m framebridge_jax.main --mode=sample --workdir=runs/quickstart \
    --config.image=photo.png --config.label=3
Hardware: any.  Duration: seconds to compile, then seconds a clip.
Leaves `samples/NAME.{mp4,gif,png,json}` in the workdir.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Keys of `--mode=sample`; the run's own config supplies the rest."""
  config = ml_collections.ConfigDict()
  config.task = 'i2v'  # what is made of what is given, with its options
  config.image = ''  # an image file, several with commas, or a folder
  config.video = ''  # the same of videos
  config.batch = ''  # JSONL file: a line a clip, with keys of this recipe
  config.label = 0  # class; -1: no class
  config.count = 1  # clips; clip i has sample id i
  config.seed = 0
  config.length = 0  # frames of the result of extend and rolling; -1: endless
  config.anchor = False  # extend: whether windows know the first frame, too
  config.match = 0.0  # share of the way back to its contrast and colour
  config.frames = 0  # of a window; 0: as many as the model was trained with
  config.size = 0  # side of the frames; 0: the trained one
  config.sampler = 'ancestral'
  config.grid = 'quadratic'
  config.num_steps = 20
  config.start_noise = 1.0  # scale of the noise at the start
  config.guidance = 7.0  # FrameBridge's value; 1 is the conditional model
  config.guidance_rescale = 0.0  # share taken back to the unguided contrast
  config.guidance_start = 0.0  # guided from this share of the way on
  config.guidance_stop = 1.0  # and up to this one
  config.guidance_history = 1.0  # away from no known frames; diffusion only
  config.negative_label = -1  # class that guidance pushes away from; -1: none
  config.temperature = 1.0  # scale of all noise that frames get on the way
  config.image_noise = 0.0  # std of noise on the given frames as a condition
  config.known_time = 0.0  # share of T at which known frames are shown
  config.frame_stride = 0  # that the model hears; 0: the one of its training
  config.task_prior = ''  # where frames set out from; '': as in training
  config.compute_dtype = ''  # of matrix products; '': the trained one
  config.batch_size = 8  # clips at a time; does not change them
  config.fps = 8
  config.weights = ''  # weight file or its short name; '': the run's own EMA
  config.ema = 0.0  # which of the run's ema_decays; 0: the first
  config.host = -1  # which host this is; -1: as the environment says
  config.hosts = -1  # that share the clips
  config.name = ''  # of the files written; '': that of what is given
  return config
