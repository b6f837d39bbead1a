"""The one place where attention is computed."""

import functools

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from framebridge_jax.models import layers

_XAVIER = nn.initializers.xavier_uniform()


class SelfAttention(nn.Module):
  """Multi-head self-attention over the tokens of each group, qkv fused.

  `kernel` is a row of ATTENTIONS; `groups` names the axis of the groups, for
  the mesh.
  """

  heads: int
  kernel: str
  dtype: jax.typing.DTypeLike
  groups: str | None = None

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
    q, k, v = _Fused(self.heads, self.dtype, name='qkv')(x)
    names = 'batch', self.groups, None, 'heads'
    q, k, v = (layers.place(y, names) for y in (q, k, v))
    if anchor is not None:
      k, v = (_with_anchor(y, anchor) for y in (k, v))
    y = _attend(ATTENTIONS[self.kernel], q, k, v)
    y = einops.rearrange(y, 'b m t h d -> b m t (h d)')
    kernel_init = nn.with_logical_partitioning(_XAVIER, ('heads', 'embed'))
    return layers.flat(
      nn.Dense(width, dtype=self.dtype, kernel_init=kernel_init, name='out')
    )(y)


class _Fused(nn.Module):
  """A dense layer to q, k and v, whose columns are `(three h d)`."""

  heads: int
  dtype: jax.typing.DTypeLike

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b m t c']
  ) -> Float[Array, 'three b m t h d']:
    width = x.shape[-1]
    init = nn.with_logical_partitioning(_XAVIER, ('embed', 'heads'))
    bias = self.param('bias', nn.initializers.zeros_init(), (3 * width,))
    kernel = self.param('kernel', init, (width, 3 * width))
    x, kernel, bias = (jnp.asarray(y, self.dtype) for y in (x, kernel, bias))
    if layers.apart('heads'):
      return self._by_head(x, kernel, bias)
    y = layers.by_tokens(lambda rows: rows @ kernel, x)
    y = y + jnp.expand_dims(bias, range(y.ndim - 1))
    return einops.rearrange(
      y, 'b m t (three h d) -> three b m t h d', three=3, h=self.heads
    )

  def _by_head(self, x, kernel, bias):
    """The columns of a device's heads do not stand side by side.

    So they are brought there before the product: weights are fewer than tokens.
    """
    kernel = einops.rearrange(
      kernel, 'c (three h d) -> three h c d', three=3, h=self.heads
    )
    kernel = layers.place(kernel, (None, 'heads'))
    bias = einops.rearrange(
      bias, '(three h d) -> three 1 1 1 h d', three=3, h=self.heads
    )
    return jnp.einsum('bmtc,nhcd->nbmthd', x, kernel) + bias


def _attend(kernel, q, k, v):
  """Attention of groups [b, m, t, h, d], all at once or clip by clip."""
  # jax promotes bfloat16 scores itself, which strict promotion would refuse.
  with jax.numpy_dtype_promotion('standard'):
    if layers.apart(layers.FRAMES):
      return jax.vmap(kernel)(q, k, v)
    parts = (einops.rearrange(x, 'b m t h d -> (b m) t h d') for x in (q, k, v))
    y = kernel(*parts)
  return einops.rearrange(y, '(b m) t h d -> b m t h d', b=q.shape[0])


def _with_anchor(x, anchor):
  index = einops.rearrange(anchor, 'b m -> b m 1 1 1')
  return jnp.concatenate([x, jnp.take_along_axis(x, index, axis=1)], axis=2)


def heads_first(
  q: Float[Array, 'n t h d'],
  k: Float[Array, 'n s h d'],
  v: Float[Array, 'n s h d'],
) -> Float[Array, 'n t h d']:
  """Softmax attention as plain matrix products, heads brought forward.

  The softmax's sum divides d numbers of each token after the second product,
  not s before it; scores are float32.
  """
  q, k, v = (einops.rearrange(x, 'n t h d -> n h t d') for x in (q, k, v))
  keys = einops.rearrange(k, 'n h s d -> n h d s')
  q = q * jnp.asarray(q.shape[-1] ** -0.5, q.dtype)
  scores = jnp.matmul(q, keys, preferred_element_type=jnp.float32)
  # A shift of the scores changes no softmax, so it has no gradient.
  top = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
  weights = jnp.exp(scores - top)
  total = jnp.sum(weights, axis=-1, keepdims=True)
  y = jnp.matmul(weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
  y = (y / total).astype(v.dtype)
  return einops.rearrange(y, 'n h t d -> n t h d')


# 'default' lets jax choose; cuDNN wants float16 or bfloat16 on a GPU; heads
# first is for CPUs, where XLA multiplies slowly over strided heads.
ATTENTIONS = {
  'default': jax.nn.dot_product_attention,
  'xla': functools.partial(jax.nn.dot_product_attention, implementation='xla'),
  'cudnn': functools.partial(
    jax.nn.dot_product_attention, implementation='cudnn'
  ),
  'heads_first': heads_first,
}
