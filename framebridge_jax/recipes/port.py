"""Port a checkpoint of another project, or give one back its own names.

Command:
  python -m framebridge_jax.main --mode=port --workdir=runs/ported \
    --config.checkpoint=ucf101.pt --config.model=latte_xl2
Hardware: any; memory for 1.3 times the checkpoint.  Duration: seconds to a
minute.  Leaves `weights.safetensors`, an Orbax `checkpoint/` and `port.json`
(every tensor, its shapes, its hash) in the workdir.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Keys of `--mode=port`."""
  config = ml_collections.ConfigDict()
  config.checkpoint = ''  # .pt, .pth, .ckpt, .safetensors, or their index
  config.state = ''  # which state dict of a training checkpoint; '': ema first
  config.model = ''  # a row of PORTS
  config.frames = 16  # of a clip, without an image frame
  config.channels = 4  # of a latent
  config.export_dtype = 'float32'
  config.back = False  # one of our weight files, to the project's own names
  config.layout = 'latte'  # of a run's weights: latte, fvdm, framebridge_prior
  return config
