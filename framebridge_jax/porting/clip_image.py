"""Rows for CLIP's image tower, under the names of transformers and OpenCLIP.

transformers 4 writes `vision_model.` before its names and 5 does not;
DynamiCrafter has OpenCLIP's inside its own file, with what its code left of the
text tower beside it.
"""

import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from framebridge_jax.models import clip as towers
from framebridge_jax.porting import clip, family, rules


class Style(NamedTuple):
  """How a project names what is not in blocks.

  Attributes:
    patches: the convolution that makes tokens.
    first: the class token.
    positions: the table of positions.
    norms: before the blocks and behind them.
    project: the projection, behind the root.
    turn: between its axes and ours.
    siblings: what else may stand behind the root.
  """

  patches: str
  first: str
  positions: str
  norms: tuple[str, str]
  project: str
  turn: rules.Transform
  siblings: tuple[str, ...]


def look(
  specs: family.Specs, size: Mapping[str, Any], said: Mapping[str, Any]
) -> family.Found:
  """Reads a tower's sizes off a checkpoint's shapes.

  Args:
    specs: names and shapes of the tensors.
    size: what shapes do not say, `heads` and `activation`; other options must
      be those of the checkpoint.
    said: nothing of it is wanted.

  Raises:
    rules.PortError: it holds no such tower, or one of another size.
  """
  del said
  tells = {name: style.patches for name, style in STYLES.items()}
  found = clip.find_layout(specs, LAYOUTS, tells, 'image tower of CLIP')
  layout = LAYOUTS[found]
  style, prefix = STYLES[layout.style], layout.root + layout.body
  width, _, patch, _ = family.shape_of(
    specs, prefix + style.patches, 'width 3 patch patch'
  )
  places, _ = family.shape_of(specs, prefix + style.positions, 'places width')
  project = 0
  if layout.root + style.project in specs:
    name = layout.root + style.project
    shape = family.shape_of(specs, name, 'two axes')
    project = shape[0 if style.turn == rules.linear else 1]
  seen = {
    'size': patch * math.isqrt(places - 1),
    'patch': patch,
    'width': width,
    'project': project,
    **clip.look_at_blocks(specs, layout),
  }
  family.judge_size(size, seen)
  return family.Found(
    options={**size, **seen},
    layout=found,
    skipped=family.beside(specs, layout.root, style.siblings),
  )


def judge_config(path: pathlib.Path, size: Mapping[str, Any]) -> None:
  """As `clip.judge_config`."""
  clip.judge_config(path, size, 'vision_config')


def shapes(network: towers.ImageTower) -> dict[str, tuple[int, ...]]:
  """Shapes of its parameters by path."""
  images = jnp.zeros((1, network.size, network.size, 3))
  return family.shapes_of(network.init, images)


def rows(network: towers.ImageTower, layout: str) -> family.Rows:
  """The table of a tower.

  Args:
    network: the tower.
    layout: a row of LAYOUTS.
  """
  place = LAYOUTS[layout]
  style, prefix = STYLES[place.style], place.root + place.body
  before, behind = style.norms
  patches = rules.patches(network.patch)
  table = [
    rules.Rule(prefix + style.patches, 'patches/kernel', patches),
    rules.Rule(prefix + style.first, 'class', rules.vector),
    rules.Rule(prefix + style.positions, 'positions', rules.vector),
    *rules.norm(prefix + before, 'norm_in'),
    *clip.rows_of_blocks(place, network.depth),
    *rules.norm(prefix + behind, 'norm'),
  ]
  if network.project:
    name = place.root + style.project
    table.append(rules.Rule(name, 'project/kernel', style.turn))
  return table


STYLES = {
  'transformers': Style(
    patches='embeddings.patch_embedding.weight',
    first='embeddings.class_embedding',
    positions='embeddings.position_embedding.weight',
    norms=('pre_layrnorm', 'post_layernorm'),
    project='visual_projection.weight',
    turn=rules.linear,
    siblings=(
      'vision_model.embeddings.position_ids',
      'embeddings.position_ids',
      'text_model.',
      'text_projection.weight',
      'logit_scale',
    ),
  ),
  'open_clip': Style(
    patches='conv1.weight',
    first='class_embedding',
    positions='positional_embedding',
    norms=('ln_pre', 'ln_post'),
    project='visual.proj',
    turn=rules.vector,
    siblings=(
      'attn_mask',
      'ln_final.',
      'logit_bias',
      'logit_scale',
      'positional_embedding',
      'text_projection',
      'token_embedding.',
      'transformer.',
    ),
  ),
}
LAYOUTS = {
  'transformers_4': clip.Layout('', 'vision_model.', 'transformers'),
  'transformers_5': clip.Layout('', '', 'transformers'),
  'open_clip': clip.Layout('', 'visual.', 'open_clip'),
  'dynami_crafter': clip.Layout('embedder.model.', 'visual.', 'open_clip'),
}
# Public sizes: the model configs of OpenAI's CLIP and OpenCLIP.
PORTS = {
  'clip_vit_b32_image': {
    'patch': 32,
    'width': 768,
    'depth': 12,
    'heads': 12,
    'activation': 'quick_gelu',
  },
  'clip_vit_l14_image': {
    'patch': 14,
    'width': 1024,
    'depth': 24,
    'heads': 16,
    'activation': 'quick_gelu',
  },
  'openclip_vit_h14_image': {
    'patch': 14,
    'width': 1280,
    'depth': 32,
    'heads': 16,
    'activation': 'gelu',
  },
}
