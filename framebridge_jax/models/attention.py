"""The one place where attention is computed."""

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_XAVIER = nn.initializers.xavier_uniform()


class SelfAttention(nn.Module):
  """Multi-head self-attention over the tokens of each group, qkv fused."""

  heads: int
  dtype: jax.typing.DTypeLike

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'b m t d'],
    anchor: Int[Array, 'b m'] | None = None,
  ) -> Float[Array, 'b m t d']:
    """Attends among the t tokens of each of m groups.

    With `anchor`, group i also attends to the tokens of group `anchor[i]`,
    whose keys and values are there already: only the scores cost more.
    """
    width = x.shape[-1]
    kernel_init = nn.with_logical_partitioning(_XAVIER, ('embed', 'heads'))
    qkv = nn.Dense(
      3 * width, dtype=self.dtype, kernel_init=kernel_init, name='qkv'
    )(x)
    q, k, v = einops.rearrange(
      qkv, 'b m t (three h d) -> three b m t h d', three=3, h=self.heads
    )
    if anchor is not None:
      k, v = (_with_anchor(y, anchor) for y in (k, v))
    q, k, v = (
      einops.rearrange(y, 'b m t h d -> (b m) t h d') for y in (q, k, v)
    )
    # jax promotes bfloat16 scores itself, which strict promotion would refuse.
    with jax.numpy_dtype_promotion('standard'):
      y = jax.nn.dot_product_attention(q, k, v)
    y = einops.rearrange(y, '(b m) t h d -> b m t (h d)', b=x.shape[0])
    kernel_init = nn.with_logical_partitioning(_XAVIER, ('heads', 'embed'))
    return nn.Dense(
      width, dtype=self.dtype, kernel_init=kernel_init, name='out'
    )(y)


def _with_anchor(x, anchor):
  index = einops.rearrange(anchor, 'b m -> b m 1 1 1')
  return jnp.concatenate([x, jnp.take_along_axis(x, index, axis=1)], axis=2)
