"""CLIP's towers against their authors' code, through the real port path."""

import functools

import jax.numpy as jnp
import numpy as np
import ports
import pytest
import tiny

from framebridge_jax.models import clip as towers
from framebridge_jax.porting import clip_image, clip_text, rules

KINDS = {
  'text': (clip_text, towers.TextTower),
  'image': (clip_image, towers.ImageTower),
}
SIZES = {
  'clip_text_tiny': {'heads': 4, 'activation': 'gelu'},
  'openclip_tiny': {'heads': 4, 'activation': 'gelu'},
  'clip_quick_gelu_tiny': {'activation': 'quick_gelu'},
}
HEADS = {'text': 2, 'image': 4}  # of clip_quick_gelu_tiny


@functools.cache
def _ported(name, kind):
  module, network = KINDS[kind]
  size = {'heads': HEADS[kind], **SIZES[name]}
  state = ports.state_of(ports.GOLDEN / f'{name}.safetensors')
  return ports.port(state, module, network, size)


@functools.cache
def _golden(name):
  return dict(np.load(ports.GOLDEN / f'{name}.npz'))


@functools.partial(tiny.quick_jit, static_argnums=0)
def _apply(network, variables, x):
  return network.apply(variables, x)


@functools.cache
def _said(name, kind):
  """What a tower says of a golden's texts or images."""
  port, g = _ported(name, kind), _golden(name)
  x = jnp.asarray(g['input_ids'], jnp.int32)
  if kind == 'image':
    x = jnp.moveaxis(jnp.asarray(g['image']), 1, -1)
  return _apply(port.network, port.variables, x)


@pytest.mark.parametrize(
  ('name', 'kind', 'says', 'want'),
  [
    ('clip_text_tiny', 'text', 'last', 'last_hidden_state'),
    ('clip_text_tiny', 'text', 'penultimate', 'penultimate_ln'),
    ('clip_text_tiny', 'text', 'pooled', 'pooled'),
    ('openclip_tiny', 'text', 'penultimate', 'text_penultimate'),
    ('openclip_tiny', 'image', 'tokens', 'visual_tokens'),
    ('openclip_tiny', 'image', 'projected', 'image_embed'),
    ('clip_quick_gelu_tiny', 'text', 'last', 'last_hidden_state'),
    ('clip_quick_gelu_tiny', 'text', 'penultimate', 'penultimate_ln'),
    ('clip_quick_gelu_tiny', 'text', 'pooled', 'pooled'),
    ('clip_quick_gelu_tiny', 'text', 'projected', 'text_embeds'),
    ('clip_quick_gelu_tiny', 'image', 'tokens', 'image_tokens'),
    ('clip_quick_gelu_tiny', 'image', 'pooled', 'image_pooled'),
    ('clip_quick_gelu_tiny', 'image', 'projected', 'image_embeds'),
  ],
)
def test_towers_say_what_their_authors_say(name, kind, says, want):
  """Float32 on both sides: 1e-5 of the largest number."""
  got = getattr(_said(name, kind), says)
  assert ports.apart(got, _golden(name)[want]) <= 1e-5


def test_the_golden_texts_are_padded_in_three_ways():
  """By 0, by the token that ends a text, and not at all."""
  ids = _golden('clip_quick_gelu_tiny')['input_ids']
  assert [ids[0, -1], ids[1, -2], ids[2, -2] in (0, 49)] == [0, 49, False]


def test_norms_add_the_small_number_that_their_authors_add():
  """Embeddings times 1e-3; ten times more or less moves this by 2.6."""
  port = _ported('clip_text_tiny', 'text')
  params = dict(port.variables['params'])
  for name in ('tokens', 'positions'):
    params[name] = params[name] * np.float32(1e-3)
  ids = jnp.asarray(_golden('clip_text_tiny')['input_ids'], jnp.int32)
  got = _apply(port.network, {'params': params}, ids).last
  want = _golden('eps_sensitivity')['clip_text_tiny__last_hidden_state']
  assert ports.apart(got, want) <= 1e-5


def test_a_tower_without_a_projection_projects_nothing():
  assert _said('clip_text_tiny', 'text').projected is None


