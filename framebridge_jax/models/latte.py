"""Latte: a video transformer of alternating space and time blocks.

Spatial blocks attend within a frame, temporal blocks along each place; both
are modulated by adaLN-Zero (Ma et al. 2024, "Latte").  Time is per frame as
in FVDM: `t` is `[b, f]` and every token hears its own frame's time.  What `t`
means is not the network's business.
"""

from typing import Any, NamedTuple

import einops
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from framebridge_jax.arrays import FrameTime, Labels, Latents
from framebridge_jax.models import attention, embeddings

_TIME_WIDTH = 256
_XAVIER = nn.initializers.xavier_uniform()
_SMALL = nn.initializers.normal(0.02)
_ZERO = nn.initializers.zeros_init()


class Cond(NamedTuple):
  """What a network sees besides the noisy latent.

  Attributes:
    label: class in [0, classes]; `classes` itself is the null class.
    image: latents put on channels; the prior, for a frame-aware bridge.
    anchor: for each frame, the frame that it may look at besides itself.
  """

  label: Labels
  image: Latents
  anchor: Int[Array, 'b f']


class Latte(nn.Module):
  """Maps `(z, t, cond)` to an array shaped like z.

  With `stem` and `anchor` off this is Latte with the image on channels.  Both
  are for small models in pixel space: the stem keeps what is finer than a
  patch, and the anchor lets a token copy from anywhere in its known frame in
  one step, where plain Latte needs two blocks to look elsewhere in another
  frame.

  Attributes:
    patch: side of a square token, in latent pixels.
    width: channels of a token.
    depth: blocks, half of them spatial and half temporal; even.
    heads: attention heads.
    classes: labels; the table holds one row more, the null class.
    stem: channels of a convolution before the patches, whose output also
      skips to two convolutions after them; 0 for linear patches.
    anchor: whether spatial blocks also attend to each frame's anchor frame.
    dtype: of matrix products; parameters and norms stay float32.
  """

  patch: int
  width: int
  depth: int
  heads: int
  classes: int
  stem: int = 0
  anchor: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, z: Latents, t: FrameTime, cond: Cond) -> Latents:
    """Raw prediction for z at network times t, in float32."""
    fine = jnp.concatenate([z, cond.image], axis=-1).astype(self.dtype)
    if self.stem:
      fine = nn.silu(_conv(self.stem, self.dtype, 'stem')(fine))
    x = self._tokens(fine)
    c = self._condition(t, cond.label)
    per_frame = einops.rearrange(c, 'b f d -> b f 1 d')
    per_place = einops.rearrange(c, 'b f d -> b 1 f d')
    anchor = cond.anchor if self.anchor else None
    for pair in range(self.depth // 2):
      x = self._block(f'spatial_{pair}')(x, per_frame, anchor)
      x = einops.rearrange(x, 'b f n d -> b n f d')
      if pair == 0:
        frames = np.arange(z.shape[1], dtype=np.float64)
        x = _add_table(x, embeddings.position_table(frames, self.width))
      x = self._block(f'temporal_{pair}')(x, per_place)
      x = einops.rearrange(x, 'b n f d -> b f n d')
    channels = z.shape[-1]
    features = self.patch**2 * (self.stem or channels)
    x = FinalLayer(features, self.dtype, name='final')(x, per_frame)
    x = self._pixels(x, rows=z.shape[2] // self.patch)
    if self.stem:
      x = nn.silu(_conv(self.stem, self.dtype, 'head_in')(x + fine))
      x = _conv(channels, self.dtype, 'head_out', _ZERO)(x)
    return x.astype(jnp.float32)

  def _block(self, name):
    return Block(self.heads, self.dtype, name=name)

  def _tokens(self, x):
    """Projects patches to tokens `[b, f, n, d]` that know their place."""
    rows, columns = x.shape[2] // self.patch, x.shape[3] // self.patch
    x = einops.rearrange(
      x,
      'b f (r p) (k q) c -> b f (r k) (p q c)',
      p=self.patch,
      q=self.patch,
    )
    x = _dense(self.width, ('patch', 'embed'), self.dtype, 'patches')(x)
    return _add_table(x, embeddings.grid_table(rows, columns, self.width))

  def _pixels(self, x, rows):
    """Lays tokens out as pixels again."""
    return einops.rearrange(
      x,
      'b f (r k) (p q c) -> b f (r p) (k q) c',
      r=rows,
      p=self.patch,
      q=self.patch,
    )

  def _condition(self, t, label):
    """SiLU of what every block is modulated by, `[b, f, d]`."""
    time = embeddings.sinusoid(t, _TIME_WIDTH)
    into = _dense(self.width, ('time', 'embed'), self.dtype, 'time_in', _SMALL)
    out = _dense(self.width, ('embed', None), self.dtype, 'time_out', _SMALL)
    time = out(nn.silu(into(time)))
    table_init = nn.with_logical_partitioning(_SMALL, ('classes', 'embed'))
    labels = nn.Embed(
      self.classes + 1,
      self.width,
      dtype=self.dtype,
      embedding_init=table_init,
      name='labels',
    )(label)
    return nn.silu(time + einops.rearrange(labels, 'b d -> b 1 d'))


class Block(nn.Module):
  """Attention and MLP over `[*n, t, d]`, modulated by adaLN-Zero."""

  heads: int
  dtype: Any

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'b m t d'],
    c: Float[Array, 'b #m #t d'],
    anchor: Int[Array, 'b m'] | None = None,
  ) -> Float[Array, 'b m t d']:
    """Attends over t; `c` is the condition of each token, broadcast."""
    width = x.shape[-1]
    c = _dense(6 * width, ('embed', 'mlp'), self.dtype, 'modulation', _ZERO)(c)
    shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(c, 6, axis=-1)
    y = _norm(x) * (1 + scale1) + shift1
    y = attention.SelfAttention(self.heads, self.dtype, name='attention')(
      y, anchor
    )
    x = x + gate1 * y
    y = _norm(x) * (1 + scale2) + shift2
    y = _dense(4 * width, ('embed', 'mlp'), self.dtype, 'mlp_in')(y)
    y = nn.gelu(y, approximate=True)
    y = _dense(width, ('mlp', 'embed'), self.dtype, 'mlp_out')(y)
    return x + gate2 * y


