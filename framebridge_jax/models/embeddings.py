"""Fixed sinusoids of time and place."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def sinusoid(
  x: Float[Array, '*shape'], width: int
) -> Float[Array, '*shape width']:
  """Cosines then sines of real-valued x (Latte's timestep embedding)."""
  half = width // 2
  exponent = jnp.arange(half, dtype=jnp.float32) / half
  frequency = jnp.exp(-jnp.log(1e4) * exponent).astype(x.dtype)
  angle = x[..., None] * frequency.reshape((1,) * x.ndim + (half,))
  return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def position_table(
  positions: Float[np.ndarray, 'n'], width: int
) -> Float[np.ndarray, 'n width']:
  """Sines then cosines of positions (the MAE and DiT form), float64."""
  frequency = 1e4 ** -(np.arange(width // 2) / (width / 2))
  angle = positions[:, None] * frequency
  return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


def grid_table(
  rows: Float[np.ndarray, 'r'], columns: Float[np.ndarray, 'k'], width: int
) -> Float[np.ndarray, 'n width']:
  """2-D table over a row-major grid: first half column, second half row."""
  row, column = np.meshgrid(rows, columns, indexing='ij')
  halves = [position_table(x.reshape(-1), width // 2) for x in (column, row)]
  return np.concatenate(halves, axis=1)
