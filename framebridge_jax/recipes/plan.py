"""Tell what a training would take, from its compiled program alone.

Command:
  python -m framebridge_jax.main --mode=plan --config=configs/latte.py \
    --workdir=runs/plan --config.devices=8 --config.mesh.fsdp=8
Hardware: any; no data, no weights of the model.  Duration: a compilation,
from seconds to minutes.  `--config` is the training's.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Keys of `--mode=plan`, beside those of training."""
  config = ml_collections.ConfigDict()
  config.devices = 1  # virtual ones that the step is compiled for
  config.topology = ''  # of TPUs to compile for instead: v5e:16x16
  config.chips = ('a100', 'h100', 'h200', 'v4', 'v5e', 'v5p', 'v6e')
  config.utilisation = 0.4  # share of their peak that is expected
  return config
