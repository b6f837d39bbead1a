"""The encoder of T5 v1.1 (Raffel et al. 2020; Shazeer 2020 for its gates).

CogVideoX reads its captions with the largest one, padded to 226 tokens and
without a mask, so that padding takes part.  Norms divide by the root mean
square before each branch and once at the end, in float32; the sum of branches
stays float32 and is never normalised between.  Scores are not divided by the
square root of the width, and know of places only through a bias for each head
and bucket of distances, which all blocks share.  The sums inside the gated
layers go past what float16 can hold, so that one is refused; bfloat16 can.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from framebridge_jax.models import attention, layers

Hidden = Float[Array, 'b n d']
Bias = Float[Array, '1 h n n']

_EPSILON = 1e-6


class T5Encoder(nn.Module):
  """Token ids to vectors.

  Attributes:
    vocab: rows of the embedding table; there may be more than tokens.
    width: of a token's vector.
    heads: of the attention.
    head_width: of one head; heads need not fill the width.
    mlp: width of the gated layer.
    depth: number of blocks.
    buckets: of distances between tokens, half of them for each direction.
    max_distance: from here on all distances share a bucket.
    dtype: of matrix products; parameters may be stored in another.
  """

  vocab: int
  width: int
  heads: int
  head_width: int
  mlp: int
  depth: int
  buckets: int = 32
  max_distance: int = 128
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, ids: Int[Array, 'b n'], mask: Bool[Array, 'b n'] | None = None
  ) -> Hidden:
    """The last hidden states, float32.

    Args:
      ids: of tokens, below `vocab`.
      mask: tokens that are attended to; None takes all, padding included.

    Raises:
      ValueError: dtype is float16.
    """
    if self.dtype == jnp.float16:
      raise ValueError(
        'dtype is float16, in which T5 overflows; use bfloat16 or float32'
      )
    normal = nn.initializers.normal(1.0)
    tables = {
      'tokens': self.param('tokens', normal, (self.vocab, self.width)),
      'distances': self.param('distances', normal, (self.buckets, self.heads)),
    }
    x, bias = look_up(self, tables, ids)
    for i in range(self.depth):
      x = make_block(self, f'block_{i}')(x, bias, mask)
    return Norm(name='norm')(x)


def by_block(
  network: T5Encoder,
  variables: Mapping[str, Any],
  ids: Int[Array, 'b n'],
  mask: Bool[Array, 'b n'] | None = None,
) -> Hidden:
  """As `network.apply`, for large weights that are stored in bfloat16.

  Each block is a program of its own, the same one, so that its weights alone
  are float32 while it runs.  XLA turns all of them to float32 first when a
  single program reads them.
  """
  params = variables['params']
  tables = {name: params[name] for name in ('tokens', 'distances')}
  x, bias = _look_up(network, tables, ids)
  block = make_block(network)
  for i in range(network.depth):
    x = _apply(block, params[f'block_{i}'], x, bias, mask)
  return _apply(Norm(), params['norm'], x)


def make_block(network: T5Encoder, name: str | None = None) -> 'Block':
  """One of the blocks, which differ in their parameters alone."""
  return Block(
    network.heads, network.head_width, network.mlp, network.dtype, name=name
  )


def look_up(
  network: T5Encoder, tables: Mapping[str, Any], ids: Int[Array, 'b n']
) -> tuple[Hidden, Bias]:
  """What the first block is given, and what every block adds to scores."""
  place = np.arange(ids.shape[1])
  distance = place[None, :] - place[:, None]
  rows = buckets_of(distance, network.buckets, network.max_distance)
  x = jnp.take(tables['tokens'], ids, axis=0)
  bias = jnp.take(tables['distances'], rows, axis=0)
  bias = einops.rearrange(bias, 'q k h -> 1 h q k')
  return x.astype(jnp.float32), bias.astype(jnp.float32)


_look_up = jax.jit(look_up, static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def _apply(module, params, *args):
  return module.apply({'params': params}, *args)


class Block(nn.Module):
  """Attention and a gated layer, each added to what it was given."""

  heads: int
  head_width: int
  mlp: int
  dtype: Any

  @nn.compact
  def __call__(
    self,
    x: Hidden,
    bias: Bias,
    mask: Bool[Array, 'b n'] | None = None,
  ) -> Hidden:
    """The sum, float32."""
    if mask is not None:
      mask = einops.rearrange(mask, 'b k -> b 1 1 k')
    y = Norm(name='attention_norm')(x).astype(self.dtype)
    q, k, v = (
      einops.rearrange(
        self._dense(self.heads * self.head_width, name)(y),
        'b n (h d) -> b n h d',
        h=self.heads,
      )
      for name in ('query', 'key', 'value')
    )
    # jax promotes bfloat16 scores itself, which strict promotion would refuse.
    with jax.numpy_dtype_promotion('standard'):
      y = attention.ATTENTIONS['default'](q, k, v, bias, mask, scale=1.0)
    y = einops.rearrange(y, 'b n h d -> b n (h d)')
    x = x + self._dense(x.shape[-1], 'out')(y).astype(jnp.float32)
    y = Norm(name='mlp_norm')(x).astype(self.dtype)
    gate = nn.gelu(self._dense(self.mlp, 'gate')(y), approximate=True)
    y = self._dense(x.shape[-1], 'down')(gate * self._dense(self.mlp, 'up')(y))
    return x + y.astype(jnp.float32)

  def _dense(self, features, name):
    return layers.flat(
      nn.Dense(features, use_bias=False, dtype=self.dtype, name=name)
    )


class Norm(nn.Module):
  """Divides by the root mean square, in float32, and scales."""

  @nn.compact
  def __call__(self, x: Hidden) -> Hidden:
    """No mean is taken off, and no bias is added."""
    scale = self.param('scale', nn.initializers.ones_init(), x.shape[-1:])
    square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    scale = einops.rearrange(scale.astype(jnp.float32), 'd -> 1 1 d')
    return x * jax.lax.rsqrt(square + _EPSILON) * scale


def buckets_of(
  distance: Int[np.ndarray, '...'], buckets: int, max_distance: int
) -> Int[np.ndarray, '...']:
  """Buckets of distances, key's place minus query's.

  Keys behind the query have the upper half.  A quarter of the buckets holds one
  distance each, the next quarter wider and wider ranges up to `max_distance`.
  """
  half = buckets // 2
  exact = half // 2
  far = np.abs(distance)
  # In float32, as upstream: 64 / 8 must stay on its side of the border.
  ratio = np.log(np.maximum(far, 1).astype(np.float32) / exact)
  steps = ratio / math.log(max_distance / exact) * (half - exact)
  wide = np.minimum(exact + steps.astype(np.int64), half - 1)
  return np.where(far < exact, far, wide) + half * (distance > 0)
