"""A run on disk: its workdir and its records."""

import json
import pathlib
import platform
from typing import Any

import jax
import ml_collections

from framebridge_jax import saved
from framebridge_jax.data import atomic

SESSIONS = 'sessions.jsonl'


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
  with atomic.replacing(workdir / saved.CONFIG) as temporary:
    temporary.write_text(config.to_json_best_effort(indent=2) + '\n')


def record_session(workdir: pathlib.Path, facts: dict[str, Any]) -> None:
  """Adds one finished sitting of training to the run's record."""
  with (workdir / SESSIONS).open('a') as lines:
    lines.write(json.dumps(facts) + '\n')


def load_sessions(workdir: pathlib.Path) -> list[dict[str, Any]]:
  """The run's finished sittings, oldest first; killed ones leave none."""
  path = workdir / SESSIONS
  lines = path.read_text().splitlines() if path.is_file() else []
  return [json.loads(line) for line in lines]


def device_name() -> str:
  """What this process computes on, in words."""
  kind = jax.devices()[0].device_kind
  return f'{jax.device_count()} x {kind} ({platform.machine()})'