class FinalLayer(nn.Module):
  """Modulated norm and the projection to patches; zero at first."""

  features: int
  dtype: Any

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b f n d'], c: Float[Array, 'b f 1 d']
  ) -> Float[Array, 'b f n p']:
    """Projects tokens to the pixels of their patches."""
    width = x.shape[-1]
    c = _dense(2 * width, ('embed', 'mlp'), self.dtype, 'modulation', _ZERO)(c)
    shift, scale = jnp.split(c, 2, axis=-1)
    x = _norm(x) * (1 + scale) + shift
    return _dense(
      self.features, ('embed', 'patch'), self.dtype, 'pixels', _ZERO
    )(x)


def _norm(x):
  """LayerNorm without parameters, computed in float32."""
  norm = nn.LayerNorm(epsilon=1e-6, use_bias=False, use_scale=False)
  return norm(x.astype(jnp.float32)).astype(x.dtype)


def _dense(features, axes, dtype, name, kernel_init=_XAVIER):
  return nn.Dense(
    features,
    dtype=dtype,
    kernel_init=nn.with_logical_partitioning(kernel_init, axes),
    name=name,
  )


def _conv(features, dtype, name, kernel_init=nn.linear.default_kernel_init):
  return nn.Conv(
    features, (3, 3), dtype=dtype, kernel_init=kernel_init, name=name
  )


def _add_table(x, table):
  """Adds a float64 table to the trailing axes of x, in x's dtype."""
  table = jnp.asarray(table, x.dtype)
  return x + table.reshape((1,) * (x.ndim - table.ndim) + table.shape)


MODELS = {'latte': Latte}
