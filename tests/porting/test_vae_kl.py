"""The KL autoencoder against its authors' code, through the real port path."""

import functools
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import traverse_util

from framebridge_jax.models import vae_kl
from framebridge_jax.porting import readers, rules, table
from framebridge_jax.porting import vae_kl as rows

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
FLOAT32 = np.dtype(np.float32)
# What shapes do not say, from each golden's config; the layout it has.
GOLDENS = {
  'autoencoder_kl_tiny': ({'groups': 8, 'scale': 0.18215}, 'diffusers'),
  'lvdm_autoencoder_tiny': ({'groups': 32, 'scale': 0.18215}, 'ldm'),
}
TOLERANCE = 1e-5  # of the largest number; the noise floor is about 1e-6


@functools.cache
def _ported(name):
  """A golden's network, what was found of it, its rows and parameters."""
  size, _ = GOLDENS[name]
  with readers.open_weights(GOLDEN / f'{name}.safetensors') as reader:
    found = rows.look(reader.specs, size, {})
    network = vae_kl.AutoencoderKL(**found.options)
    names = rows.rows(network, found.layout)
    ported = rules.port(reader, names, rows.shapes(network), FLOAT32)
  return network, found, names, ported


def _variables(params):
  tree = traverse_util.unflatten_dict(params, sep='/')
  return {'params': jax.tree.map(jnp.asarray, tree)}


@functools.partial(
  tiny.quick_jit, static_argnums=0, static_argnames=('chunk', 'tile')
)
def _encode(network, variables, frames, **options):
  moments = vae_kl.encode(network, variables, frames, **options)
  return jnp.concatenate(moments, axis=-1)


@functools.partial(
  tiny.quick_jit, static_argnums=0, static_argnames=('chunk', 'tile')
)
def _decode(network, variables, latents, **options):
  return vae_kl.decode(network, variables, latents, **options)


def _here(x):
  """`[n, c, h, w]` becomes `[n, h, w, c]`."""
  return np.moveaxis(x, 1, -1)


def _close(got, want, tolerance=TOLERANCE):
  assert got.shape == want.shape
  assert np.abs(got - want).max() <= tolerance * np.abs(want).max()


def _golden(name):
  arrays = np.load(GOLDEN / f'{name}.npz')
  return {key: _here(arrays[key]) for key in arrays.files}


@pytest.mark.parametrize('name', GOLDENS)
def test_autoencoders_say_what_their_authors_say(name):
  network, _, _, ported = _ported(name)
  variables, g = _variables(ported.params), _golden(name)
  moments = _encode(network, variables, g['image'], chunk=2)
  _close(moments, g['moments'])
  _close(moments[..., : network.channels], g['mode'])
  _close(_decode(network, variables, g['z'], chunk=2), g['decoded'])


@pytest.mark.parametrize('output', ['moments', 'decoded'])
def test_norms_add_the_authors_epsilon(output):
  """Small inputs of the first norm: another epsilon is 0.3 and more off."""
  network, _, _, ported = _ported('autoencoder_kl_tiny')
  g = _golden('autoencoder_kl_tiny')
  probe = np.load(GOLDEN / 'eps_sensitivity.npz')
  want = _here(probe[f'autoencoder_kl_tiny__{output}'])
  params = {
    name: x * np.float32(1e-3) if '/conv_in/' in name else x
    for name, x in ported.params.items()
  }
  way, given = (_encode, 'image') if output == 'moments' else (_decode, 'z')
  _close(way(network, _variables(params), g[given], chunk=2), want)


@pytest.mark.parametrize('tile', [16, 0])
def test_tiles_and_their_seams_are_those_of_diffusers(tile):
  """28 x 46 pixels: the last tiles are cut, at both sides."""
  network, _, _, ported = _ported('autoencoder_kl_tiny')
  variables, g = _variables(ported.params), _golden('autoencoder_kl_tiled')
  kind = '' if tile else '_whole'
  moments = _encode(network, variables, g['image'], chunk=1, tile=tile)
  _close(moments, g[f'moments{kind}'])
  frames = _decode(network, variables, g['z'], chunk=1, tile=tile)
  _close(frames, g[f'decoded{kind}'])
  if tile:
    assert np.abs(g['decoded'] - g['decoded_whole']).max() > 0.1, 'no seams'


@pytest.mark.parametrize('name', GOLDENS)
def test_there_and_back_is_the_checkpoint_to_the_bit(name):
  _, found, names, ported = _ported(name)
  assert found.layout == GOLDENS[name][1]
  back = rules.export(ported.params, ported.kept, names)
  with readers.open_weights(GOLDEN / f'{name}.safetensors') as reader:
    assert back.keys() == reader.specs.keys()
    for key in back:
      assert back[key].tobytes() == reader.read(key).tobytes(), key
      assert back[key].shape == reader.specs[key].shape


FULL = {
  'diffusers': 'sd_vae_f8',
  'diffusers_old': 'sd_vae_f8',
  'ldm': 'lvdm_first_stage_kl_f8',
  'first_stage': 'lvdm_first_stage_kl_f8',
}
OLD = {'to_q': 'query', 'to_k': 'key', 'to_v': 'value', 'to_out.0': 'proj_attn'}


