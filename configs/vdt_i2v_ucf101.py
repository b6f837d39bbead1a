"""VDT-I2V, FrameBridge's diffusion baseline, on UCF-101.

Command:
  python -m framebridge_jax.main --mode=train \
    --config=configs/vdt_i2v_ucf101.py \
    --config.data_dir=latents/ucf101 --workdir=runs/vdt_i2v
Hardware: as configs/framebridge_ucf101.py, whose `prior=gaussian` it is.  Not
run here: the recipe is checked in shape.  Paper (Table 3): FVD 171, IS 62.61.
"""

import ml_collections

from framebridge_jax import arguments
from framebridge_jax.recipes import papers


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Arguments: size, classes, rate."""
  chosen = arguments.parse_arg(arg, size='s', classes=101, rate=1e-4)
  config = papers.base(classes=chosen['classes'])
  papers.add_diffusion(config)
  papers.give_image(config)
  config.model.name = f'latte_{chosen["size"]}2'
  config.optimizer.learning_rate = chosen['rate']
  return config
