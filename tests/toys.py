"""Toy networks, and denoisers of them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from framebridge_jax import denoiser
from framebridge_jax.processes import predictions, priors, sde, views


class Constant(nn.Module):
  """Answers with its parameter, whatever it is shown."""

  @nn.compact
  def __call__(self, z, t, cond):
    return self.param('raw', nn.initializers.zeros_init(), z.shape, z.dtype)


class Bent(nn.Module):
  """Answers with its one weight times what it is shown, bent; hears t."""

  @nn.compact
  def __call__(self, z, t, cond):
    weight = self.param('weight', nn.initializers.ones_init(), (1,) * z.ndim)
    return jnp.sin(weight * z + 1e-3 * t[:, :, None, None, None])


BENT = {'params': {'weight': jnp.ones((1,) * 5)}}


def make_denoiser(
  network: nn.Module,
  process: sde.Process,
  prediction: str = 'x0',
  view: str = 'plain',
  **more: Any,
) -> denoiser.Denoiser:
  """By the names of a prediction and a view."""
  return denoiser.Denoiser(
    network=network,
    process=process,
    prediction=predictions.PREDICTIONS[prediction],
    view=views.VIEWS[view],
    **more,
  )


def conditioning(prior: priors.PriorFn = priors.replicate):
  """A formula's prior, which the network is shown too."""
  formula = denoiser.Formula(prior=prior)
  return denoiser.Conditioning(prior=formula, shown=formula)


def given(
  prior: jax.Array, cond: Any = None, noise: jax.Array | None = None
) -> denoiser.Given:
  """Noise that nobody asked for is NaN: it must not be read."""
  noise = jnp.full_like(prior, jnp.nan) if noise is None else noise
  return denoiser.Given(prior=prior, cond=cond, noise=noise)
