"""What it takes to make a clip again, as JSON beside it."""

import dataclasses
import datetime
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections

from framebridge_jax import sampling, version

_LIBRARIES = ('jax', 'jaxlib', 'flax', 'numpy')
_HELD = 'given frames come back as they are'
_ANEW = (
  'given frames are a condition alone: every frame was generated, the first '
  'one too (hold_given=False)'
)


def sidecar(
  config: ml_collections.ConfigDict,
  weights: Mapping[str, Any],
  settings: sampling.Settings,
  *,
  given: Sequence[Mapping[str, Any]],
  wish: Mapping[str, Any],
) -> dict[str, Any]:
  """Facts of one clip.

  Args:
    config: that the model was trained with, as it was sampled from.
    weights: where they came from, with their hash.
    settings: how the clip was made.
    given: path, if it has one, frames and hash of each thing that was given.
    wish: task, label, seed, sample id, and what else was asked for.
  """
  return {
    **wish,
    'given': [dict(x) for x in given],
    'given_frames': _HELD if config.hold_given else _ANEW,
    'settings': dataclasses.asdict(settings),
    'frames': config.data.frames,
    'size': config.data.size,
    'dtype': config.dtype,
    'weights': dict(weights),
    'versions': _versions(),
    'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
    'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    'config': config.to_dict(),
  }


def _versions():
  """Of this package, Python, and what computes."""
  return {
    'framebridge_jax': version.__version__,
    'python': platform.python_version(),
    **{name: importlib.metadata.version(name) for name in _LIBRARIES},
  }
