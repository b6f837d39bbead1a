"""Latte: class-conditional or unconditional video diffusion.

Command:
  python -m framebridge_jax.main --mode=train \
    --config=configs/latte.py:size=xl,classes=101 \
    --config.data_dir=latents/ucf101 --workdir=runs/latte
Hardware: the paper's XL/2 had 8 A100 for 5 days.  Not run here: the recipe is
checked in shape.  Paper (Ma et al. 2024, Table 2): FVD 477.97 on UCF101
(XL/2), DDPM of 250 steps.
"""

import ml_collections

from framebridge_jax import arguments
from framebridge_jax.recipes import papers


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Arguments: size (s, b, l, xl), patch (2, 4, 8), classes (0: none)."""
  chosen = arguments.parse_arg(arg, size='xl', patch=2, classes=101)
  config = papers.base(classes=chosen['classes'])
  papers.add_diffusion(config)
  config.model.name = f'latte_{chosen["size"]}{chosen["patch"]}'
  return config