def _full(layout):
  """A full-size state dict's names and shapes in each of the layouts."""
  path = GOLDEN / 'manifests' / f'{FULL[layout]}.json'
  shapes = json.loads(path.read_text())
  if layout == 'diffusers_old':
    new = re.compile('|'.join(map(re.escape, OLD)))
    shapes = {new.sub(lambda m: OLD[m[0]], k): v for k, v in shapes.items()}
  prefix = 'first_stage_model.' if layout == 'first_stage' else ''
  return {
    prefix + name: readers.Spec(tuple(shape), FLOAT32)
    for name, shape in shapes.items()
  }


@functools.cache
def _full_shapes():
  return rows.shapes(vae_kl.AutoencoderKL())


@pytest.mark.parametrize('layout', FULL)
def test_full_size_state_dicts_map_completely_both_ways(layout):
  """From shapes alone: nothing is missing, nothing is left over."""
  specs = _full(layout)
  family, size = table.PORTS['sd_vae_f8']
  beside = {
    'model.diffusion_model.out.weight': readers.Spec((4,), FLOAT32),
    'betas': readers.Spec((1000,), FLOAT32),
  }
  if layout != 'first_stage':
    beside = {'loss.logvar': readers.Spec((), FLOAT32)}
  found = table.FAMILIES[family].look(specs | beside, size, {})
  assert found.layout == layout
  assert set(found.skipped) == beside.keys()
  assert vae_kl.AutoencoderKL(**found.options) == vae_kl.AutoencoderKL()
  names = rows.rows(vae_kl.AutoencoderKL(), layout)
  rules.judge(specs, names, _full_shapes())
  assert rules.source_shapes(names, _full_shapes()) == {
    name: spec.shape for name, spec in specs.items()
  }
  assert sum(np.prod(x) for x in _full_shapes().values()) == 83_653_863


@pytest.mark.parametrize(
  ('change', 'says'),
  [
    ({'encoder.conv_in.weight': None}, r'encoder.conv_in.weight .*missing'),
    ({'decoder.new.weight': (3,)}, r'decoder.new.weight \(3,\) .*no part'),
    (
      {'quant_conv.weight': (4, 8, 1, 1)},
      r'quant_conv.weight .*\(4, 8, 1, 1\).*\(8, 8, 1, 1\)',
    ),
  ],
)
def test_a_tensor_dropped_added_or_bent_is_named(change, says):
  specs = _full('diffusers')
  for name, shape in change.items():
    specs[name] = readers.Spec(shape, FLOAT32)
    if shape is None:
      del specs[name]
  with pytest.raises(rules.PortError, match=says):
    rules.judge(
      specs, rows.rows(vae_kl.AutoencoderKL(), 'diffusers'), _full_shapes()
    )


def test_integers_for_weights_are_refused():
  specs = _full('diffusers')
  specs['quant_conv.bias'] = readers.Spec((8,), np.dtype(np.int64))
  names = rows.rows(vae_kl.AutoencoderKL(), 'diffusers')
  with pytest.raises(rules.PortError, match='quant_conv.bias .*int64'):
    rules.judge(specs, names, _full_shapes())


@pytest.mark.parametrize(
  ('drop', 'size', 'says'),
  [
    ('mid_block.attentions', {}, 'no KL autoencoder'),
    ('post_quant_conv', {}, 'post_quant_conv.weight is missing'),
    ('nothing', {'channels': 16}, 'has channels 4, the model 16'),
  ],
)
def test_another_network_is_told_before_anything_is_read(drop, size, says):
  specs = {
    name: x for name, x in _full('diffusers').items() if drop not in name
  }
  with pytest.raises(rules.PortError, match=says):
    rows.look(specs, {'groups': 32, 'scale': 1.0, **size}, {})


@pytest.mark.slow
def test_a_network_of_every_size_agrees_with_diffusers_itself():
  """Random weights of three levels; PyTorch and diffusers must be there."""
  torch = pytest.importorskip('torch')
  diffusers = pytest.importorskip('diffusers')
  torch.manual_seed(0)
  theirs = diffusers.AutoencoderKL(
    down_block_types=['DownEncoderBlock2D'] * 3,
    up_block_types=['UpDecoderBlock2D'] * 3,
    block_out_channels=[16, 32, 32],
    layers_per_block=2,
    norm_num_groups=4,
    latent_channels=6,
  ).eval()
  state = {k: x.numpy() for k, x in theirs.state_dict().items()}
  reader = readers.Reader(
    {k: readers.Spec(x.shape, x.dtype) for k, x in state.items()},
    state.__getitem__,
  )
  found = rows.look(reader.specs, {'groups': 4, 'scale': 1.0}, {})
  network = vae_kl.AutoencoderKL(**found.options)
  names = rows.rows(network, found.layout)
  params = rules.port(reader, names, rows.shapes(network), FLOAT32).params
  image = np.random.default_rng(1).normal(size=(3, 3, 32, 24)).astype('f4')
  with torch.no_grad():
    moments = theirs.encode(torch.tensor(image)).latent_dist
    want = theirs.decode(moments.mean).sample.numpy()
  got = _encode(network, _variables(params), _here(image), chunk=2)
  _close(got[..., :6], _here(moments.mean.numpy()))
  mean = _here(moments.mean.numpy())
  got = _decode(network, _variables(params), mean, chunk=2)
  _close(got, _here(want))
