"""From images to videos with bridges whose frames have times of their own.

import framebridge_jax

pipeline = framebridge_jax.load('quickstart_base')
video = pipeline.animate('photo.png', label=3)
"""

import os


def load(
  path: str | os.PathLike,
  *,
  ema: float = 0.0,
  dtype: str = '',
  frames: int = 0,
  size: int = 0,
):
  """Loads a trained model, see `framebridge_jax.pipeline.load`."""
  # Imported here: whoever wants the mathematics alone need not wait for Flax.
  from framebridge_jax import pipeline

  return pipeline.load(path, ema=ema, dtype=dtype, frames=frames, size=size)
