"""Write `report.html` of a run that was trained and evaluated.

Command:
  python -m framebridge_jax.main --mode=report --workdir=runs/quickstart
Hardware: any.  Duration: a second.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Keys of `--mode=report`."""
  config = ml_collections.ConfigDict()
  config.title = 'framebridge_jax: what this run learned'
  return config
