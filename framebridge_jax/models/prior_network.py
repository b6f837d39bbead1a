"""The neural prior F: what a video will be on average, from its image alone.

Latte without a time, shown the image repeated over the frames and trained by
regression (FrameBridge 4.3); its optimum is the conditional mean of the video
(Proposition 3).
"""

from typing import Any

import jax.numpy as jnp

from framebridge_jax.arrays import Labels, Latents
from framebridge_jax.models import latte


def predict(
  network: latte.Latte, variables: Any, image: Latents, label: Labels
) -> Latents:
  """F(z^i, c) [b, f, h, w, c] of images repeated over the frames."""
  untold = jnp.zeros(image.shape[:2], image.dtype)
  return network.apply(variables, image, untold, latte.Cond(label=label))
