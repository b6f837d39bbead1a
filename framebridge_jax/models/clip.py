"""The towers of CLIP (Radford et al. 2021), OpenAI's and OpenCLIP's.

Video models do not read what CLIP was trained to compare.  Stable Diffusion 1
reads every token after the last block and the final norm; Stable Diffusion 2,
VideoCrafter and DynamiCrafter skip the last block (`penultimate`); and
DynamiCrafter reads every token of the image tower before its final norm.
OpenAI trained with a GELU of its own, OpenCLIP with the exact one.
"""

from typing import Any, NamedTuple

import einops
import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from framebridge_jax.models import transformer
from framebridge_jax.models.transformer import Hidden

Pooled = Float[Array, 'b d']

_EPSILON = 1e-5
_SMALL = nn.initializers.normal(0.02)


class Text(NamedTuple):
  """What a text tower says, in float32.

  Attributes:
    last: tokens after all blocks and the final norm.
    penultimate: tokens after all blocks but the last, and the final norm.
    pooled: `last` where the text ends.
    projected: `pooled` as it is compared with images, not normalised; None
      without a projection.
  """

  last: Hidden
  penultimate: Hidden
  pooled: Pooled
  projected: Pooled | None


class Image(NamedTuple):
  """What an image tower says, in float32.

  Attributes:
    tokens: the class token and the patches in reading order, after all blocks
      and before the final norm.
    pooled: the class token after the final norm.
    projected: `pooled` as it is compared with texts, not normalised; None
      without a projection.
  """

  tokens: Hidden
  pooled: Pooled
  projected: Pooled | None


class TextTower(nn.Module):
  """Token ids to vectors; a token sees those before it alone.

  Attributes:
    vocab: number of tokens; the last one ends a text.
    length: most tokens of a text.
    width: of a token's vector.
    heads: of the attention.
    depth: number of blocks.
    mlp: width inside a block's MLP.
    activation: 'gelu' or 'quick_gelu'.
    project: features of the projection; 0: none.
    dtype: of matrix products; parameters may be stored in another.
  """

  vocab: int
  length: int
  width: int
  heads: int
  depth: int
  mlp: int
  activation: str
  project: int = 0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, ids: Int[Array, 'b n']) -> Text:
    """Reads texts of n tokens.

    A text ends at its largest id, the first one where there are several: so
    do OpenCLIP, and transformers wherever the end has the largest id.  Padding
    behind it changes nothing before it, but is part of `last`.

    Raises:
      ValueError: n is more than `length`.
    """
    n = ids.shape[1]
    if n > self.length:
      raise ValueError(
        f'texts have {n} tokens, the tower reads {self.length}; cut them off'
      )
    table = self.param('tokens', _SMALL, (self.vocab, self.width))
    places = self.param('positions', _SMALL, (self.length, self.width))
    x = jnp.take(table, ids, axis=0).astype(jnp.float32)
    x = x + places[None, :n].astype(jnp.float32)
    mask = jnp.tril(jnp.ones((1, 1, n, n), bool))
    before = x
    for i in range(self.depth):
      before, x = (
        x,
        Block(
          self.heads, self.mlp, self.activation, self.dtype, name=f'block_{i}'
        )(x, mask),
      )
    norm = transformer.norm(_EPSILON, 'norm')
    last = norm(x)
    end = einops.rearrange(jnp.argmax(ids, axis=1), 'b -> b 1 1')
    pooled = jnp.take_along_axis(last, end, axis=1)[:, 0]
    projected = _projected(pooled, self.project, self.dtype)
    return Text(last, norm(before), pooled, projected)


class ImageTower(nn.Module):
  """Images to tokens.

  Attributes:
    size: side of an image in pixels.
    patch: side of a patch in pixels.
    width: of a token's vector.
    heads: of the attention.
    depth: number of blocks.
    mlp: width inside a block's MLP.
    activation: 'gelu' or 'quick_gelu'.
    project: features of the projection; 0: none.
    dtype: of matrix products; parameters may be stored in another.
  """

  size: int
  patch: int
  width: int
  heads: int
  depth: int
  mlp: int
  activation: str
  project: int = 0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, images: Float[Array, 'b h w 3']) -> Image:
    """Reads images that `clip_pixels` normalised.

    Raises:
      ValueError: they are not `size` x `size`.
    """
    if images.shape[1:3] != (self.size, self.size):
      raise ValueError(
        f'images are {images.shape[1]} x {images.shape[2]}, the tower reads '
        f'{self.size} x {self.size}; resize them as models/clip_pixels.py does'
      )
    x = einops.rearrange(
      images,
      'b (r p) (k q) c -> b (r k) (p q c)',
      p=self.patch,
      q=self.patch,
    )
    x = nn.Dense(self.width, use_bias=False, dtype=self.dtype, name='patches')(
      x
    )
    first = self.param('class', _SMALL, (self.width,))
    first = einops.repeat(first, 'd -> b 1 d', b=len(x))
    x = jnp.concatenate([y.astype(jnp.float32) for y in (first, x)], axis=1)
    places = self.param('positions', _SMALL, (x.shape[1], self.width))
    x = x + places[None].astype(jnp.float32)
    x = transformer.norm(_EPSILON, 'norm_in')(x)
    for i in range(self.depth):
      x = Block(
        self.heads, self.mlp, self.activation, self.dtype, name=f'block_{i}'
      )(x)
    pooled = transformer.norm(_EPSILON, 'norm')(x[:, 0])
    return Image(x, pooled, _projected(pooled, self.project, self.dtype))


class Block(nn.Module):
  """Attention and MLP, each behind a norm and added to what it was given."""

  heads: int
  mlp: int
  activation: str
  dtype: Any

  @nn.compact
  def __call__(self, x: Hidden, mask: transformer.Mask | None = None) -> Hidden:
    """The sum, float32."""
    y = transformer.norm(_EPSILON, 'norm_1')(x)
    attend = transformer.Attention(self.heads, self.dtype, name='attention')
    x = x + attend(y, mask)
    y = transformer.norm(_EPSILON, 'norm_2')(x)
    return x + transformer.Mlp(
      self.mlp, self.activation, self.dtype, name='mlp'
    )(y)


def _projected(pooled, features, dtype):
  if not features:
    return None
  layer = nn.Dense(features, use_bias=False, dtype=dtype, name='project')
  return layer(pooled).astype(jnp.float32)
