"""Latte: a video transformer of alternating space and time blocks.

Spatial blocks attend within a frame, temporal blocks along each place; both
are modulated by adaLN-Zero (Ma et al. 2024, "Latte").  Time is per frame as
in FVDM: `t` is `[b, f]` and every token hears its own frame's time; a clip's
one time is a row of equal entries.  What `t` means is not the network's
business.
"""

import functools
from typing import Any, NamedTuple

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from framebridge_jax.arrays import FrameTime, Labels, Latents
from framebridge_jax.models import attention, embeddings, layers

_TIME_WIDTH = 256
_XAVIER = nn.initializers.xavier_uniform()
_SMALL = nn.initializers.normal(0.02)
_ZERO = nn.initializers.zeros_init()


class Cond(NamedTuple):
  """What a network sees besides the noisy latent; None where it sees nothing.

  Attributes:
    label: class in [0, classes]; `classes` itself is the null class.
    prior: latents put on channels.
    anchor: for each frame, the frame that it may look at besides itself.
    image: one frame put before the clip as tokens.
    text: a text's embeddings, laid out as one vector.
    stride: source frames from one frame of the clip to the next.
  """

  label: Labels | None = None
  prior: Latents | None = None
  anchor: Int[Array, 'b f'] | None = None
  image: Float[Array, 'b 1 h w c'] | None = None
  text: Float[Array, 'b n'] | None = None
  stride: Float[Array, 'b'] | None = None


