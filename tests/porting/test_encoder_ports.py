"""--mode=port on encoders: what it writes, what it passes over, the way back.

A golden stands for each kind; its row of PORTS is as small as it is.
"""

import json
import pathlib
import shutil

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from framebridge_jax.cli import port as mode
from framebridge_jax.porting import encoders, readers, table, weights
from framebridge_jax.recipes import port as recipe

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
# What shapes do not say of each golden, from its config; its file.
_CLIP = {'heads': 4, 'activation': 'gelu'}
SMALL = {
  'small_vae': (
    table.Port('vae_kl', {'groups': 32, 'scale': 0.5}),
    'lvdm_autoencoder_tiny',
  ),
  'small_t5': (table.Port('t5', {'max_distance': 128}), 't5_encoder_tiny'),
  'small_clip': (table.Port('clip_text', _CLIP), 'clip_text_tiny'),
  'small_openclip_text': (table.Port('clip_text', _CLIP), 'openclip_tiny'),
  'small_openclip_image': (table.Port('clip_image', _CLIP), 'openclip_tiny'),
  'small_bert': (table.Port('bert', {'heads': 4}), 'bert_tiny'),
}
VAE = GOLDEN / 'lvdm_autoencoder_tiny.safetensors'


@pytest.fixture(autouse=True)
def small_rows(monkeypatch):
  for name, (port, _) in SMALL.items():
    monkeypatch.setitem(table.PORTS, name, port)


def _file(name):
  return GOLDEN / f'{SMALL[name][1]}.safetensors'


def _kept(report, arrays):
  """What of a checkpoint is the network's own."""
  names = [line['source'] for line in report['tensors']]
  return {name: arrays[name] for name in dict.fromkeys(names)}


def _config(checkpoint, model='', **changes):
  config = recipe.get_config()
  config.update({'checkpoint': str(checkpoint), 'model': model, **changes})
  return config


def _arrays(path):
  with readers.open_weights(pathlib.Path(path)) as reader:
    return {name: reader.read(name) for name in reader.specs}


@pytest.mark.parametrize('name', SMALL)
def test_there_and_back_is_the_checkpoint_to_the_bit(tmp_path, name):
  source = _file(name)
  mode.run(_config(source, name), tmp_path / 'there')
  made = {path.name for path in (tmp_path / 'there').iterdir()}
  assert made == {'weights.safetensors', 'port.json'}
  report = json.loads((tmp_path / 'there/port.json').read_text())
  arrays = _arrays(source)
  want = _kept(report, arrays)
  assert bool(report['skipped']) == (want.keys() < arrays.keys())
  path = tmp_path / 'there/weights.safetensors'
  loaded = encoders.load(path, (SMALL[name][0].family,))
  assert report['parameters'] == weights.count(loaded.variables)

  mode.run(_config(path, back=True), tmp_path / 'back')
  got = _arrays(tmp_path / 'back/pytorch.safetensors')
  assert got.keys() == want.keys()
  for key, x in want.items():
    assert (got[key].dtype, got[key].shape) == (x.dtype, x.shape), key
    assert got[key].tobytes() == x.tobytes(), key


@pytest.mark.parametrize('name', SMALL)
def test_half_precision_is_kept_on_every_way(tmp_path, name):
  """A bfloat16 file becomes one of half the size, and comes back itself."""
  arrays = {
    key: x.astype(ml_dtypes.bfloat16) for key, x in _arrays(_file(name)).items()
  }
  source = tmp_path / 'half.safetensors'
  safetensors.numpy.save_file(arrays, source)
  config = _config(source, name, export_dtype='bfloat16')
  mode.run(config, tmp_path / 'there')
  path = tmp_path / 'there/weights.safetensors'
  assert path.stat().st_size < 1.1 * source.stat().st_size
  mode.run(_config(path, back=True), tmp_path / 'back')
  got = _arrays(tmp_path / 'back/pytorch.safetensors')
  report = json.loads((tmp_path / 'there/port.json').read_text())
  want = _kept(report, arrays)
  assert got.keys() == want.keys()
  for key, x in want.items():
    assert got[key].dtype == x.dtype
    assert got[key].tobytes() == x.tobytes(), key


def test_shards_are_one_checkpoint(tmp_path):
  arrays = _arrays(VAE)
  names = sorted(arrays)
  shards = {'a.safetensors': names[::2], 'b.safetensors': names[1::2]}
  for shard, held in shards.items():
    part = {name: arrays[name] for name in held}
    safetensors.numpy.save_file(part, tmp_path / shard)
  index = {name: shard for shard, held in shards.items() for name in held}
  path = tmp_path / 'model.safetensors.index.json'
  path.write_text(json.dumps({'weight_map': index}))
  mode.run(_config(tmp_path, 'small_vae'), tmp_path / 'out')
  report = json.loads((tmp_path / 'out/port.json').read_text())
  assert {line['source'] for line in report['tensors']} == set(names)
  assert report['source_sha256'].keys() == {path.name, *shards}


def test_the_rest_of_a_video_model_s_file_is_passed_over_and_told(tmp_path):
  """VideoCrafter keeps its autoencoder in one file with all else."""
  arrays = {f'first_stage_model.{key}': x for key, x in _arrays(VAE).items()}
  arrays['model.diffusion_model.out.2.weight'] = np.zeros(3, np.float32)
  arrays['betas'] = np.zeros(3, np.float64)
  source = tmp_path / 'model.safetensors'
  safetensors.numpy.save_file(arrays, source)
  mode.run(_config(source, 'small_vae'), tmp_path / 'out')
  report = json.loads((tmp_path / 'out/port.json').read_text())
  assert report['layout'] == 'first_stage'
  assert sorted(report['skipped']) == [
    'betas.* (1 tensors)',
    'model.* (1 tensors)',
  ]


@pytest.mark.parametrize('name', SMALL)
@pytest.mark.parametrize(
  'asked', ['clip_vit_l14_text', 'sd_vae_f8', 'latte_s2']
)
def test_a_checkpoint_of_another_model_is_named_as_what_it_is(
  tmp_path, name, asked
):
  """The first row that fits: both towers of OpenCLIP are in one file."""
  fits = 'small_clip' if 'openclip' in name else name
  with pytest.raises(ValueError, match=f'the shapes of {fits}'):
    mode.run(_config(_file(name), asked), tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
  ('name', 'said', 'says'),
  [
    (
      'small_clip',
      {'model_type': 'clip_text_model', 'hidden_act': 'quick_gelu'},
      'hidden_act quick_gelu, the model gelu',
    ),
    (
      'small_t5',
      {'model_type': 't5', 'feed_forward_proj': 'gated-silu'},
      'feed_forward_proj gated-silu, the model gated-gelu',
    ),
    (
      'small_vae',
      {'_class_name': 'AutoencoderKL', 'scaling_factor': 0.13025},
      'scaling_factor 0.13025, the model 0.5',
    ),
  ],
)
def test_what_the_project_s_config_denies_is_refused(
  tmp_path, name, said, says
):
  """Shapes cannot tell one activation from another, nor a scale."""
  source = tmp_path / 'model.safetensors'
  shutil.copy(_file(name), source)
  (tmp_path / 'config.json').write_text(json.dumps(said))
  with pytest.raises(ValueError, match=says):
    mode.run(_config(source, name), tmp_path / 'out')
  (tmp_path / 'config.json').write_text('{"model_type": "other"}')
  mode.run(_config(source, name), tmp_path / 'out')
