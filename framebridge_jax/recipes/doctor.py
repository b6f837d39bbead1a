r"""Look at this machine before a long training: one card, and what would fail.

Command:
  python -m framebridge_jax.main --mode=doctor --workdir=runs/quickstart \
    --config.require=cpu
Hardware: any.  Duration: 10 seconds.  It needs no run and writes nothing.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Keys of `--mode=doctor`."""
  config = ml_collections.ConfigDict()
  config.require = ''  # cpu, gpu or tpu: stop unless JAX computes on one
  config.seconds = 5.0  # of matrix products
  config.wandb = ''  # as training's log.wandb: a project, '' for none
  return config
