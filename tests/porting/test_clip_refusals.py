"""Full-size towers of CLIP from names and shapes, and what is refused."""

import functools
import json

import numpy as np
import ports
import pytest

from framebridge_jax.models import clip as towers
from framebridge_jax.porting import clip_image, clip_text, rules

TEXT, IMAGE = (clip_text, towers.TextTower), (clip_image, towers.ImageTower)
KINDS = {'text': TEXT, 'image': IMAGE}
# What each manifest is: its tower, row of PORTS, layout, and parameters as its
# authors count them, without `logit_scale`.
MANIFESTS = {
  'openclip_vith14_text': (
    TEXT, 'openclip_vit_h14_text', 'open_clip', 354_032_640
  ),
  'openclip_vith14_text_penultimate_hf_names': (
    TEXT, 'sd2_text', 'transformers_5', 340_387_840
  ),
  'openclip_vith14_visual': (
    IMAGE, 'openclip_vit_h14_image', 'open_clip', 632_076_800
  ),
}  # fmt: skip


@functools.cache
def _manifest(name):
  path = ports.GOLDEN / 'manifests' / f'{name}.json'
  return {k: tuple(v) for k, v in json.loads(path.read_text()).items()}


@functools.cache
def _full(name):
  """A full-size tower's row, what is found of it, its table and shapes."""
  (module, network), row, _, _ = MANIFESTS[name]
  size = module.PORTS[row]
  found = module.look(ports.specs_of(_manifest(name)), size, {})
  made = network(**found.options)
  return size, found, module.rows(made, found.layout), module.shapes(made)


def _judge(name, shapes):
  size, found, table, ours = _full(name)
  (module, _), _, _, _ = MANIFESTS[name]
  specs = ports.specs_of(shapes)
  assert module.look(specs, size, {}) == found
  kept = {k: x for k, x in specs.items() if k not in found.skipped}
  rules.judge(kept, table, ours)


@pytest.mark.parametrize('name', sorted(MANIFESTS))
def test_full_size_state_dicts_map_completely_both_ways(name):
  _, _, layout, count = MANIFESTS[name]
  shapes = _manifest(name)
  _, found, table, ours = _full(name)
  assert found.layout == layout
  _judge(name, shapes)
  assert sum(map(np.prod, ours.values())) == count
  back = rules.source_shapes(table, ours)
  assert back == {k: v for k, v in shapes.items() if k != 'logit_scale'}


@pytest.mark.parametrize(
  ('name', 'tensor', 'bent', 'says'),
  [
    (
      'openclip_vith14_text',
      'transformer.resblocks.7.attn.in_proj_weight',
      (1024, 3072),
      r'\(1024, 3072\), but .*attention/q.*attention/v.*wants \(3072, 1024\)',
    ),
    (
      'openclip_vith14_visual',
      'visual.transformer.resblocks.31.mlp.c_proj.bias',
      (1024,),
      r'\(1024,\), but block_31/mlp/out/bias .* wants \(1280,\)',
    ),
    (
      'openclip_vith14_text_penultimate_hf_names',
      'encoder.layers.22.self_attn.v_proj.bias',
      (1, 1024),
      r'\(1, 1024\), but block_22/attention/v/bias .* wants \(1024,\)',
    ),
  ],
)
def test_a_tensor_dropped_bent_or_added_is_found(name, tensor, bent, says):
  shapes = _manifest(name)
  without = {k: v for k, v in shapes.items() if k != tensor}
  with pytest.raises(rules.PortError, match=f'{tensor} .* is missing'):
    _judge(name, without)
  with pytest.raises(rules.PortError, match=f'{tensor} .*{says}'):
    _judge(name, {**shapes, tensor: bent})
  more = {**shapes, f'{tensor}_2': bent}
  with pytest.raises(rules.PortError, match=f'{tensor}_2 .* is no part'):
    _judge(name, more)


