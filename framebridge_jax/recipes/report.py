r"""Write a report: of a run that was evaluated, or of the mathematics.

Commands:
  python -m framebridge_jax.main --mode=report --workdir=runs/quickstart
  python -m framebridge_jax.main --mode=report --config.report=process \
    --workdir=runs/mathematics
The first writes `report.html`.  The second needs no run: it draws schedules,
bridges, SNR alignment and time plans into `process.html`, and each picture
into `process/*.svg`.
Hardware: any.  Duration: seconds.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Keys of `--mode=report`."""
  config = ml_collections.ConfigDict()
  config.report = 'run'
  config.title = ''
  return config
