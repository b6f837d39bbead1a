"""What the encoders of CLIP and BERT share: norms, attention and an MLP.

The sum of branches stays float32, and so do norms and softmax; matrix products
are in the encoder's dtype.
"""

import functools
from collections.abc import Callable
from typing import Any

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from framebridge_jax.models import attention

Hidden = Float[Array, 'b n d']
Mask = Bool[Array, '#b 1 #n n']


class Attention(nn.Module):
  """Multi-head self-attention; q, k and v are apart."""

  heads: int
  dtype: Any

  @nn.compact
  def __call__(self, x: Hidden, mask: Mask | None = None) -> Hidden:
    """Each token attends to those that its row of the mask has; float32."""
    width = x.shape[-1]
    q, k, v = (
      einops.rearrange(
        nn.Dense(width, dtype=self.dtype, name=name)(x),
        'b n (h d) -> b n h d',
        h=self.heads,
      )
      for name in 'qkv'
    )
    # jax promotes bfloat16 scores itself, which strict promotion would refuse.
    with jax.numpy_dtype_promotion('standard'):
      y = attention.ATTENTIONS['default'](q, k, v, mask=mask)
    y = einops.rearrange(y, 'b n h d -> b n (h d)')
    y = nn.Dense(width, dtype=self.dtype, name='out')(y)
    return y.astype(jnp.float32)


class Mlp(nn.Module):
  """Two layers; `activation` is a row of ACTIVATIONS."""

  width: int
  activation: str
  dtype: Any

  @nn.compact
  def __call__(self, x: Hidden) -> Hidden:
    """Float32."""
    y = nn.Dense(self.width, dtype=self.dtype, name='in')(x)
    y = ACTIVATIONS[self.activation](y)
    y = nn.Dense(x.shape[-1], dtype=self.dtype, name='out')(y)
    return y.astype(jnp.float32)


def norm(
  epsilon: float, name: str
) -> Callable[[Float[Array, '*b d']], Float[Array, '*b d']]:
  """Layer norm in float32, whatever its parameters are stored in."""
  layer = nn.LayerNorm(
    epsilon=epsilon, dtype=jnp.float32, use_fast_variance=False, name=name
  )

  def apply(x):
    with jax.numpy_dtype_promotion('standard'):
      return layer(x)

  return apply


def quick_gelu(x: Float[Array, '*n']) -> Float[Array, '*n']:
  """OpenAI's GELU, x sigmoid(1.702 x)."""
  return x * jax.nn.sigmoid(1.702 * x)


ACTIVATIONS = {
  'gelu': functools.partial(jax.nn.gelu, approximate=False),
  'quick_gelu': quick_gelu,
}