def test_a_tower_of_another_size_is_refused():
  specs = ports.specs_of(_manifest('openclip_vith14_text'))
  with pytest.raises(rules.PortError, match='has depth 24, the model 23'):
    clip_text.look(specs, clip_text.PORTS['sd2_text'], {})
  with pytest.raises(rules.PortError, match='has width 1024, the model 768'):
    clip_text.look(specs, clip_text.PORTS['clip_vit_l14_text'], {})


T5 = {
  'shared.weight': (32128, 4096),
  'encoder.final_layer_norm.weight': (4096,),
}


@pytest.mark.parametrize('kind', sorted(KINDS))
@pytest.mark.parametrize(
  ('shapes', 'first'),
  [
    (T5, r'encoder.final_layer_norm.weight \(4096,\), shared.weight'),
    (_manifest('sd_vae_f8'), 'decoder.conv_in.bias'),
    (_manifest('latte_s2_class101'), 'blocks.0.adaLN_modulation.1.bias'),
    (
      {'embeddings.word_embeddings.weight': (30522, 384)},
      'embeddings.word_embeddings.weight',
    ),
    ({}, 'nothing'),
  ],
  ids=['t5', 'vae', 'latte', 'bert', 'empty'],
)
def test_another_network_is_named_by_its_first_tensors(kind, shapes, first):
  module, _ = KINDS[kind]
  says = f'is no {kind} tower of CLIP: .*first tensors are {first}'
  with pytest.raises(rules.PortError, match=says):
    module.look(ports.specs_of(shapes), {'heads': 4}, {})


def test_the_other_tower_is_not_taken_for_this_one():
  for name, (module, _) in (
    ('openclip_vith14_visual', TEXT),
    ('openclip_vith14_text', IMAGE),
    ('openclip_vith14_text_penultimate_hf_names', IMAGE),
  ):
    with pytest.raises(rules.PortError, match='tower of CLIP'):
      module.look(ports.specs_of(_manifest(name)), {'heads': 16}, {})


QUICK = {'heads': 12, 'activation': 'quick_gelu'}


@pytest.mark.parametrize(
  ('config', 'says'),
  [
    ({'model_type': 'clip_text_model', 'hidden_act': 'gelu'}, 'act gelu'),
    ({'model_type': 'clip', 'text_config': {'hidden_act': 'gelu'}}, 'act gelu'),
    (
      {'model_type': 'clip', 'text_config': {'num_attention_heads': 8}},
      'num_attention_heads 8, the model 12',
    ),
    ({'model_type': 'clip', 'layer_norm_eps': 1e-6}, 'layer_norm_eps 1e-06'),
    ([], 'is no config'),
  ],
)
def test_a_config_that_says_another_activation_is_refused(
  tmp_path, config, says
):
  (tmp_path / 'config.json').write_text(json.dumps(config))
  for path in (tmp_path, tmp_path / 'model.safetensors'):
    with pytest.raises(rules.PortError, match=says):
      clip_text.judge_config(path, QUICK)


@pytest.mark.parametrize(
  'config',
  [
    None,
    {'model_type': 'clip_text_model'},  # transformers leaves out its defaults
    {'model_type': 'clip', 'text_config': {'hidden_act': 'quick_gelu'}},
    {
      'model_type': 'clip',
      'text_config': {},
      'vision_config': {'hidden_act': 'gelu'},
    },
    {'model_type': 'unet', 'hidden_act': 'gelu'},
  ],
)
def test_a_config_that_agrees_or_is_of_something_else_passes(tmp_path, config):
  if config is not None:
    (tmp_path / 'config.json').write_text(json.dumps(config))
  clip_text.judge_config(tmp_path, QUICK)


def test_what_a_config_leaves_out_is_the_quick_activation(tmp_path):
  """The default of transformers' CLIPTextConfig and CLIPVisionConfig."""
  (tmp_path / 'config.json').write_text('{"model_type": "clip_vision_model"}')
  with pytest.raises(rules.PortError, match='hidden_act quick_gelu'):
    clip_image.judge_config(tmp_path, {'heads': 16, 'activation': 'gelu'})
