"""Rows for the KL autoencoder, under the names of diffusers and of LDM.

VideoCrafter, DynamiCrafter and Stable Diffusion 1 and 2 keep LDM's names in one
file with the rest of their model, under `first_stage_model.`.
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from framebridge_jax.models import vae_kl
from framebridge_jax.porting import family, rules


class Layout(NamedTuple):
  """How a project names the parts of an autoencoder.

  Attributes:
    prefix: of all names.
    levels: of the encoder's and the decoder's levels.
    block: a residual block of a level.
    moves: what halves the side, and what doubles it.
    skip: the 1x1 convolution of a block.
    middle: its two blocks and its attention.
    heads: the attention's norm, query, key, value and output.
    last_norm: before the last convolution.
    reversed: whether the decoder's levels are counted from its output.
    convolved: whether the attention's layers are 1x1 convolutions.
  """

  prefix: str
  levels: tuple[str, str]
  block: str
  moves: tuple[str, str]
  skip: str
  middle: tuple[str, str, str]
  heads: tuple[str, str, str, str, str]
  last_norm: str
  reversed: bool
  convolved: bool

  @property
  def attends(self) -> str:
    """A tensor that no other layout has."""
    _, _, attention = self.middle
    return f'{self.prefix}encoder.{attention}.{self.heads[1]}.weight'


def look(
  specs: family.Specs, size: Mapping[str, Any], said: Mapping[str, Any]
) -> family.Found:
  """Reads widths, depth and channels off a checkpoint's shapes.

  Args:
    specs: names and shapes of the tensors.
    size: what shapes do not say: `groups` and `scale`; other options of the
      network must be those of the checkpoint.
    said: nothing of it is wanted.

  Raises:
    rules.PortError: it is no such autoencoder, or one of another size.
  """
  del said
  found = next((k for k, row in LAYOUTS.items() if row.attends in specs), None)
  if found is None:
    known = ', '.join(row.attends for row in LAYOUTS.values())
    raise rules.PortError(
      f'the checkpoint has none of {known}; its first tensor is '
      f'{min(specs, default="none")}, so it is no KL autoencoder'
    )
  layout = LAYOUTS[found]
  widths, blocks = [], 0
  while name := _first_of_level(layout, len(widths), 0, specs):
    widths.append(family.shape_of(specs, name, 'out in h w')[0])
  while _first_of_level(layout, 0, blocks, specs):
    blocks += 1
  last = f'{layout.prefix}post_quant_conv.weight'
  channels, *_ = family.shape_of(specs, last, 'out in h w')
  seen = {
    'widths': tuple(widths),
    'blocks': blocks,
    'channels': channels,
  }
  family.judge_size(size, seen)
  if size['scale'] != _XL and any(n.startswith(_OF_XL) for n in specs):
    raise rules.PortError(
      f'the checkpoint holds {_OF_XL}, so it is of Stable Diffusion XL, whose '
      f'latents have the scale {_XL}; choose sdxl_vae_f8'
    )
  return family.Found(
    options={**size, **seen},
    layout=found,
    skipped=family.beside(specs, layout.prefix, ('loss.', 'model_ema.')),
  )


def _first_of_level(layout, level, block, specs):
  """A name of the encoder that is there if its level has the block."""
  place = layout.levels[0].format(level=level)
  name = f'{place}.{layout.block.format(block=block)}.conv1.weight'
  name = f'{layout.prefix}encoder.{name}'
  return name if name in specs else None


def judge_config(path: pathlib.Path, size: Mapping[str, Any]) -> None:
  """Compares a `config.json` of diffusers beside a checkpoint.

  Raises:
    rules.PortError: its groups or its scale are others.
  """
  config = family.config_beside(path)
  if config.get('_class_name') == 'AutoencoderKL':
    wanted = {
      'norm_num_groups': size['groups'],
      'scaling_factor': size['scale'],
    }
    family.judge_said(config, wanted)


def shapes(network: vae_kl.AutoencoderKL) -> dict[str, tuple[int, ...]]:
  """Shapes of its parameters by path."""
  side = network.factor
  return family.shapes_of(network.init, jnp.zeros((1, side, side, 3)))


def rows(network: vae_kl.AutoencoderKL, layout: str) -> family.Rows:
  """The table of a network.

  Args:
    network: the autoencoder.
    layout: a row of LAYOUTS.
  """
  names = LAYOUTS[layout]
  table = [
    *_half(network, names, 'encoder', network.blocks, network.widths),
    *_half(network, names, 'decoder', network.blocks + 1, network.widths[::-1]),
    *_conv('quant_conv', 'quant'),
    *_conv('post_quant_conv', 'post_quant'),
  ]
  return [row._replace(source=names.prefix + row.source) for row in table]


def _half(network, names, half, blocks, widths) -> Iterator[rules.Rule]:
  """The encoder's rows, or the decoder's; `widths` in the order they run."""
  decodes = half == 'decoder'
  last = len(widths) - 1
  width = widths[0]
  yield from _conv(f'{half}.conv_in', f'{half}/conv_in')
  for level, after in enumerate(widths):
    number = last - level if decodes and names.reversed else level
    place = f'{half}.{names.levels[decodes].format(level=number)}'
    for i in range(blocks):
      source = f'{place}.{names.block.format(block=i)}'
      target = f'{half}/level_{level}_block_{i}'
      yield from _block(source, target)
      if width != after:
        yield from _conv(f'{source}.{names.skip}', f'{target}/skip')
      width = after
    if level < last:
      way = ('down', 'up')[decodes]
      target = f'{half}/level_{level}_{way}'
      yield from _conv(f'{place}.{names.moves[decodes]}', target)
  yield from _middle(names, half)
  yield from rules.norm(f'{half}.{names.last_norm}', f'{half}/norm_out')
  yield from _conv(f'{half}.conv_out', f'{half}/conv_out')


def _middle(names, half):
  first, second, attention = names.middle
  target = f'{half}/middle'
  yield from _block(f'{half}.{first}', f'{target}/block_0')
  yield from _block(f'{half}.{second}', f'{target}/block_1')
  norm, *layers = (f'{half}.{attention}.{name}' for name in names.heads)
  yield from rules.norm(norm, f'{target}/norm')
  for source, name in zip(layers, _HEADS, strict=True):
    kernel = pointwise if names.convolved else rules.linear
    yield rules.Rule(f'{source}.weight', f'{target}/{name}/kernel', kernel)
    yield rules.Rule(f'{source}.bias', f'{target}/{name}/bias', rules.vector)


def _block(source, target):
  for i in (1, 2):
    yield from rules.norm(f'{source}.norm{i}', f'{target}/norm{i}')
    yield from _conv(f'{source}.conv{i}', f'{target}/conv{i}')


def _conv(source, target):
  yield rules.Rule(f'{source}.weight', f'{target}/kernel', convolution)
  yield rules.Rule(f'{source}.bias', f'{target}/bias', rules.vector)


# PyTorch keeps a convolution as [out, in, h, w], flax as [h, w, in, out].
convolution = rules.Transform(
  lambda x: np.transpose(x, (2, 3, 1, 0)),
  lambda x: np.transpose(x, (3, 2, 0, 1)),
)
pointwise = rules.Transform(
  lambda x: np.transpose(x[:, :, 0, 0]),
  lambda x: np.transpose(x)[:, :, None, None],
)

_OF_XL, _XL = 'conditioner.embedders.', 0.13025
_HEADS = ('query', 'key', 'value', 'out')
_DIFFUSERS = Layout(
  prefix='',
  levels=('down_blocks.{level}', 'up_blocks.{level}'),
  block='resnets.{block}',
  moves=('downsamplers.0.conv', 'upsamplers.0.conv'),
  skip='conv_shortcut',
  middle=(
    'mid_block.resnets.0',
    'mid_block.resnets.1',
    'mid_block.attentions.0',
  ),
  heads=('group_norm', 'to_q', 'to_k', 'to_v', 'to_out.0'),
  last_norm='conv_norm_out',
  reversed=False,
  convolved=False,
)
_LDM = Layout(
  prefix='',
  levels=('down.{level}', 'up.{level}'),
  block='block.{block}',
  moves=('downsample.conv', 'upsample.conv'),
  skip='nin_shortcut',
  middle=('mid.block_1', 'mid.block_2', 'mid.attn_1'),
  heads=('norm', 'q', 'k', 'v', 'proj_out'),
  last_norm='norm_out',
  reversed=True,
  convolved=True,
)
LAYOUTS = {
  'diffusers': _DIFFUSERS,
  # Files of 2022, such as sd-vae-ft-mse.
  'diffusers_old': _DIFFUSERS._replace(
    heads=('group_norm', 'query', 'key', 'value', 'proj_attn')
  ),
  'ldm': _LDM,
  'first_stage': _LDM._replace(prefix='first_stage_model.'),
}
_F8 = {
  'widths': (128, 256, 512, 512),
  'blocks': 2,
  'channels': 4,
  'groups': 32,
}
# Stable Diffusion XL's was trained anew: its latents have another scale.
PORTS = {
  'sd_vae_f8': {**_F8, 'scale': 0.18215},
  'sdxl_vae_f8': {**_F8, 'scale': 0.13025},
}
