"""The KL autoencoder of latent diffusion (Rombach et al. 2022, "f8").

Stable Diffusion, Latte and VideoCrafter share it.  It knows single frames: a
clip is encoded frame by frame, so a latent frame holds one pixel frame.
Pixels are in [-1, 1]; latents here are plain, and `scale` times them have
about unit variance.
"""

import collections
import functools
import itertools
from fractions import Fraction
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from framebridge_jax.models import attention

Frames = Float[Array, 'n h w c']
Other = Float[Array, 'n p q d']  # of another size and width

_LOGVAR = -30.0, 20.0  # where public code clips it


class Moments(NamedTuple):
  """A normal distribution of each latent: mean, and log of the variance."""

  mean: Frames
  logvar: Frames

  def sample(self, noise: Frames) -> Frames:
    """The latent that standard normal noise of the same shape draws."""
    return self.mean + jnp.exp(0.5 * self.logvar) * noise


class AutoencoderKL(nn.Module):
  """Encoder and decoder, with the 1x1 convolutions between them.

  Attributes:
    widths: channels of the levels; each but the last halves the side.
    blocks: residual blocks of a level; the decoder has one more.
    channels: of a latent.
    groups: of a group norm.
    scale: what plain latents are multiplied by for a video model.
    dtype: of convolutions and matrix products; norms are float32.
  """

  widths: tuple[int, ...] = (128, 256, 512, 512)
  blocks: int = 2
  channels: int = 4
  groups: int = 32
  scale: float = 0.18215
  dtype: Any = jnp.float32

  @property
  def factor(self) -> int:
    """Pixels of a side to one latent."""
    return 2 ** (len(self.widths) - 1)

  def setup(self):
    """Both halves; a checkpoint always has both."""
    shared = self.widths, self.groups, self.dtype
    self.encoder = Encoder(*shared, self.blocks, 2 * self.channels)
    self.decoder = Decoder(*shared, self.blocks + 1, 3)
    self.quant = _conv(2 * self.channels, 1, self.dtype)
    self.post_quant = _conv(self.channels, 1, self.dtype)

  def encode(self, frames: Frames) -> Moments:
    """Moments [n, h / factor, w / factor, channels], float32."""
    x = self.quant(self.encoder(frames.astype(self.dtype)))
    mean, logvar = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return Moments(mean, jnp.clip(logvar, *_LOGVAR))

  def decode(self, latents: Frames) -> Other:
    """Frames [n, h, w, 3], float32, about in [-1, 1]."""
    x = self.post_quant(latents.astype(self.dtype))
    return self.decoder(x).astype(jnp.float32)

  def __call__(self, frames: Frames) -> Frames:
    """There and back, by the mode."""
    return self.decode(self.encode(frames).mean)


def encode(
  network: AutoencoderKL,
  variables: PyTree,
  frames: Frames,
  *,
  chunk: int,
  tile: int = 0,
) -> Moments:
  """Moments of many frames in bounded memory.

  Args:
    network: the autoencoder.
    variables: its parameters.
    frames: in [-1, 1].
    chunk: frames that are in work at a time; changes no number.
    tile: side in pixels of what is in work of a frame, for frames that are
      larger; 0 takes whole frames.  A tile's norms and attention know nothing
      of the others, so it changes numbers, as in diffusers.

  Raises:
    ValueError: a side is no multiple of `network.factor`, or the tile none of
      four times it.
  """
  judge_sides(frames.shape[1:3], network.factor)
  judge_tile(tile, network.factor)

  def run(part):
    moments = network.apply(variables, part, method='encode')
    return jnp.concatenate(moments, axis=-1)

  moments = _in_chunks(_tiled(run, tile, Fraction(1, network.factor)), chunk)
  return Moments(*jnp.split(moments(frames), 2, axis=-1))


