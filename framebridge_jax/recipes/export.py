"""Write the averaged weights of a run as one safetensors file.

Command:
  python -m framebridge_jax.main --mode=export --workdir=runs/base \
    --config.path=base.safetensors
Hardware: any.  Duration: seconds.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Keys of `--mode=export`."""
  config = ml_collections.ConfigDict()
  config.path = ''  # of the file to write
  config.export_dtype = 'bfloat16'
  config.ema = 0.0  # which of the run's ema_decays; 0: the first
  return config
