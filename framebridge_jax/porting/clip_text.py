"""Rows for CLIP's text tower, under the names of transformers and OpenCLIP.

transformers 4 writes `text_model.` before its names and 5 does not; Stable
Diffusion 1 has the former, and Stable Diffusion 2, VideoCrafter and
DynamiCrafter have OpenCLIP's, inside their own files.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from framebridge_jax.models import clip as towers
from framebridge_jax.porting import clip, family, rules


class Style(NamedTuple):
  """How a project names what is not in blocks.

  Attributes:
    tokens: the table of tokens.
    positions: the table of positions.
    norm: the final one.
    project: the projection, behind the root.
    turn: between its axes and ours.
    siblings: what else may stand behind the root.
  """

  tokens: str
  positions: str
  norm: str
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
  tells = {name: style.tokens for name, style in STYLES.items()}
  found = clip.find_layout(specs, LAYOUTS, tells, 'text tower of CLIP')
  layout = LAYOUTS[found]
  style, prefix = STYLES[layout.style], layout.root + layout.body
  vocab, width = family.shape_of(specs, prefix + style.tokens, 'vocab width')
  length, _ = family.shape_of(specs, prefix + style.positions, 'length width')
  project = 0
  if layout.root + style.project in specs:
    name = layout.root + style.project
    shape = family.shape_of(specs, name, 'two axes')
    project = shape[0 if style.turn == rules.linear else 1]
  seen = {
    'vocab': vocab,
    'length': length,
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
  clip.judge_config(path, size, 'text_config')


def shapes(network: towers.TextTower) -> dict[str, tuple[int, ...]]:
  """Shapes of its parameters by path."""
  return family.shapes_of(network.init, jnp.zeros((1, 1), jnp.int32))


def rows(network: towers.TextTower, layout: str) -> family.Rows:
  """The table of a tower.

  Args:
    network: the tower.
    layout: a row of LAYOUTS.
  """
  place = LAYOUTS[layout]
  style, prefix = STYLES[place.style], place.root + place.body
  table = [
    rules.Rule(prefix + style.tokens, 'tokens', rules.vector),
    rules.Rule(prefix + style.positions, 'positions', rules.vector),
    *clip.rows_of_blocks(place, network.depth),
    *rules.norm(prefix + style.norm, 'norm'),
  ]
  if network.project:
    name = place.root + style.project
    table.append(rules.Rule(name, 'project/kernel', style.turn))
  return table


STYLES = {
  'transformers': Style(
    tokens='embeddings.token_embedding.weight',
    positions='embeddings.position_embedding.weight',
    norm='final_layer_norm',
    project='text_projection.weight',
    turn=rules.linear,
    siblings=(
      'text_model.embeddings.position_ids',
      'embeddings.position_ids',
      'vision_model.',
      'visual_projection.weight',
      'logit_scale',
    ),
  ),
  'open_clip': Style(
    tokens='token_embedding.weight',
    positions='positional_embedding',
    norm='ln_final',
    project='text_projection',
    turn=rules.vector,
    siblings=('attn_mask', 'visual.', 'logit_scale', 'logit_bias'),
  ),
}
LAYOUTS = {
  'transformers_4': clip.Layout('', 'text_model.', 'transformers'),
  'transformers_5': clip.Layout('', '', 'transformers'),
  'stable_diffusion_1': clip.Layout(
    'cond_stage_model.transformer.', 'text_model.', 'transformers'
  ),
  'open_clip': clip.Layout('', '', 'open_clip'),
  'video_crafter': clip.Layout('cond_stage_model.model.', '', 'open_clip'),
}
# Public sizes: the model configs of OpenAI's CLIP and OpenCLIP; Stable
# Diffusion 2 in diffusers' form has left the last block out.
_SMALL = {'width': 512, 'depth': 12, 'heads': 8, 'activation': 'quick_gelu'}
_LARGE = {'width': 768, 'depth': 12, 'heads': 12, 'activation': 'quick_gelu'}
_HUGE = {'width': 1024, 'heads': 16, 'activation': 'gelu'}
PORTS = {
  'clip_vit_b32_text': _SMALL,
  'clip_vit_l14_text': _LARGE,
  'openclip_vit_h14_text': {**_HUGE, 'depth': 24},
  'sd2_text': {**_HUGE, 'depth': 23},
}