def decode(
  network: AutoencoderKL,
  variables: PyTree,
  latents: Frames,
  *,
  chunk: int,
  tile: int = 0,
) -> Other:
  """Frames of many plain latents; `chunk` and `tile` as in `encode`.

  Raises:
    ValueError: as in `encode`.
  """
  factor = network.factor
  judge_tile(tile, factor)

  def run(part):
    return network.apply(variables, part, method='decode')

  return _in_chunks(_tiled(run, tile // factor, Fraction(factor)), chunk)(
    latents
  )


def judge_sides(sides: tuple[int, ...], factor: int) -> None:
  """Refuses frames that cannot be halved often enough.

  Raises:
    ValueError: a side is no multiple of the factor.
  """
  if any(side % factor for side in sides):
    raise ValueError(
      f'frames are {sides[0]} x {sides[1]}; the autoencoder wants sides that '
      f'are multiples of {factor}'
    )


def judge_tile(tile: int, factor: int) -> None:
  """Refuses tiles whose quarter is no whole number of latents.

  Raises:
    ValueError: it is neither 0 nor a multiple of four times the factor.
  """
  if tile % (4 * factor):
    raise ValueError(
      f'tile is {tile}, want a multiple of {4 * factor} pixels, or 0'
    )


def _in_chunks(run, chunk):
  """Runs equal chunks one after the other, as few as `chunk` allows."""

  def apply(x):
    count = -(-len(x) // chunk)
    size = -(-len(x) // count)
    padded = jnp.pad(x, [(0, count * size - len(x))] + [(0, 0)] * (x.ndim - 1))
    y = jax.lax.map(run, padded.reshape(count, size, *x.shape[1:]))
    return y.reshape(-1, *y.shape[2:])[: len(x)]

  return apply


def _tiled(run, tile, scale):
  """As diffusers does it: tiles overlap by a quarter, and are blended there.

  `scale` is the side of the output to that of the input.
  """

  def apply(x):
    sides = x.shape[1:3]
    if not tile or max(sides) <= tile:
      return run(x)
    step = tile * 3 // 4
    grids = [range(0, side, step) for side in sides]
    tiles = _run_tiles(run, x, tile, grids)
    blend, keep = int(tile // 4 * scale), int(step * scale)
    for (i, j), y in tiles.items():
      if i:
        y = _blended(tiles[i - step, j], y, blend, axis=1)
      if j:
        y = _blended(tiles[i, j - step], y, blend, axis=2)
      tiles[i, j] = y
    rows = [
      jnp.concatenate([tiles[i, j][:, :keep, :keep] for j in grids[1]], axis=2)
      for i in grids[0]
    ]
    return jnp.concatenate(rows, axis=1)

  return apply


def _run_tiles(run, x, tile, grids):
  """Outputs by their tiles' first row and column, in reading order.

  Tiles of one shape are one loop, so that each shape is compiled once and one
  tile is in memory.
  """
  places = list(itertools.product(*grids))
  shapes = collections.defaultdict(list)
  for place in places:
    ends = zip(place, x.shape[1:3], strict=True)
    shapes[tuple(min(tile, side - start) for start, side in ends)].append(place)
  done = {}
  for (height, width), group in shapes.items():

    def cut(start, size=(height, width)):
      i, j = start
      part = (x.shape[0], *size, x.shape[3])
      return run(jax.lax.dynamic_slice(x, (0, i, j, 0), part))

    starts = jnp.asarray(group, jnp.int32)
    outputs = jax.lax.map(cut, starts)
    done |= dict(zip(group, outputs, strict=True))
  return {place: done[place] for place in places}


def _blended(before, y, blend, *, axis):
  """Goes over from the end of the tile before to the start of this one."""
  count = min(before.shape[axis], y.shape[axis], blend)
  shape = [1] * y.ndim
  shape[axis] = count
  share = (jnp.arange(count) / count).astype(y.dtype).reshape(shape)
  end = jax.lax.slice_in_dim(
    before, before.shape[axis] - count, None, axis=axis
  )
  start = jax.lax.slice_in_dim(y, 0, count, axis=axis)
  rest = jax.lax.slice_in_dim(y, count, None, axis=axis)
  return jnp.concatenate([end * (1 - share) + start * share, rest], axis=axis)


class Encoder(nn.Module):
  """Frames to moments that are not split yet."""

  widths: tuple[int, ...]
  groups: int
  dtype: Any
  blocks: int
  features: int

  @nn.compact
  def __call__(self, x: Frames) -> Other:
    """Halves the side after every level but the last."""
    block = functools.partial(Residual, groups=self.groups, dtype=self.dtype)
    x = _conv(self.widths[0], 3, self.dtype, name='conv_in')(x)
    for level, width in enumerate(self.widths):
      for i in range(self.blocks):
        x = block(width, name=f'level_{level}_block_{i}')(x)
      if level < len(self.widths) - 1:
        name = f'level_{level}_down'
        # The public code pads right and below alone.
        padding = ((0, 1), (0, 1))
        x = _conv(width, 3, self.dtype, 2, padding, name=name)(x)
    x = Middle(self.groups, self.dtype, name='middle')(x)
    x = nn.silu(_norm(self.groups, 'norm_out')(x))
    return _conv(self.features, 3, self.dtype, name='conv_out')(x)


class Decoder(nn.Module):
  """Latents to frames; level 0 is the first that is run, the widest."""

  widths: tuple[int, ...]
  groups: int
  dtype: Any
  blocks: int
  features: int

  @nn.compact
  def __call__(self, x: Frames) -> Other:
    """Doubles the side after every level but the last."""
    block = functools.partial(Residual, groups=self.groups, dtype=self.dtype)
    x = _conv(self.widths[-1], 3, self.dtype, name='conv_in')(x)
    x = Middle(self.groups, self.dtype, name='middle')(x)
    for level, width in enumerate(reversed(self.widths)):
      for i in range(self.blocks):
        x = block(width, name=f'level_{level}_block_{i}')(x)
      if level < len(self.widths) - 1:
        x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        x = _conv(width, 3, self.dtype, name=f'level_{level}_up')(x)
    x = nn.silu(_norm(self.groups, 'norm_out')(x))
    return _conv(self.features, 3, self.dtype, name='conv_out')(x)


class Residual(nn.Module):
  """Two convolutions beside a skip, 1x1 where the width changes."""

  width: int
  groups: int
  dtype: Any

  @nn.compact
  def __call__(self, x: Frames) -> Float[Array, 'n h w d']:
    """Norm, SiLU and convolution, twice."""
    y = nn.silu(_norm(self.groups, 'norm1')(x))
    y = _conv(self.width, 3, self.dtype, name='conv1')(y)
    y = nn.silu(_norm(self.groups, 'norm2')(y))
    y = _conv(self.width, 3, self.dtype, name='conv2')(y)
    if x.shape[-1] != self.width:
      x = _conv(self.width, 1, self.dtype, name='skip')(x)
    return x + y


class Middle(nn.Module):
  """Attention over all places of a frame, between two residual blocks."""

  groups: int
  dtype: Any

  @nn.compact
  def __call__(self, x: Frames) -> Frames:
    """One head, as wide as the level."""
    n, h, w, width = x.shape
    x = Residual(width, self.groups, self.dtype, name='block_0')(x)
    y = _norm(self.groups, 'norm')(x).reshape(n, h * w, width)
    q, k, v = (
      nn.Dense(width, dtype=self.dtype, name=name)(y)[:, :, None]
      for name in ('query', 'key', 'value')
    )
    # jax promotes bfloat16 scores itself, which strict promotion would refuse.
    with jax.numpy_dtype_promotion('standard'):
      y = attention.ATTENTIONS['default'](q, k, v)
    y = nn.Dense(width, dtype=self.dtype, name='out')(y[:, :, 0])
    x = x + y.reshape(x.shape)
    return Residual(width, self.groups, self.dtype, name='block_1')(x)


def _norm(groups, name):
  """Computed and left in the dtype of its input, through float32."""
  norm = nn.GroupNorm(
    groups,
    epsilon=1e-6,
    use_fast_variance=False,
    force_float32_reductions=True,
    name=name,
  )

  def apply(x):
    # flax multiplies by scales that may be stored in bfloat16.
    with jax.numpy_dtype_promotion('standard'):
      return norm(x.astype(jnp.float32)).astype(x.dtype)

  return apply


def _conv(features, side, dtype, stride=1, padding='SAME', name=None):
  return nn.Conv(
    features,
    (side, side),
    strides=stride,
    padding=padding,
    dtype=dtype,
    name=name,
  )
