"""An autoencoder small enough for tests, as a weight file of a port."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import tiny

from framebridge_jax.models import vae_kl
from framebridge_jax.porting import weights

OPTIONS = {'widths': (8, 8), 'blocks': 1, 'groups': 2, 'channels': 4}
NETWORK = vae_kl.AutoencoderKL(**OPTIONS)  # halves a side


def make(seed: int = 0):
  """Random parameters with no layer at rest."""
  return tiny.shaken(_init(), seed=seed)


@functools.cache
def _init():
  init = tiny.quick_jit(NETWORK.init)
  return init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


@functools.partial(tiny.quick_jit, static_argnames='method')
def apply(variables, x, method: str):
  """What the network itself says."""
  return NETWORK.apply(variables, x, method=method)


def save(path: pathlib.Path, seed: int = 0, **changes):
  """Writes it, and gives its parameters."""
  params = make(seed)
  model = {'name': 'vae_kl', **OPTIONS, 'scale': NETWORK.scale, **changes}
  config = {'model': model, 'layout': 'diffusers'}
  weights.save(path, params, config, dtype='float32', facts={})
  return params
