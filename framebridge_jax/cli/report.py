"""--mode=report: of a run, of methods side by side, or of the mathematics."""

import ml_collections
from etils import epath

from framebridge_jax import check
from framebridge_jax.cli import (
  report_compare,
  report_paths,
  report_process,
  report_run,
)


def run(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
  """Writes the report that `config.report` names."""
  check.check_mode(config, 'report')
  REPORTS[config.report](config, workdir)


REPORTS = {
  'run': report_run.write,
  'process': report_process.write,
  'compare': report_compare.write,
  'rating': report_compare.write_rating,
  'paths': report_paths.write,
}
