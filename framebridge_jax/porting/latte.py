"""Rows for the Latte family: Latte, FVDM, FrameBridge-Latte and its F.

What a checkpoint does not say in words it says in shapes: classes, learned
variance, text, a prior on channels, an image frame, and whether it hears time
are read off the tensors that are there.
"""

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from framebridge_jax.models import embeddings, latte
from framebridge_jax.porting import family, rules
from framebridge_jax.porting.rules import (
  Fixed,
  Rule,
  dense,
  patches,
  vector,
)


def look(
  specs: family.Specs, size: Mapping[str, Any], said: Mapping[str, Any]
) -> family.Found:
  """Reads a network's options off a checkpoint's shapes.

  Args:
    specs: names and shapes of the tensors.
    size: patch, width and depth, which must be the checkpoint's, and heads,
      which shapes do not say.
    said: `frames` of a clip, of which a table with one row more means an image
      frame, and `channels` of a latent.

  Raises:
    rules.PortError: it is no checkpoint of this family, or of another size.
  """
  frames, channels = said['frames'], said['channels']
  layout = _layout(specs)
  prefix = LAYOUTS[layout].prefix
  shape = functools.partial(_shape, specs, prefix)
  width, seen, side, _ = shape('x_embedder.proj.weight', '[width, c, p, p]')
  depth = sum(name.endswith(_LAST) for name in specs)
  family.judge_size(size, {'patch': side, 'width': width, 'depth': depth})
  out, _ = shape('final_layer.linear.weight', '[p p c, width]')
  _, rows_of_time, _ = shape('temp_embed', '[1, frames, width]')
  _, places, _ = shape('pos_embed', '[1, places, width]')
  parts = {name.removeprefix(prefix).split('.')[0] for name in specs}
  labels = text = 0
  if 'y_embedder' in parts:
    name = 'y_embedder.embedding_table.weight'
    labels, _ = shape(name, '[classes + 1, width]')
  if 'text_embedding_projection' in parts:
    _, text = shape('text_embedding_projection.1.weight', '[width, text]')
  _judge_clip(seen, channels, rows_of_time, frames)
  return family.Found(
    options={
      'classes': max(labels - 1, 0),
      'text_width': text,
      'timed': 't_embedder' in parts,
      'learned_variance': out == 2 * channels * side**2,
      'prior': seen == 2 * channels,
      'image_frame': rows_of_time == frames + 1,
    },
    layout=layout,
    facts={
      'frames': frames,
      'grid': math.isqrt(places),
      'channels': channels,
    },
  )


def _layout(specs):
  for name, row in LAYOUTS.items():
    if row.tells in specs:
      return name
  raise rules.PortError(
    f'the checkpoint has no tensor {LAYOUTS["latte"].tells}; its first is '
    f'{min(specs, default="none")}, so it is no checkpoint of Latte'
  )


def _shape(specs, prefix, name, want):
  """The shape of a tensor that must have the axes of `want`."""
  spec = specs.get(prefix + name)
  if spec is None or len(spec.shape) != len(want.split(',')):
    held = 'is missing' if spec is None else f'has the shape {spec.shape}'
    raise rules.PortError(f'{prefix}{name} {held}, want {want}')
  return spec.shape


def _judge_clip(seen, channels, rows_of_time, frames):
  """What the caller says of a clip against what the checkpoint was made for."""
  if seen not in (channels, 2 * channels):
    raise rules.PortError(
      f'x_embedder.proj.weight reads {seen} channels, want {channels}, or '
      f'{2 * channels} with a prior'
    )
  if rows_of_time not in (frames, frames + 1):
    raise rules.PortError(
      f'temp_embed has {rows_of_time} rows, want {frames} for a clip of '
      f'{frames} frames, or one more with an image frame'
    )


def rows(
  network: latte.Latte, layout: str, *, frames: int, grid: int, channels: int
) -> family.Rows:
  """The table of a network at the clip size that its checkpoint has.

  Args:
    network: unscanned; stem and anchor are no part of these checkpoints.
    layout: a row of LAYOUTS, the names of the blocks.
    frames: of the clip, without an image frame.
    grid: rows (and columns) of tokens.
    channels: of a latent; no table depends on them.
  """
  del channels
  prefix, spatial, temporal, _ = LAYOUTS[layout]
  table = [
    *_tables(network, frames, grid),
    Rule('x_embedder.proj.weight', 'patches/kernel', patches(network.patch)),
    Rule('x_embedder.proj.bias', 'patches/bias', vector),
  ]
  if network.timed:
    table += dense('t_embedder.mlp.0', 'time_in')
    table += dense('t_embedder.mlp.2', 'time_out')
  if network.classes:
    table.append(
      Rule('y_embedder.embedding_table.weight', 'labels/embedding', vector)
    )
  if network.text_width:
    table += dense('text_embedding_projection.1', 'text')
  for pair in range(network.depth // 2):
    numbers = {'pair': pair, 'even': 2 * pair, 'odd': 2 * pair + 1}
    table += _block(spatial.format(**numbers), f'spatial_{pair}')
    table += _block(temporal.format(**numbers), f'temporal_{pair}')
  table += dense('final_layer.linear', 'final/pixels')
  table += dense('final_layer.adaLN_modulation.1', 'final/modulation')
  return [row._replace(source=prefix + row.source) for row in table]


def shapes(
  network: latte.Latte, *, frames: int, grid: int, channels: int
) -> dict[str, tuple[int, ...]]:
  """Shapes of its parameters by path."""
  side = grid * network.patch
  z = jnp.zeros((1, frames, side, side, channels), jnp.float32)
  cond = latte.Cond(
    label=jnp.zeros(1, jnp.int32),
    prior=z,
    image=z[:, :1],
    text=jnp.zeros((1, network.text_width), jnp.float32),
  )
  t = jnp.zeros((1, frames), jnp.float32)
  return family.shapes_of(network.init, z, t, cond)


def _tables(network, frames, grid):
  side = np.arange(grid, dtype=np.float64)
  time = np.arange(frames + network.image_frame, dtype=np.float64)
  place = embeddings.grid_table(side, side, network.width)
  frame = embeddings.position_table(time, network.width)
  yield Fixed('pos_embed', place[None].astype(np.float32))
  yield Fixed('temp_embed', frame[None].astype(np.float32))


def _block(source: str, target: str) -> Iterator[Rule]:
  yield from dense(f'{source}.attn.qkv', f'{target}/attention/qkv')
  yield from dense(f'{source}.attn.proj', f'{target}/attention/out')
  yield from dense(f'{source}.mlp.fc1', f'{target}/mlp_in')
  yield from dense(f'{source}.mlp.fc2', f'{target}/mlp_out')
  yield from dense(f'{source}.adaLN_modulation.1', f'{target}/modulation')


class Layout(NamedTuple):
  """How a project names its blocks.

  Attributes:
    prefix: of all names.
    spatial: name of a pair's first block.
    temporal: name of its second.
    tells: a tensor that no other layout has.
  """

  prefix: str
  spatial: str
  temporal: str
  tells: str


_LAST = 'attn.qkv.weight'
LAYOUTS = {
  'latte': Layout('', 'blocks.{even}', 'blocks.{odd}', f'blocks.0.{_LAST}'),
  'fvdm': Layout(
    '',
    'blocks_spatial.{pair}',
    'blocks_temp.{pair}',
    f'blocks_spatial.0.{_LAST}',
  ),
  'framebridge_prior': Layout(
    'nwarp_model.',
    'blocks.{even}',
    'blocks.{odd}',
    f'nwarp_model.blocks.0.{_LAST}',
  ),
}
