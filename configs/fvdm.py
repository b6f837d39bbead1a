"""FVDM: Latte with one time per frame, trained with PTSS.

Command:
  python -m framebridge_jax.main --mode=train \
    --config=configs/fvdm.py:data=ucf101,size=b,p=0.2 \
    --config.data_dir=latents/ucf101 --workdir=runs/fvdm
Hardware: the paper had one batch of 4 on a GPU for 250k steps.  Not run here:
the recipe is checked in shape.  Paper (Table 1, size b, p = 0.2, DDIM-50), FVD:
faceforensics 55.01, sky 106.09, ucf101 468.23, taichi 194.61; the ablations
(Figure 3) have batches of 3 and 200k steps.
"""

import ml_collections

from framebridge_jax import arguments
from framebridge_jax.recipes import papers

# Data set -> its classes; 0: unconditional.
DATA = {'faceforensics': 0, 'sky': 0, 'ucf101': 101, 'taichi': 0}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Arguments: data (a key of DATA), size, patch, p, coin (sample, batch).

  Raises:
    ValueError: the data set is none of FVDM's.
  """
  chosen = arguments.parse_arg(
    arg, data='ucf101', size='b', patch=2, p=0.2, coin='sample'
  )
  if chosen['data'] not in DATA:
    raise ValueError(f'data={chosen["data"]}: want one of {", ".join(DATA)}')
  config = papers.base(classes=DATA[chosen['data']])
  papers.add_diffusion(config)
  config.model.name = f'latte_{chosen["size"]}{chosen["patch"]}'
  config.times.p_frames = chosen['p']
  config.times.coin = chosen['coin']
  config.train.batch_size = 4
  config.train.num_steps = 250_000
  return config