# A golden of each style, and which of its tensors are of a tower.
OWN = {
  ('transformers', 'text'): (
    'clip_quick_gelu_tiny',
    lambda name: name.startswith(('text_model.', 'text_projection')),
  ),
  ('transformers', 'image'): (
    'clip_quick_gelu_tiny',
    lambda name: name.startswith(('vision_model.', 'visual_projection')),
  ),
  ('open_clip', 'text'): (
    'openclip_tiny',
    lambda name: not name.startswith(('visual.', 'logit_scale')),
  ),
  ('open_clip', 'image'): (
    'openclip_tiny',
    lambda name: name.startswith('visual.'),
  ),
}
# The tensor that each layout is known by, as real files have it.
LAYOUTS = {
  ('text', 'transformers_4'): 'text_model.embeddings.token_embedding.weight',
  ('text', 'transformers_5'): 'embeddings.token_embedding.weight',
  ('text', 'stable_diffusion_1'): 'cond_stage_model.transformer.text_model.'
  'embeddings.token_embedding.weight',
  ('text', 'open_clip'): 'token_embedding.weight',
  ('text', 'video_crafter'): 'cond_stage_model.model.token_embedding.weight',
  ('image', 'transformers_4'): 'vision_model.embeddings.class_embedding',
  ('image', 'transformers_5'): 'embeddings.class_embedding',
  ('image', 'open_clip'): 'visual.class_embedding',
  ('image', 'dynami_crafter'): 'embedder.model.visual.class_embedding',
}


def _laid_out(kind, layout):
  """A tower's tensors in a layout, with all that may stand beside them."""
  place = KINDS[kind][0].LAYOUTS[layout]
  name, own = OWN[place.style, kind]
  state = ports.state_of(ports.GOLDEN / f'{name}.safetensors')
  ours = {k: x for k, x in state.items() if own(k)}
  others = {k: x for k, x in state.items() if not own(k)}
  if layout == 'transformers_5':
    bodies = 'text_model.', 'vision_model.'
    ours = {
      k.removeprefix(bodies[0]).removeprefix(bodies[1]): x
      for k, x in ours.items()
    }
    others = {}
  if place.style == 'transformers':
    body = place.body
    others[f'{body}embeddings.position_ids'] = np.arange(3)[None]
  else:
    others['attn_mask'] = np.zeros((3, 3), np.float32)
  ours, others = (
    {place.root + k: x for k, x in part.items()} for part in (ours, others)
  )
  if place.root:
    others['model.diffusion_model.out.2.bias'] = np.zeros(4, np.float32)
    others['betas'] = np.zeros(1000, np.float32)
  return SIZES[name], ours, others


@pytest.mark.parametrize(('kind', 'layout'), LAYOUTS)
def test_every_layout_goes_there_and_back_to_the_bit(kind, layout):
  module, network = KINDS[kind]
  size, ours, others = _laid_out(kind, layout)
  size = {'heads': HEADS[kind], **size}
  port = ports.port(others | ours, module, network, size)
  assert LAYOUTS[kind, layout] in ours
  assert port.found.layout == layout
  assert sorted(port.found.skipped) == sorted(others)
  back = rules.export(port.ported.params, {}, port.table)
  ports.assert_same_bytes(back, ours)


def test_every_layout_is_tried():
  known = {(kind, x) for kind, (rows, _) in KINDS.items() for x in rows.LAYOUTS}
  assert known == LAYOUTS.keys()


@pytest.mark.parametrize(('kind', 'layout'), LAYOUTS)
def test_a_stranger_beside_a_tower_is_refused(kind, layout):
  module, network = KINDS[kind]
  size, ours, others = _laid_out(kind, layout)
  root = module.LAYOUTS[layout].root
  stranger = {f'{root}adapter.weight': np.zeros((2, 2), np.float32)}
  with pytest.raises(rules.PortError, match='adapter.weight .* is no part'):
    ports.port(ours | others | stranger, module, network, {'heads': 4, **size})


def test_stacked_q_k_and_v_come_apart_under_other_names():
  """PyTorch's MultiheadAttention stacks them in this order."""
  port = _ported('openclip_tiny', 'text')
  table = clip_text.rows(port.network, 'transformers_4')
  named = rules.export(port.ported.params, {}, table)
  state = ports.state_of(ports.GOLDEN / 'openclip_tiny.safetensors')
  for i in range(3):
    source = f'transformer.resblocks.{i}.attn.in_proj_'
    for kind in ('weight', 'bias'):
      parts = np.split(state[source + kind], 3)
      for name, part in zip('qkv', parts, strict=True):
        target = f'text_model.encoder.layers.{i}.self_attn.{name}_proj.{kind}'
        np.testing.assert_array_equal(named[target], part)
  projection = named['text_projection.weight']
  np.testing.assert_array_equal(projection, state['text_projection'].T)
