r"""Encode a data set into a cache of latents, which training then reads.

Command:
  python -m framebridge_jax.main --mode=encode --workdir=latents/birds \
    --config.autoencoder=runs/sd_vae/weights.safetensors \
    --config.dataset=folder --config.data_dir=birds --config.data.size=256
Hardware: any; a GPU or TPU for more than a few clips.  Duration: by the
autoencoder; the same command goes on where a killed one stopped.
Leaves the cache in the workdir: shards, `plan.json`, `train.json`, `test.json`.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Keys of `--mode=encode`."""
  config = ml_collections.ConfigDict()
  config.dataset = 'folder'  # or any other, as when training
  config.data_dir = ''  # as when training
  config.cache_dir = ''  # prepared data; '': WORKDIR/data
  config.data = {
    'world': 'plain32',  # of moving_digits, as are the counts
    'train_clips': 8000,
    'test_clips': 1000,
    'size': 256,  # side of a frame in pixels
    'frames': 16,  # shorter videos are left out
    'stride': 1,
  }
  config.splits = ('train', 'test')
  config.autoencoder = ''  # a weight file that --mode=port wrote
  config.keep = 'moments'  # or mode: half the size, and nothing to draw from
  config.dtype = 'float16'  # of what is kept, or float32
  config.chunk = 8  # frames in work at a time on each device
  config.tile = 0  # as of codec kl
  config.piece = 64  # frames of a record, at least, where a video has them
  config.per_shard = 64  # videos of a shard; a kill costs one shard
  config.encoder = ''  # of captions: a weight file of --mode=port; '': none
  config.tokenizer = ''  # its files; this and the next three as of --mode=embed
  config.kind = ''
  config.layer = ''
  config.length = 0
  config.host = -1  # which host this is; -1: ask JAX
  config.hosts = -1  # of how many
  config.runner = ''  # of Apache Beam, as DirectRunner; '': this program
  config.runner_options = ''  # of that runner, as on a command line
  config.verify = False  # compare the cache with its source, write nothing
  return config
