"""A run on disk: its workdir, its config, its weights."""

import json
import platform
from typing import TYPE_CHECKING, Any

import jax
import ml_collections
from etils import epath

from framebridge_jax import build, files, jobs
from framebridge_jax.porting import weights

if TYPE_CHECKING:
  from framebridge_jax.training import checkpoint, restoring

CONFIG = 'config.json'
SESSIONS = 'sessions.jsonl'


def make_workdir(path: epath.PathLike) -> epath.Path:
  """Makes the workdir.

  Raises:
    ValueError: it cannot be made; the message names the reason.
  """
  path = epath.Path(path)
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise ValueError(
      f'workdir {path} cannot be made ({error.strerror}: '
      f'{error.filename}); give a folder to --workdir'
    ) from None
  return path


def save_config(workdir: epath.PathLike, config: ml_collections.ConfigDict):
  """Writes the run's config where other modes look for it."""
  workdir = epath.Path(workdir)
  with files.replacing(workdir / CONFIG) as temporary:
    temporary.write_text(config.to_json_best_effort(indent=2) + '\n')


def load_config(workdir: epath.PathLike) -> dict[str, Any]:
  """The config of the run in a workdir.

  Raises:
    ValueError: there is no run.
  """
  workdir = epath.Path(workdir)
  path = workdir / CONFIG
  if not path.is_file():
    raise ValueError(
      f'{workdir} holds no run (no {CONFIG}); train first with '
      f'--mode=train --config=... --workdir={workdir}, or name another workdir'
    )
  return json.loads(path.read_text())


def record_session(workdir: epath.PathLike, facts: dict[str, Any]) -> None:
  """Adds one finished sitting of training to the run's record."""
  workdir = epath.Path(workdir)
  path = workdir / SESSIONS
  held = path.read_text() if path.is_file() else ''
  with files.replacing(path) as part:
    part.write_text(f'{held}{json.dumps(facts)}\n')


def load_sessions(workdir: epath.PathLike) -> list[dict[str, Any]]:
  """The run's finished sittings, oldest first; killed ones leave none."""
  workdir = epath.Path(workdir)
  path = workdir / SESSIONS
  lines = path.read_text().splitlines() if path.is_file() else []
  return [json.loads(line) for line in lines]


def device_name() -> str:
  """What this process computes on, in words."""
  kind = jax.devices()[0].device_kind
  return f'{jax.device_count()} x {kind} ({platform.machine()})'


def load_variables(
  config: ml_collections.ConfigDict,
  workdir: epath.PathLike,
  layout: jax.sharding.Sharding,
) -> dict[str, Any]:
  """The averaged weights: of `config.weights`, or of the newest checkpoint."""
  if config.weights:
    like = jobs.abstract_params(config)
    loaded = weights.load(build.weights_path(config.weights)).params
    return jax.device_put(weights.fit(loaded, like, fresh='').params, layout)
  # Imported here: Orbax takes a second, and a weight file needs none.
  from framebridge_jax.training import checkpoint

  with checkpoint.Checkpointer(workdir, read_only=True) as checkpointer:
    return restore_average(config, checkpointer, layout).params


def restore_average(
  config: ml_collections.ConfigDict,
  checkpointer: 'checkpoint.Checkpointer',
  layout: jax.sharding.Sharding,
) -> 'restoring.Average':
  """The average that `config.ema` names, of the newest whole checkpoint.

  Raises:
    ValueError: the run has no such average.
  """
  decay = config.ema or config.ema_decays[0]
  if decay not in config.ema_decays:
    raise ValueError(
      f'ema is {decay}; the run has averages of decay '
      f'{", ".join(map(str, config.ema_decays))}'
    )
  return checkpointer.restore_average(
    jobs.abstract_params(config), layout, decay=decay
  )
