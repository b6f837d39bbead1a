"""Table 4: a bridge fine-tuned from Latte-XL/2, with and without SAF.

Command:
  python -m framebridge_jax.main --mode=port --workdir=runs/ported \
    --config.checkpoint=ucf101.pt --config.model=latte_xl2
  python -m framebridge_jax.main --mode=train \
    --config=configs/framebridge_saf_latte.py:arm=saf,steps=5000 \
    --config.init_from=runs/ported/weights.safetensors \
    --config.data_dir=latents/ucf101 --workdir=runs/saf
Hardware: a node of 8 GPUs.  Not run here: the recipe is checked in shape; the
same comparison in the small is configs/saf_digits.py.

The arguments of Table 4's rows, with their FVD there:
  arm=diffusion,steps=10000   176
  arm=bridge,steps=10000      176
  arm=bridge,steps=5000       284
  arm=saf,steps=5000          141
"""

import ml_collections

from framebridge_jax import arguments
from framebridge_jax.recipes import papers


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Arguments: arm (diffusion, bridge, saf), steps.

  Raises:
    ValueError: the arm is none of the table's.
  """
  chosen = arguments.parse_arg(arg, arm='saf', steps=5_000)
  config = papers.base(classes=101)
  if chosen['arm'] == 'diffusion':
    papers.add_diffusion(config)
    papers.give_image(config)
  elif chosen['arm'] == 'bridge':
    papers.add_bridge(config)
  elif chosen['arm'] == 'saf':
    papers.add_bridge(config)
    papers.align(config, teacher='table_linear')
  else:
    raise ValueError(f'arm={chosen["arm"]}: want one of diffusion, bridge, saf')
  config.model.learned_variance = True  # the teacher's output
  config.optimizer.learning_rate = 1e-5
  config.train.num_steps = chosen['steps']
  return config
