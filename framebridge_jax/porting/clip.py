"""What the tables of CLIP's text and image towers share.

transformers has q, k and v apart and OpenCLIP stacks them; here they are
apart.  One file may hold both towers, or a whole video model around one.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from framebridge_jax.porting import family, rules


class Layout(NamedTuple):
  """Where a file keeps a tower.

  Attributes:
    root: of the names of both towers.
    body: goes on behind it in the names of this tower.
    style: how the rest is named, a row of BLOCKS.
  """

  root: str
  body: str
  style: str


class Blocks(NamedTuple):
  """How a project names a tower's blocks.

  Attributes:
    name: of the i-th.
    mlp: of the first layer of its MLP.
    rows: makes a block's rows of its source and target.
  """

  name: str
  mlp: str
  rows: Callable[[str, str], Iterator[rules.Row]]


def find_layout(
  specs: family.Specs,
  layouts: Mapping[str, Layout],
  tells: Mapping[str, str],
  kind: str,
) -> str:
  """The row of `layouts` that a file is in.

  Args:
    specs: names and shapes of the tensors.
    layouts: rows by name.
    tells: a tensor of each style that the other tower has not.
    kind: what the tower is called.

  Raises:
    rules.PortError: it is in none; it says what the first tensors are.
  """
  names = {k: x.root + x.body + tells[x.style] for k, x in layouts.items()}
  found = next((k for k, name in names.items() if name in specs), None)
  if found is None:
    first = ', '.join(f'{k} {specs[k].shape}' for k in sorted(specs)[:3])
    raise rules.PortError(
      f'the checkpoint is no {kind}: it has none of '
      f'{", ".join(names.values())}; its first tensors are {first or "nothing"}'
    )
  return found


def look_at_blocks(specs: family.Specs, layout: Layout) -> dict[str, int]:
  """Depth and MLP of a tower."""
  blocks = BLOCKS[layout.style]

  def name(i):
    block = blocks.name.format(i=i)
    return f'{layout.root}{layout.body}{block}.{blocks.mlp}.weight'

  mlp, _ = family.shape_of(specs, name(0), 'mlp width')
  depth = 1
  while name(depth) in specs:
    depth += 1
  return {'depth': depth, 'mlp': mlp}


def rows_of_blocks(layout: Layout, depth: int) -> Iterator[rules.Row]:
  """The table of a tower's blocks."""
  blocks = BLOCKS[layout.style]
  for i in range(depth):
    name = layout.root + layout.body + blocks.name.format(i=i)
    yield from blocks.rows(name, f'block_{i}')


def judge_config(
  path: pathlib.Path, size: Mapping[str, Any], tower: str
) -> None:
  """Compares a `config.json` of transformers beside a checkpoint with a row.

  Args:
    path: the checkpoint, or the folder that it is in.
    size: the row's options.
    tower: 'text_config' or 'vision_config', of a config of both.

  Raises:
    rules.PortError: they differ, or the config cannot be read.
  """
  config = family.config_beside(path)
  if not str(config.get('model_type')).startswith('clip'):
    return
  # transformers leaves out what is as it always was.
  said = {'hidden_act': 'quick_gelu', **(config.get(tower) or config)}
  wanted = {
    'hidden_act': size['activation'],
    'num_attention_heads': size['heads'],
    'layer_norm_eps': 1e-5,
  }
  family.judge_said(said, wanted)


def _transformers(source, target):
  yield from rules.norm(f'{source}.layer_norm1', f'{target}/norm_1')
  for name in ('q', 'k', 'v', 'out'):
    yield from rules.dense(
      f'{source}.self_attn.{name}_proj', f'{target}/attention/{name}'
    )
  yield from rules.norm(f'{source}.layer_norm2', f'{target}/norm_2')
  yield from rules.dense(f'{source}.mlp.fc1', f'{target}/mlp/in')
  yield from rules.dense(f'{source}.mlp.fc2', f'{target}/mlp/out')


def _open_clip(source, target):
  def qkv(name):
    return tuple(f'{target}/attention/{x}/{name}' for x in 'qkv')

  stack = f'{source}.attn.in_proj'
  yield from rules.norm(f'{source}.ln_1', f'{target}/norm_1')
  yield rules.Split(f'{stack}_weight', qkv('kernel'), rules.linear)
  yield rules.Split(f'{stack}_bias', qkv('bias'), rules.vector)
  yield from rules.dense(f'{source}.attn.out_proj', f'{target}/attention/out')
  yield from rules.norm(f'{source}.ln_2', f'{target}/norm_2')
  yield from rules.dense(f'{source}.mlp.c_fc', f'{target}/mlp/in')
  yield from rules.dense(f'{source}.mlp.c_proj', f'{target}/mlp/out')


BLOCKS = {
  'transformers': Blocks('encoder.layers.{i}', 'mlp.fc1', _transformers),
  'open_clip': Blocks('transformer.resblocks.{i}', 'mlp.c_fc', _open_clip),
}
