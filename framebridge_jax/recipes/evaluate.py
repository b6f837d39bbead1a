"""Score a run on held-out clips, or any system by a protocol.

Commands:
  python -m framebridge_jax.main --mode=evaluate --workdir=runs/quickstart
  python -m framebridge_jax.main --mode=evaluate --workdir=runs/other_system \
    --config.protocol=physics_motion --config.videos=/path/to/mp4s
Hardware: CPU or one accelerator.  Duration: minutes on 2 cores; by a protocol,
as long as its samples take, and its networks.
The first leaves `evaluation/scores.json` and the clips in the workdir, the
second `evaluation_PROTOCOL/result.json`, and lines in `results.jsonl`.
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
  config.step = 0  # checkpoint that is scored; 0: the newest
  config.protocol = ''  # a row of PROTOCOLS; '': a look at held-out clips
  config.videos = ''  # folder of videos to score; '': the run's own samples
  config.give = ''  # folder for the first frames that another system animates
  config.method = ''  # what the samples are called; '': by their folder
  config.metrics = ()  # rows of METRICS; (): the protocol's
  config.real_set = ''  # the real side; '': the protocol's data set
  config.split = ''  # of the real side; '': the protocol's
  config.real_dir = ''  # of its files, as data_dir in training
  config.real_cache = ''  # prepared data and features; '': WORKDIR/real
  config.samples = -1  # that are scored; -1: as many as the protocol says
  config.real = -1  # clips of the real side; -1: as many as the protocol says
  config.several = -1  # samples of a first frame with several true futures
  config.size = 0  # side of a frame on both sides; 0: the protocol's
  config.seeds = 1  # how often all is sampled, with seed, seed + 1, ...
  config.draws = 100  # of the bootstrap interval; 0: none
  config.copies = True  # score copies of the first frame, too
  config.ladder = False  # instead of samples: real clips, more and more spoilt
  config.strict = True  # end where the protocol is not followed
  config.cluster = {  # where several processes score together
    'wait_seconds': 300.0,  # within which all must have come
    'heartbeat_seconds': 60.0,  # of silence: a process counts as dead
  }
  config.vbench = {  # of protocol vbench_i2v
    'info': '',  # vbench2_i2v_full_info.json
    'images': '',  # its images, cropped to one aspect
  }
  config.networks = {  # weight files of the scores that want some
    'i3d': '',
    'motion_reader': '',  # '': the one that the package ships
    'clip_image': '',
    'clip_text': '',
    'clip_tokenizer': '',
    'c3d': '',
    'videomae': '',
    'dreamsim': '',
  }
  return config