class Latte(nn.Module):
  """Maps `(z, t, cond)` to an array shaped like z.

  With `stem` and `anchor` off this is Latte.  Both are for small models in
  pixel space: the stem keeps what is finer than a patch, and the anchor lets a
  token copy from anywhere in its known frame in one step, where plain Latte
  needs two blocks to look elsewhere in another frame.

  Attributes:
    patch: side of a square token, in latent pixels.
    width: channels of a token.
    depth: blocks, half of them spatial and half temporal; even.
    heads: attention heads.
    classes: labels; the table holds one row more, the null class.  0: none.
    text_width: length of the text vector; 0: none.
    timed: whether it hears a time (a neural prior does not).
    learned_variance: whether the output has a second half of channels.
    prior: whether it sees a prior on channels.
    image_frame: whether it sees an image as a frame before the clip
      (FrameBridge-Latte).  That frame hears the first frame's time.
    stride: whether it hears the clip's stride.
    trained_grid: frames, rows and columns of tokens that positions are
      squeezed into, for clips of another size than a checkpoint's; () leaves
      them as they are.
    stem: channels of a convolution before the patches, whose output also
      skips to two convolutions after them; 0 for linear patches.
    anchor: whether spatial blocks also attend to each frame's anchor frame.
    scan: whether pairs of blocks are one scanned layer: compiles faster.
    remat: what the backward pass computes anew, a row of REMATS.
    attention: a row of ATTENTIONS.
    dtype: of matrix products; parameters and norms stay float32.
  """

  patch: int
  width: int
  depth: int
  heads: int
  classes: int = 0
  text_width: int = 0
  timed: bool = True
  learned_variance: bool = False
  prior: bool = False
  image_frame: bool = False
  stride: bool = False
  trained_grid: tuple[int, ...] = ()
  stem: int = 0
  anchor: bool = False
  scan: bool = False
  remat: str = 'none'
  attention: str = 'default'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, z: Latents, t: FrameTime, cond: Cond
  ) -> Float[Array, 'b f h w out']:
    """Raw prediction for z at network times t, in float32."""
    fine, t = self._input(z, t, cond)
    if self.stem:
      fine = nn.silu(_conv(self.stem, self.dtype, 'stem')(fine))
    rows, columns = (n // self.patch for n in z.shape[2:4])
    x = self._tokens(fine, rows, columns)
    c, last = self._condition(t, cond)
    x = self._blocks(x, c, cond.anchor if self.anchor else None)
    channels = z.shape[-1] * (1 + self.learned_variance)
    features = self.patch**2 * (self.stem or channels)
    x = FinalLayer(features, self.dtype, name='final')(x, _per_frame(last))
    x = layers.place(self._pixels(x, rows), layers.CLIP)
    if self.stem:
      x = nn.silu(_conv(self.stem, self.dtype, 'head_in')(x + fine))
      x = _conv(channels, self.dtype, 'head_out', _ZERO)(x)
    x = x[:, int(self.image_frame) :].astype(jnp.float32)
    return layers.place(x, layers.CLIP)

  def _input(self, z, t, cond):
    """Latents with all that stands on channels and before the clip."""
    fine = z
    if self.prior:
      fine = jnp.concatenate([fine, cond.prior], axis=-1)
    if self.image_frame:
      image = jnp.concatenate([cond.image] * (1 + self.prior), axis=-1)
      fine = jnp.concatenate([image, fine], axis=1)
      t = jnp.concatenate([t[:, :1], t], axis=1)
    return layers.place(fine.astype(self.dtype), layers.CLIP), t

  def _blocks(self, x, c, anchor):
    frames = self._positions(x.shape[1], axis=0)
    table = embeddings.position_table(frames, self.width)
    table = jnp.asarray(table, x.dtype)[None, None]
    block = functools.partial(
      _REMATTED[self.remat], self.heads, self.attention, self.dtype
    )
    if self.scan:
      pairs = nn.scan(
        Pair,
        length=self.depth // 2,
        variable_axes={'params': 0},
        split_rngs={'params': True},
        in_axes=(0, nn.broadcast, nn.broadcast),
        metadata_params={nn.PARTITION_NAME: 'layers'},
      )(block, name='pairs')
      first = jnp.arange(self.depth // 2) == 0
      tables = jnp.where(first[:, None, None, None, None], table[None], 0)
      return pairs(x, tables, c, anchor)[0]
    for pair in range(self.depth // 2):
      x = block(layers.FRAMES, name=f'spatial_{pair}')(x, _per_frame(c), anchor)
      x = einops.rearrange(x, 'b f n d -> b n f d')
      x = x + table if pair == 0 else x
      x = block(layers.PLACES, name=f'temporal_{pair}')(x, _per_place(c))
      x = einops.rearrange(x, 'b n f d -> b f n d')
    return x

  def _tokens(self, x, rows, columns):
    """Projects patches to tokens `[b, f, n, d]` that know their place."""
    x = einops.rearrange(
      x,
      'b f (r p) (k q) c -> b f (r k) (p q c)',
      p=self.patch,
      q=self.patch,
    )
    x = _dense(self.width, ('patch', 'embed'), self.dtype, 'patches')(x)
    table = embeddings.grid_table(
      self._positions(rows, axis=1),
      self._positions(columns, axis=2),
      self.width,
    )
    x = x + jnp.asarray(table, x.dtype)[None, None]
    return layers.place(x, layers.CLIP)

  def _positions(self, count, axis):
    """0, 1, ..., squeezed into the grid that the positions were trained on."""
    positions = np.arange(count, dtype=np.float64)
    if self.trained_grid:
      positions *= self.trained_grid[axis] / count
    return positions

  def _pixels(self, x, rows):
    """Lays tokens out as pixels again."""
    return einops.rearrange(
      x,
      'b f (r k) (p q c) -> b f (r p) (k q) c',
      r=rows,
      p=self.patch,
      q=self.patch,
    )

  def _condition(self, t, cond):
    """SiLU of what blocks, and the last layer, are modulated by.

    Each is `[b, f or 1, d]`.  The public code keeps text from the last layer.
    """
    c = jnp.zeros((t.shape[0], 1, self.width), self.dtype)
    if self.timed:
      c = c + self._heard(t, 'time')
    if self.classes:
      table_init = nn.with_logical_partitioning(_SMALL, ('classes', None))
      labels = nn.Embed(
        self.classes + 1,
        self.width,
        dtype=self.dtype,
        embedding_init=table_init,
        name='labels',
      )(cond.label)
      labels = layers.place(labels, ('batch',))
      c = c + einops.rearrange(labels, 'b d -> b 1 d')
    if self.stride:
      c = c + self._heard(cond.stride[:, None], 'stride', _ZERO)
    c = layers.place(c, ('batch',))
    last = nn.silu(c)
    if self.text_width:
      text = nn.silu(cond.text.astype(self.dtype))
      text = _dense(self.width, ('text', 'embed'), self.dtype, 'text')(text)
      c = c + einops.rearrange(text, 'b d -> b 1 d')
    return nn.silu(c), last

  def _heard(self, number, name, out_init=_SMALL):
    """Embeds a number by its sinusoid and a small MLP."""
    wave = embeddings.sinusoid(number, _TIME_WIDTH)
    axes = ('time', 'embed'), ('embed', None)
    into = _dense(self.width, axes[0], self.dtype, f'{name}_in', _SMALL)
    out = _dense(self.width, axes[1], self.dtype, f'{name}_out', out_init)
    return out(nn.silu(into(wave)))


class Block(nn.Module):
  """Attention and MLP over `[b, m, t, d]`, modulated by adaLN-Zero.

  `groups` names the axis m: a device has whole groups, and so all that their
  tokens look at.
  """

  heads: int
  attention: str
  dtype: Any
  groups: str = layers.FRAMES

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'b m t d'],
    c: Float[Array, 'b #m #t d'],
    anchor: Int[Array, 'b m'] | None = None,
  ) -> Float[Array, 'b m t d']:
    """Attends over t; `c` is the condition of each token, broadcast."""
    width, along = x.shape[-1], ('batch', self.groups, None)
    own = along if c.shape[1] > 1 else along[:1]
    c = _dense(6 * width, ('embed', 'mlp'), self.dtype, 'modulation', _ZERO)(
      layers.place(c, own)
    )
    c = layers.place(c, own)
    shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(c, 6, axis=-1)
    x = layers.place(x, along)
    y = layers.place(_norm(x) * (1 + scale1) + shift1, along)
    y = attention.SelfAttention(
      self.heads, self.attention, self.dtype, self.groups, name='attention'
    )(y, anchor)
    x = layers.place(x + gate1 * y, along)
    y = layers.place(_norm(x) * (1 + scale2) + shift2, along)
    y = _dense(4 * width, ('embed', 'mlp'), self.dtype, 'mlp_in')(y)
    y = nn.gelu(layers.place(y, (*along, 'mlp')), approximate=True)
    y = _dense(width, ('mlp', 'embed'), self.dtype, 'mlp_out')(y)
    return layers.place(x + gate2 * y, along)


class Pair(nn.Module):
  """A spatial and a temporal block, as one layer to scan."""

  block: Any

  @nn.compact
  def __call__(self, x, table, c, anchor):
    """Adds the frames' table between the two; it is 0 after the first pair."""
    x = self.block(layers.FRAMES, name='spatial')(x, _per_frame(c), anchor)
    x = einops.rearrange(x, 'b f n d -> b n f d') + table
    x = self.block(layers.PLACES, name='temporal')(x, _per_place(c))
    return einops.rearrange(x, 'b n f d -> b f n d'), None


class FinalLayer(nn.Module):
  """Modulated norm and the projection to patches; zero at first."""

  features: int
  dtype: Any

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b f n d'], c: Float[Array, 'b #f 1 d']
  ) -> Float[Array, 'b f n p']:
    """Projects tokens to the pixels of their patches."""
    width = x.shape[-1]
    c = _dense(2 * width, ('embed', 'mlp'), self.dtype, 'modulation', _ZERO)(c)
    shift, scale = jnp.split(c, 2, axis=-1)
    x = layers.place(_norm(x) * (1 + scale) + shift, layers.CLIP)
    x = _dense(self.features, ('embed', 'patch'), self.dtype, 'pixels', _ZERO)(
      x
    )
    return layers.place(x, layers.CLIP)


