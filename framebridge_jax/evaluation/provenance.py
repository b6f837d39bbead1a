"""Where a number comes from: code, machine, day."""

import datetime
import pathlib
import platform
import subprocess
from typing import Any

import jax
import numpy as np

from framebridge_jax import version

TIERS = {
  'T0': 'mathematics, against a closed form',
  'T1': 'parity, against the public code or its weights',
  'T2': 'trained in this repository',
  'T3': 'documented, not run',
  '-': 'made elsewhere, scored here',
}


def here() -> dict[str, Any]:
  """What made a result, apart from its clips."""
  return {
    'version': version.__version__,
    'commit': commit(),
    'jax': jax.__version__,
    'numpy': np.__version__,
    'python': platform.python_version(),
    'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
    'hosts': jax.process_count(),
    'date': datetime.date.today().isoformat(),
  }


def commit() -> str:
  """Of the checkout that the package runs from; '' where it is none."""
  folder = pathlib.Path(__file__).parents[2]
  if not (folder / '.git').exists():
    return ''
  try:
    said = subprocess.run(
      ['git', 'describe', '--always', '--dirty', '--abbrev=12'],
      cwd=folder,
      capture_output=True,
      text=True,
      timeout=10,
    )
  except (OSError, subprocess.TimeoutExpired):
    return ''
  return said.stdout.strip()
