"""A run on disk: its workdir, its config, its weights."""

import json
import pathlib
from typing import Any, NamedTuple

import ml_collections

from framebridge_jax import build
from framebridge_jax.data import atomic
from framebridge_jax.porting import weights

CONFIG = 'config.json'


class Run(NamedTuple):
  """What a trained run is used with."""

  config: ml_collections.ConfigDict
  variables: dict[str, Any]


def make_workdir(path: pathlib.Path) -> pathlib.Path:
  """Makes the workdir.

  Raises:
    ValueError: it cannot be made; the message names the reason.
  """
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise ValueError(
      f'workdir {path} cannot be made ({error.strerror}: '
      f'{error.filename}); give a folder to --workdir'
    ) from None
  return path


def save_config(workdir: pathlib.Path, config: ml_collections.ConfigDict):
  """Writes the run's config where other modes look for it."""
  with atomic.replacing(workdir / CONFIG) as temporary:
    temporary.write_text(config.to_json_best_effort(indent=2) + '\n')


def load_config(workdir: pathlib.Path) -> dict[str, Any]:
  """The config of the run in a workdir.

  Raises:
    ValueError: there is no run.
  """
  path = workdir / CONFIG
  if not path.is_file():
    raise ValueError(
      f'{workdir} holds no run (no {CONFIG}); train first with '
      f'--mode=train --config=... --workdir={workdir}, or name another workdir'
    )
  return json.loads(path.read_text())


def load_variables(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> dict[str, Any]:
  """The averaged weights: of `config.weights`, or of the newest checkpoint."""
  if config.weights:
    loaded = weights.load(build.weights_path(config.weights)).params
  else:
    # Imported here: Orbax takes a second, and a weight file needs none.
    from framebridge_jax.training import checkpoint

    with checkpoint.Checkpointer(workdir, keep=1) as checkpointer:
      loaded = checkpointer.restore_ema()
  filled, _ = weights.fit(loaded, build.abstract_params(config), fresh='')
  return filled
