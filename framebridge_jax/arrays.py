"""Array types, and the few operations that line arrays up.

Latents are `[b, f, h, w, c]` and time is `[b, f]` everywhere; a scalar time
is broadcast once, where it enters the library.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

Latents = Float[Array, 'b f h w c']
Pixels = UInt8[Array | np.ndarray, 'b f h w c']
FrameTime = Float[Array, 'b f']
FrameMask = Bool[Array, 'b f']
Labels = Int[Array, 'b']
SampleKeys = Key[Array, 'b']

CLIPS = ('b', 'f', 'h', 'w', 'c')  # sides of Latents, for `require`


def require(
  name: str, x: Any, kind: str, shape: Sequence[int | str], hint: str = ''
) -> None:
  """Refuses what is no array of a kind and shape, before it meets others.

  Args:
    name: of the argument.
    x: a JAX or NumPy array.
    kind: of its numbers, a row of KINDS.
    shape: its sides; a letter stands for any of at least 1.
    hint: what helps.

  Raises:
    ValueError: names the argument, what came and what was expected.
  """
  came = type(x).__name__
  if isinstance(x, jax.Array | np.ndarray):
    came = f'{x.dtype}{list(x.shape)}'
    if jnp.issubdtype(x.dtype, KINDS[kind]) and _fits(x.shape, shape):
      return
  sides = ', '.join(map(str, shape))
  raise ValueError(f'{name} is {came}, want {kind}[{sides}]{hint}')


def _fits(shape, wanted):
  return len(shape) == len(wanted) and all(
    side == want if isinstance(want, int) else side >= 1
    for side, want in zip(shape, wanted, strict=True)
  )


def expand_like(x: Array, like: Float[Array, 'b f ...']) -> Array:
  """Lines a `[b, f]` array up with any array that begins with `[b, f]`."""
  return x.reshape(x.shape + (1,) * (like.ndim - x.ndim))


def safe_divide(x: Array, y: Array, otherwise: float = 0.0) -> Array:
  """Gives x / y, or `otherwise` where y is 0; no NaN in value or gradient."""
  ok = y != 0
  quotient = x / jnp.where(ok, y, jnp.ones_like(y))
  return jnp.where(ok, quotient, jnp.full_like(quotient, otherwise))


def safe_sqrt(x: Array) -> Array:
  """Square root whose derivative at 0 is 0 instead of infinite."""
  ok = x > 0
  return jnp.where(ok, jnp.sqrt(jnp.where(ok, x, jnp.ones_like(x))), 0.0)


def masked_mean(x: Float[Array, 'b f ...'], mask: FrameMask) -> Array:
  """Mean of x over the frames whose mask is set; 0 where none is.

  What stands outside the mask, NaN included, has no say.
  """
  kept = jnp.where(expand_like(mask, x), x, jnp.zeros_like(x))
  count = jnp.sum(mask).astype(x.dtype) * (x.size // mask.size)
  return safe_divide(jnp.sum(kept), count)


def sample_keys(key: Key[Array, ''], sample_ids: Labels) -> SampleKeys:
  """One key a sample: the same in any batch and on any number of devices."""
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(sample_ids)


def fold(keys: SampleKeys, number) -> SampleKeys:
  """Every sample's key for one purpose or one step."""
  return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def normal_like(
  keys: SampleKeys, like: Float[Array, 'b ...']
) -> Float[Array, 'b ...']:
  """Unit Gaussian noise in the shape of `like`, drawn sample by sample."""

  def draw(key):
    return jax.random.normal(key, like.shape[1:], like.dtype)

  return jax.vmap(draw)(keys)


KINDS = {
  'floating': jnp.floating,
  'integer': jnp.integer,
  'key': jax.dtypes.prng_key,
}