def _per_frame(c):
  return einops.rearrange(c, 'b f d -> b f 1 d')


def _per_place(c):
  return einops.rearrange(c, 'b f d -> b 1 f d')


def _norm(x):
  """LayerNorm without parameters, computed in float32."""
  norm = nn.LayerNorm(epsilon=1e-6, use_bias=False, use_scale=False)
  return norm(x.astype(jnp.float32)).astype(x.dtype)


def _dense(features, axes, dtype, name, kernel_init=_XAVIER):
  return layers.flat(
    nn.Dense(
      features,
      dtype=dtype,
      kernel_init=nn.with_logical_partitioning(kernel_init, axes),
      name=name,
    )
  )


def _conv(features, dtype, name, kernel_init=nn.linear.default_kernel_init):
  return nn.Conv(
    features, (3, 3), dtype=dtype, kernel_init=kernel_init, name=name
  )


_POLICIES = jax.checkpoint_policies
_REMATTED = {
  'none': Block,
  'full': nn.remat(Block),
  'dots': nn.remat(Block, policy=_POLICIES.dots_with_no_batch_dims_saveable),
}
REMATS = tuple(_REMATTED)

SIZES = {
  'tiny': {'width': 128, 'depth': 6, 'heads': 4},  # ours, for small frames
  's': {'width': 384, 'depth': 12, 'heads': 6},
  'b': {'width': 768, 'depth': 12, 'heads': 12},
  'l': {'width': 1024, 'depth': 24, 'heads': 16},
  'xl': {'width': 1152, 'depth': 28, 'heads': 16},
}
MODELS = {'latte': Latte} | {
  f'latte_{size}{patch}': functools.partial(Latte, patch=patch, **numbers)
  for size, numbers in SIZES.items()
  for patch in (2, 4, 8)
}
