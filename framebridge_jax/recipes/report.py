r"""Write a report: of a run, of methods side by side, or of the mathematics.

Commands:
  python -m framebridge_jax.main --mode=report --workdir=runs/quickstart
  python -m framebridge_jax.main --mode=report --config.report=compare \
    --workdir=runs/comparison \
    --config.methods="('runs/quickstart', 'theirs=/path/to/mp4s')"
  python -m framebridge_jax.main --mode=report --config.report=process \
    --workdir=runs/mathematics
The first writes `report.html` of an evaluated run.  The second writes
`comparison.html`, and `rating` in its place a page for raters.  `paths` draws
the way from the prior to the video into `paths/*.png` of a run.  The last needs
no run: it draws schedules, bridges, SNR alignment and time plans into
`process.html`, and each picture into `process/*.svg`.
Hardware: any.  Duration: seconds; `paths` samples.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Keys of `--mode=report`."""
  config = ml_collections.ConfigDict()
  config.report = 'run'
  config.title = ''
  config.methods = ()  # of compare and rating: NAME=PATH or PATH, each
  config.clips = 8  # of rating and paths: how many
  config.ratings = ()  # answers of raters, counted by compare
  config.rating_key = ''  # to them; '': WORKDIR/rating_key.json
  config.seed = 0
  return config
