"""Noised clips, and what networks should say of them."""

import jax.numpy as jnp
import numpy as np

import toys
from framebridge_jax.processes import (
  bridge,
  diffusion,
  discrete,
  fading,
  schedules,
)

SHAPE = (2, 4, 3, 3, 2)
BRIDGE = bridge.Bridge(schedule=schedules.BridgeGmax())
ZERO_TERMINAL = discrete.Discrete(table='scaled_linear', zero_terminal=True)
DIFFUSIONS = {
  'vp': diffusion.Diffusion(schedule=schedules.VP()),
  'edm': diffusion.Diffusion(schedule=schedules.EDM()),
  'flow': diffusion.Diffusion(schedule=fading.Flow()),
  'cosine': diffusion.Diffusion(schedule=fading.Cosine()),
  'table': diffusion.Diffusion(schedule=discrete.Discrete()),
  'zero_terminal': diffusion.Diffusion(schedule=ZERO_TERMINAL),
}
# What a network should have said of z = alpha z0 + sigma eps.
TARGETS = {
  'x0': lambda z0, eps, alpha, sigma: z0,
  'eps': lambda z0, eps, alpha, sigma: eps,
  'psi': lambda z0, eps, alpha, sigma: eps,
  'v': lambda z0, eps, alpha, sigma: alpha * eps - sigma * z0,
  'flow': lambda z0, eps, alpha, sigma: eps - z0,
  'edm': lambda z0, eps, alpha, sigma: (
    (sigma * z0 - 0.25 * alpha * eps)
    / (0.5 * np.sqrt(sigma**2 + 0.25 * alpha**2))
  ),
}


def draw(seed, shape=SHAPE):
  """Unit noise."""
  values = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(values, jnp.float32)


def times(T=1.0):
  """Inside (0, T), other ones for each frame."""
  t = [[0.05, 0.3, 0.61, 0.95], [0.5, 0.5, 0.2, 0.99]]
  return jnp.asarray(t, jnp.float32) * T


def line_up(x):
  """Numbers [b, f] beside clips, in float64."""
  return np.asarray(x, np.float64)[:, :, None, None, None]


def make_denoiser(
  network, view='plain', prediction='x0', process=BRIDGE, **more
):
  """Of a bridge, by default."""
  return toys.make_denoiser(network, process, prediction, view, **more)
