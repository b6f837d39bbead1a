"""FrameBridge from scratch on UCF-101, and the five models of its Table 5.

Command:
  python -m framebridge_jax.main --mode=train \
    --config=configs/framebridge_ucf101.py:prior=neural \
    --config.prior_from=neural_prior.safetensors \
    --config.data_dir=latents/ucf101 --workdir=runs/framebridge_np
Hardware: the paper's 400k steps of 40 clips, Latte-S/2.  Not run here: the
recipe is checked in shape.

The arguments of Table 5's rows, with their FVD there:
  prior=gaussian          VDT-I2V, a diffusion                    171
  prior=gaussian,f=true   the same, F on channels                 132
  prior=replicate         FrameBridge                             154
  prior=replicate,f=true  the same, F on channels                 129
  prior=neural            FrameBridge-NP                          122
`layout=code` is the public code's: nothing on channels beside a replicated
prior, where the paper puts the image.  The paper trains at 1e-5, its code at
1e-4 (`rate`), and keeps no average of the weights.
"""

import ml_collections

from framebridge_jax import arguments
from framebridge_jax.recipes import papers


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Arguments: prior, f, layout (paper, code), size, classes, rate.

  Raises:
    ValueError: the prior or the layout is none of the paper's.
  """
  chosen = arguments.parse_arg(
    arg,
    prior='replicate',
    f=False,
    layout='paper',
    size='s',
    classes=101,
    rate=1e-4,
  )
  config = papers.base(classes=chosen['classes'])
  prior = chosen['prior']
  if prior == 'gaussian':
    papers.add_diffusion(config)
    papers.give_image(config)
  elif prior in ('replicate', 'neural'):
    papers.add_bridge(config)
    config.prior = prior
  else:
    raise ValueError(f'prior={prior}: want one of gaussian, replicate, neural')
  shown = _shown(prior, chosen['f'], chosen['layout'])
  papers.show_prior(config, shown)
  if 'neural' in (prior, shown):
    config.prior_model = {
      'name': f'latte_{chosen["size"]}2',
      'classes': chosen['classes'],
      'timed': False,
    }
    config.optimizer.freeze = '^prior/'
  config.model.name = f'latte_{chosen["size"]}2'
  config.optimizer.learning_rate = chosen['rate']
  return config


def _shown(prior, f, layout):
  """What stands on the network's channels."""
  rows = {'paper': {'replicate': 'replicate', 'gaussian': ''}, 'code': {}}
  if layout not in rows:
    raise ValueError(f'layout={layout}: want paper or code')
  if f or prior == 'neural':
    return 'neural'
  return rows[layout].get(prior, '')
