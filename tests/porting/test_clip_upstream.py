"""CLIP and BERT against the libraries themselves, where they are installed.

Last run with torch 2.13.0, transformers 5.23.0, open_clip_torch 2.22.0 and
kornia 0.6.12; each test is skipped without its own.
"""

import functools

import jax.numpy as jnp
import numpy as np
import ports
import pytest
import tiny

from framebridge_jax.models import bert as bert_models
from framebridge_jax.models import clip as towers
from framebridge_jax.models import clip_pixels
from framebridge_jax.porting import bert, clip_image, clip_text

pytestmark = pytest.mark.slow

VOCAB, LENGTH, HEADS = 60, 20, 4
BLOCKS = {
  'hidden_size': 32,
  'intermediate_size': 80,
  'num_hidden_layers': 3,
  'num_attention_heads': HEADS,
}


@functools.partial(tiny.quick_jit, static_argnums=0)
def _apply(network, variables, *inputs):
  return network.apply(variables, *inputs)


def _said(folder_or_file, module, network, size, *inputs):
  state = ports.state_of(folder_or_file)
  port = ports.port(state, module, network, size)
  return _apply(port.network, port.variables, *map(jnp.asarray, inputs))


def _texts():
  """Texts that end, and are padded with 0 or with their end."""
  rng = np.random.default_rng(0)
  ids = rng.integers(3, VOCAB - 2, (4, LENGTH)).astype(np.int32)
  ids[0, 7:], ids[1, 11:], ids[2, -1], ids[3, 1:] = 0, VOCAB - 1, VOCAB - 1, 0
  ids[0, 7] = ids[3, 1] = VOCAB - 1
  return ids


def _images(size=24):
  rng = np.random.default_rng(1)
  return rng.normal(size=(2, size, size, 3)).astype(np.float32)


def _shaken(torch, model):
  """No parameter stays at the 0 or 1 that it begins with."""
  torch.manual_seed(0)
  with torch.no_grad():
    for x in model.parameters():
      x.add_(0.1 * torch.randn_like(x))
  return model.eval()


def _close(got, want):
  assert ports.apart(got, want.detach().numpy()) <= 1e-5


@pytest.mark.parametrize('activation', ['gelu', 'quick_gelu'])
@pytest.mark.parametrize('end', [2, VOCAB - 1])  # 2 is in older configs
def test_transformers_says_the_same(tmp_path, activation, end):
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  shared = {**BLOCKS, 'hidden_act': activation}
  model = transformers.CLIPModel(
    transformers.CLIPConfig(
      text_config={
        **shared,
        'vocab_size': VOCAB,
        'max_position_embeddings': LENGTH,
        'eos_token_id': end,
      },
      vision_config={**shared, 'image_size': 24, 'patch_size': 8},
      projection_dim=12,
    )
  )
  _shaken(torch, model).save_pretrained(tmp_path)
  size = {'heads': HEADS, 'activation': activation}
  for module in (clip_text, clip_image):
    module.judge_config(tmp_path, size)
  path, ids, images = tmp_path / 'model.safetensors', _texts(), _images()
  got = _said(path, clip_text, towers.TextTower, size, ids)
  want = model.text_model(torch.from_numpy(ids), output_hidden_states=True)
  _close(got.last, want.last_hidden_state)
  norm = model.text_model.final_layer_norm
  _close(got.penultimate, norm(want.hidden_states[-2]))
  _close(got.pooled, want.pooler_output)
  _close(got.projected, model.text_projection(want.pooler_output))
  got = _said(path, clip_image, towers.ImageTower, size, images)
  pixels = torch.from_numpy(np.moveaxis(images, -1, 1).copy())
  want = model.vision_model(pixels)
  _close(got.tokens, want.last_hidden_state)
  _close(got.pooled, want.pooler_output)
  _close(got.projected, model.visual_projection(want.pooler_output))


@pytest.mark.parametrize('quick', [False, True])
def test_open_clip_says_the_same(tmp_path, quick):
  torch = pytest.importorskip('torch')
  model = pytest.importorskip('open_clip.model').CLIP(
    embed_dim=12,
    vision_cfg={
      'image_size': 24,
      'layers': 3,
      'width': 32,
      'head_width': 8,
      'patch_size': 8,
    },
    text_cfg={
      'context_length': LENGTH,
      'vocab_size': VOCAB,
      'width': 32,
      'heads': HEADS,
      'layers': 3,
    },
    quick_gelu=quick,
  )
  path, ids, images = tmp_path / 'clip.pt', _texts(), _images()
  torch.save(_shaken(torch, model).state_dict(), path)
  activation = 'quick_gelu' if quick else 'gelu'
  size = {'heads': HEADS, 'activation': activation}
  got = _said(path, clip_text, towers.TextTower, size, ids)
  _close(got.projected, model.encode_text(torch.from_numpy(ids)))
  got = _said(path, clip_image, towers.ImageTower, size, images)
  pixels = torch.from_numpy(np.moveaxis(images, -1, 1).copy())
  _close(got.projected, model.encode_image(pixels))


def test_transformers_bert_says_the_same(tmp_path):
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  config = transformers.BertConfig(
    **BLOCKS, vocab_size=VOCAB, max_position_embeddings=LENGTH
  )
  model = _shaken(torch, transformers.BertModel(config))
  model.save_pretrained(tmp_path)
  ids = _texts()
  mask = np.arange(LENGTH) < np.array([[8], [12], [20], [2]])
  path = tmp_path / 'model.safetensors'
  got = _said(path, bert, bert_models.Bert, {'heads': HEADS}, ids, mask)
  inputs = torch.from_numpy(ids), torch.from_numpy(mask).long()
  _close(got, model(*inputs).last_hidden_state)


@pytest.mark.parametrize(
  ('height', 'width', 'side'),
  [(64, 80, 28), (31, 57, 16), (20, 90, 24), (24, 24, 24), (9, 11, 20)],
)
def test_kornia_resizes_the_same(height, width, side):
  torch = pytest.importorskip('torch')
  kornia = pytest.importorskip('kornia')
  rng = np.random.default_rng(2)
  frames = rng.uniform(-1, 1, (2, height, width, 3)).astype(np.float32)
  want = kornia.geometry.resize(
    torch.from_numpy(np.moveaxis(frames, -1, 1).copy()),
    (side, side),
    interpolation='bicubic',
    align_corners=True,
    antialias=True,
  )
  got = clip_pixels.resize(jnp.asarray(frames), side)
  _close(jnp.moveaxis(got, -1, 1), want)
