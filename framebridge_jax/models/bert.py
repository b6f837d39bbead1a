"""The encoder of BERT (Devlin et al. 2019), and sentences from its tokens.

Norms follow each sum, unlike CLIP's.  all-MiniLM-L6-v2 of sentence-transformers
is one whose tokens' mean, normalised, says how near two sentences are.
"""

from typing import Any

import einops
import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from framebridge_jax.models import transformer
from framebridge_jax.models.transformer import Hidden

_EPSILON = 1e-12
_SMALL = nn.initializers.normal(0.02)


class Bert(nn.Module):
  """Token ids to vectors; every token sees all that the mask has.

  Attributes:
    vocab: number of tokens.
    length: most tokens of a text.
    types: rows of the table of segments; a text is of the first one.
    width: of a token's vector.
    heads: of the attention.
    depth: number of blocks.
    mlp: width inside a block's MLP.
    dtype: of matrix products; parameters may be stored in another.
  """

  vocab: int
  length: int
  types: int
  width: int
  heads: int
  depth: int
  mlp: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, ids: Int[Array, 'b n'], mask: Bool[Array, 'b n']
  ) -> Hidden:
    """The last hidden states, float32; those outside the mask mean nothing.

    Raises:
      ValueError: n is more than `length`.
    """
    n = ids.shape[1]
    if n > self.length:
      raise ValueError(
        f'texts have {n} tokens, the encoder reads {self.length}; cut them off'
      )
    tokens = self.param('tokens', _SMALL, (self.vocab, self.width))
    places = self.param('positions', _SMALL, (self.length, self.width))
    types = self.param('types', _SMALL, (self.types, self.width))
    x = jnp.take(tokens, ids, axis=0).astype(jnp.float32)
    x = x + types[None, :1].astype(jnp.float32)
    x = x + places[None, :n].astype(jnp.float32)
    x = transformer.norm(_EPSILON, 'norm')(x)
    seen = einops.rearrange(mask, 'b n -> b 1 1 n')
    for i in range(self.depth):
      x = Block(self.heads, self.mlp, self.dtype, name=f'block_{i}')(x, seen)
    return x


class Block(nn.Module):
  """Attention and MLP; a norm follows each sum."""

  heads: int
  mlp: int
  dtype: Any

  @nn.compact
  def __call__(self, x: Hidden, mask: transformer.Mask) -> Hidden:
    """Float32."""
    attend = transformer.Attention(self.heads, self.dtype, name='attention')
    x = transformer.norm(_EPSILON, 'norm_1')(x + attend(x, mask))
    y = transformer.Mlp(self.mlp, 'gelu', self.dtype, name='mlp')(x)
    return transformer.norm(_EPSILON, 'norm_2')(x + y)


def pool(hidden: Hidden, mask: Bool[Array, 'b n']) -> Float[Array, 'b d']:
  """A sentence: the mean of the tokens in the mask, at length 1."""
  kept = jnp.where(einops.rearrange(mask, 'b n -> b n 1'), hidden, 0.0)
  total = jnp.sum(kept, axis=1)  # has the mean's direction
  length = jnp.sqrt(jnp.sum(total**2, axis=1, keepdims=True))
  return total / jnp.maximum(length, _SHORTEST)


_SHORTEST = 1e-12  # no tokens: 0, not NaN
