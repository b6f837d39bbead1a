"""A run ready to animate first frames, as evaluation does."""

import dataclasses

import ml_collections
import numpy as np
from etils import epath
from jaxtyping import UInt8

from framebridge_jax import sampling
from framebridge_jax.arrays import Pixels
from framebridge_jax.cli import sample
from framebridge_jax.tasks import making, windows

Clips = UInt8[np.ndarray, 'b g h w c']  # of more frames than were given


@dataclasses.dataclass(frozen=True, kw_only=True)
class Animator:
  """Animates first frames with a run's averaged weights."""

  maker: making.Maker
  window: windows.Window
  style: making.Style
  seed: int

  def __call__(self, images: Pixels, labels, sample_ids) -> Clips:
    """Clips [b, f, h, w, c] of images [b, 1, h, w, c], one a sample id.

    Noise belongs to the sample id: batches and devices do not change it.
    """
    requests = [
      making.Request((windows.Clip(image),), int(label), self.seed, int(i))
      for image, label, i in zip(images, labels, sample_ids, strict=True)
    ]
    made = self.maker.make(self.window, requests, self.style)
    return np.stack([clip.frames for clip in made])


def open_animator(
  config: ml_collections.ConfigDict, workdir: epath.PathLike
) -> Animator:
  """Loads what a checked config of `evaluate` names.

  Raises:
    ValueError: the run is of another job than animating.
  """
  maker = sample.open_desk(config, workdir).maker
  settings = sampling.settings_of(config.to_dict())
  return Animator(
    maker=maker,
    window=windows.open_window(
      'i2v', settings.num_steps, maker.frames, maker.codec
    ),
    style=sampling.make_style(config, settings),
    seed=config.seed,
  )
