r"""Prepare a data set, and look at what is in it.

Command:
  python -m framebridge_jax.main --mode=data --workdir=runs/look \
    --config.dataset=prepared_folder --config.data_dir=/path/to/videos \
    --config.inspect=true
Hardware: any, no accelerator.  Duration: every file is decoded once, with all
cores; what is prepared stands under `cache_dir` and is looked at in seconds.
With `inspect` it leaves `data.json` (counts, durations, sizes, classes, files
that were left out) and `SPLIT.png`, a contact sheet, in the workdir.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Keys of `--mode=data`."""
  config = ml_collections.ConfigDict()
  config.dataset = 'prepared_folder'
  config.data_dir = ''  # of its files
  config.cache_dir = ''  # prepared data; '': WORKDIR/data
  config.data = {
    'world': 'plain32',  # moving_digits: what its clips look like
    'size': 64,  # side of the frames on the sheet
    'train_clips': 8000,  # moving_digits: how many
    'test_clips': 1000,
    'max_bad_fraction': 0.01,  # of files that may be damaged or gone
  }
  config.splits = ('train', 'test')
  config.inspect = False  # look at it, too
  config.clips = 12  # on the sheet, drawn by the seed
  config.frames = 8  # of each, from its first to its last
  config.seed = 0
  return config
