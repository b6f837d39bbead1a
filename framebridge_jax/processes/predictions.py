"""What a network predicts, always as an affine map to the clean latent.

The network is shown `z = alpha x + sigma eps` and its raw output becomes

  x_hat = skip z + out raw

fed with `scale z`.  The loss of a prediction's own target with weight 1 is
`|x_hat - x|^2 / out^2`, so nothing ever divides by `sigma`.
"""

from typing import NamedTuple

import jax.numpy as jnp

from framebridge_jax.arrays import FrameTime


class Prediction(NamedTuple):
  """`x_hat = skip z + out raw`, where the network is fed `scale z`."""

  skip: FrameTime
  out: FrameTime
  scale: FrameTime


def x0(alpha: FrameTime, sigma: FrameTime) -> Prediction:
  """The clean latent itself."""
  del sigma
  one = jnp.ones_like(alpha)
  return Prediction(skip=jnp.zeros_like(alpha), out=one, scale=one)


def eps(alpha: FrameTime, sigma: FrameTime) -> Prediction:
  """The noise; for a bridge FrameBridge's psi = (zt - alpha z0) / sigma."""
  one = jnp.ones_like(alpha)
  return Prediction(skip=1 / alpha, out=-sigma / alpha, scale=one)


PREDICTIONS = {'x0': x0, 'psi': eps, 'eps': eps}
