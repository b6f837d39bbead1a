"""A run on disk: its workdir and its records."""

import json
import platform
from typing import Any

import jax
import ml_collections
from etils import epath

from framebridge_jax import files, saved

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
  with files.replacing(workdir / saved.CONFIG) as temporary:
    temporary.write_text(config.to_json_best_effort(indent=2) + '\n')


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
