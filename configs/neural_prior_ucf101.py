"""F, FrameBridge's neural prior, on UCF-101: Latte-S/2 without a time.

Command:
  python -m framebridge_jax.main --mode=train \
    --config=configs/neural_prior_ucf101.py \
    --config.data_dir=latents/ucf101 --workdir=runs/neural_prior
  python -m framebridge_jax.main --mode=export --workdir=runs/neural_prior \
    --config.path=neural_prior.safetensors --config.export_dtype=float32
Hardware: the paper's 400k steps of 32 clips.  Not run here: the recipe is
checked in shape.  The paper trains at 1e-5, its code at 1e-4 (`rate`).
"""

import ml_collections

from framebridge_jax import arguments
from framebridge_jax.recipes import papers


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Arguments: size, classes, rate."""
  chosen = arguments.parse_arg(arg, size='s', classes=101, rate=1e-4)
  config = papers.base(classes=chosen['classes'])
  config.job = 'neural_prior'
  config.model.name = f'latte_{chosen["size"]}2'
  config.model.timed = False
  config.optimizer.learning_rate = chosen['rate']
  config.train.batch_size = 32
  return config
