"""What a network predicts, always as an affine map to the clean latent.

The network is shown `z = alpha x + sigma eps` and its raw output becomes

  x_hat = skip z + out raw

fed with `scale z`.  The loss of a prediction's own target with weight 1 is
`|x_hat - x|^2 / out^2`, so nothing ever divides by `sigma`.

The targets are eps, and with it psi = (z - alpha x) / sigma (FrameBridge
Eq. 6); x itself; v = alpha eps - sigma x (Salimans & Ho 2022); the flow's
velocity eps - x; and F of EDM's preconditioning (Karras et al. 2022, Eq. 7),
written for any alpha.  A learned variance rides beside them (`variational`).
"""

from typing import NamedTuple

import jax.numpy as jnp

from framebridge_jax import arrays
from framebridge_jax.arrays import FrameTime

_EDM_DATA_STD = 0.5


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
  """The noise; for a plain bridge FrameBridge's psi.

  Where alpha = 0 the noise is all there is and says nothing about x: skip
  and out read 0, and samplers refuse to start there.
  """
  one = jnp.ones_like(alpha)
  return Prediction(
    skip=arrays.safe_divide(one, alpha),
    out=arrays.safe_divide(-sigma, alpha),
    scale=one,
  )


def v(alpha: FrameTime, sigma: FrameTime) -> Prediction:
  """Velocity on the circle of signal and noise."""
  norm2 = alpha**2 + sigma**2
  return Prediction(
    skip=arrays.safe_divide(alpha, norm2),
    out=arrays.safe_divide(-sigma, norm2),
    scale=jnp.ones_like(alpha),
  )


def flow(alpha: FrameTime, sigma: FrameTime) -> Prediction:
  """Velocity of the straight path from data to noise."""
  total = alpha + sigma
  one = jnp.ones_like(alpha)
  return Prediction(
    skip=arrays.safe_divide(one, total),
    out=arrays.safe_divide(-sigma, total),
    scale=one,
  )


def edm(alpha: FrameTime, sigma: FrameTime) -> Prediction:
  """EDM's F, for data of standard deviation 0.5."""
  signal = alpha * _EDM_DATA_STD
  total = arrays.safe_sqrt(signal**2 + sigma**2)
  scale = arrays.safe_divide(jnp.ones_like(alpha), total)
  return Prediction(
    skip=signal * _EDM_DATA_STD * scale**2,
    out=sigma * _EDM_DATA_STD * scale,
    scale=scale,
  )


PREDICTIONS = {
  'x0': x0,
  'psi': eps,
  'eps': eps,
  'v': v,
  'flow': flow,
  'edm': edm,
}
