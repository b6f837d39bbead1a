"""The Latte family against its authors' code, through the real port path."""

import functools
import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import traverse_util

from framebridge_jax.models import latte
from framebridge_jax.porting import family, readers, rules
from framebridge_jax.porting import latte as rows

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
FRAMES, GRID, CHANNELS = 4, 4, 4
CLIP = {'frames': 16, 'grid': 16, 'channels': 4}  # of the manifests
FLOAT32 = np.dtype(np.float32)
# What the shapes of each checkpoint must be understood as, from its README.
FOUND = {
  'latte_tiny_class': ('latte', {'classes': 5, 'learned_variance': True}),
  'latte_tiny_uncond': ('latte', {}),
  'fvdm_tiny_class': ('fvdm', {'classes': 5, 'learned_variance': True}),
  'framebridge_latte_tiny_bridge': (
    'latte',
    {'classes': 5, 'image_frame': True},
  ),
  'framebridge_latte_tiny_bridge_neural': (
    'latte',
    {'classes': 5, 'image_frame': True, 'prior': True},
  ),
  'framebridge_latte_tiny_prior': ('latte', {'classes': 5, 'timed': False}),
}
PLAIN = {
  'classes': 0,
  'text_width': 0,
  'timed': True,
  'learned_variance': False,
  'prior': False,
  'image_frame': False,
}


@functools.cache
def _ported(name):
  """The golden's arrays, its network, and its parameters by the port path."""
  arrays = dict(np.load(GOLDEN / f'{name}.npz'))
  config = json.loads(str(arrays['config']))
  with readers.open_weights(GOLDEN / f'{name}.pt') as reader:
    said = {'frames': FRAMES, 'channels': CHANNELS}
    found = rows.look(reader.specs, {}, said)
    network = latte.Latte(
      patch=config['patch_size'],
      width=config['hidden_size'],
      depth=config['depth'],
      heads=config['num_heads'],
      **found.options,
    )
    table = rows.rows(network, found.layout, **found.facts)
    shapes = rows.shapes(network, **found.facts)
    ported = rules.port(reader, table, shapes, FLOAT32)
  return arrays, network, found, table, ported


@functools.partial(tiny.quick_jit, static_argnums=0)
def _apply(network, params, z, t, cond):
  return network.apply(params, z, t, cond)


def _here(x):
  """`[b, f, c, h, w]` becomes `[b, f, h, w, c]`."""
  return jnp.asarray(np.moveaxis(x, -3, -1))


def _calls(name):
  """Each call that a golden recorded: z, t, condition, output."""
  g, *_ = _ported(name)
  label = jnp.asarray(g['y'], jnp.int32) if 'y' in g else None
  cond = latte.Cond(label=label)
  if name.startswith('framebridge'):
    cond = cond._replace(image=_here(g['image']))
    if 'prior' in g:
      cond = cond._replace(prior=_here(g['prior']))
  if name.endswith('tiny_prior'):
    z = jnp.repeat(_here(g['image']), FRAMES, axis=1)
    yield z, jnp.zeros((len(z), FRAMES)), cond, g['output']
    return
  for time, out in (('t', 'output'), ('t_real', 'output_t_real')):
    if time in g:
      t = jnp.asarray(g[time], jnp.float32)
      t = jnp.repeat(t[:, None], FRAMES, axis=1) if t.ndim == 1 else t
      z = _here(g['zt'] if 'zt' in g else g['x'])
      yield z, t, cond, g[out]


@pytest.mark.parametrize('name', FOUND)
def test_networks_say_what_their_authors_say(name):
  """Float32 on both sides: 1e-5 of the largest number."""
  _, network, _, _, ported = _ported(name)
  params = {'params': traverse_util.unflatten_dict(ported.params, sep='/')}
  times = []
  for z, t, cond, want in _calls(name):
    want = np.asarray(_here(want))
    got = _apply(network, params, z, t, cond)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    times.append(np.asarray(t))
  if name.startswith('framebridge_latte_tiny_bridge'):
    assert (times[1] % 1 != 0).any(), 'no real-valued time was compared'
  if name.startswith('fvdm'):
    assert (times[0] != times[0][:, :1]).any(), 'no per-frame time'


@pytest.mark.parametrize('name', FOUND)
def test_options_and_layout_are_read_off_the_shapes(name):
  _, _, found, _, _ = _ported(name)
  layout, options = FOUND[name]
  facts = {'frames': FRAMES, 'grid': GRID, 'channels': CHANNELS}
  assert found == family.Found({**PLAIN, **options}, layout, facts)


@pytest.mark.parametrize('name', FOUND)
def test_export_gives_back_the_state_dict_to_the_bit(name):
  _, _, _, table, ported = _ported(name)
  back = rules.export(ported.params, ported.kept, table)
  with readers.open_weights(GOLDEN / f'{name}.pt') as reader:
    assert back.keys() == reader.specs.keys()
    for key, x in back.items():
      want = reader.read(key)
      assert (x.dtype, x.shape) == (want.dtype, want.shape)
      assert x.tobytes() == want.tobytes(), key


def test_the_tables_of_positions_are_kept_as_the_checkpoint_has_them():
  """The last bits of a sine differ between libraries."""
  _, _, _, _, ported = _ported('latte_tiny_class')
  assert ported.kept.keys() == {'pos_embed', 'temp_embed'}
  lines = {line.source: line for line in ported.lines}
  assert lines['pos_embed'].target == '(computed)'
  assert len(lines) == len(ported.params) + 2


# Names and shapes of the public code at full size.
MANIFESTS = {
  path.stem: {k: tuple(v) for k, v in json.loads(path.read_text()).items()}
  for path in sorted((GOLDEN / 'manifests').glob('*.json'))
  if 'latte' in path.stem
}
# Shapes of parameters by manifest: class-conditional with learned variance,
# and FrameBridge's three.
WITH_F = {'prior': True, 'image_frame': True}
FULL_SIZE = {
  'framebridge_latte_s2_bridge': {**PLAIN, 'classes': 101, 'image_frame': True},
  'framebridge_latte_s2_bridge_np': {**PLAIN, 'classes': 101, **WITH_F},
  'framebridge_latte_s2_nwarp': {**PLAIN, 'classes': 101, 'timed': False},
}


@functools.cache
def _shapes(network):
  return rows.shapes(network, **CLIP)


def _full(name):
  specs = {k: readers.Spec(v, FLOAT32) for k, v in MANIFESTS[name].items()}
  found = rows.look(specs, {}, CLIP)
  size = name.removeprefix('framebridge_').split('latte_')[1].split('_')[0]
  network = latte.MODELS[f'latte_{size}'](**found.options)
  return specs, found, network


@pytest.mark.parametrize('name', MANIFESTS)
def test_full_size_state_dicts_map_completely_both_ways(name):
  """From shapes alone: nothing is missing, nothing is left over."""
  specs, found, network = _full(name)
  want = FULL_SIZE.get(
    name, {**PLAIN, 'classes': 101, 'learned_variance': True}
  )
  assert found.options == want
  if name.startswith('fvdm'):
    assert found.layout == 'fvdm'
  prior = name == 'framebridge_latte_s2_nwarp'
  assert (found.layout == 'framebridge_prior') == prior
  assert found.facts == CLIP
  table = rows.rows(network, found.layout, **CLIP)
  rules.judge(specs, table, _shapes(network))
  back = rules.source_shapes(table, _shapes(network))
  assert back == MANIFESTS[name]


def test_there_are_the_eleven_manifests():
  assert len(MANIFESTS) == 11


def test_a_name_dropped_or_bent_in_a_manifest_is_found():
  specs, found, network = _full('latte_s2_class101')
  table = rows.rows(network, found.layout, **CLIP)
  name = 'blocks.3.mlp.fc1.weight'
  without = {k: v for k, v in specs.items() if k != name}
  bent = {**specs, name: specs[name]._replace(shape=(384, 1536))}
  more = {**specs, 'blocks.12.mlp.fc1.weight': specs[name]}
  for broken, says in (
    (without, rf'{name} \(1536, 384\) is missing'),
    (bent, rf'{name} of the checkpoint is \(384, 1536\).*\(1536, 384\)'),
    (more, r'blocks.12.mlp.fc1.weight \(1536, 384\) .*no part'),
  ):
    with pytest.raises(rules.PortError, match=says):
      rules.judge(broken, table, _shapes(network))


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    ({'blocks.0.attn.qkv.weight': None}, 'blocks.0.attn.qkv.weight'),
    ({'x_embedder.proj.weight': None}, 'x_embedder.proj.weight is missing'),
    ({'x_embedder.proj.weight': (8, 5, 2, 2)}, '5 channels, want 4'),
    ({'temp_embed': (1, 9, 8)}, '9 rows, want 16'),
    ({'temp_embed': (16, 8)}, r'temp_embed has the shape \(16, 8\)'),
    ({'final_layer.linear.weight': ()}, r'final_layer.*shape \(\)'),
    (
      {'y_embedder.embedding_table.weight': None, 'y_embedder.x': (2,)},
      'embedding_table.weight is missing',
    ),
  ],
)
def test_a_checkpoint_of_something_else_is_named(changes, says):
  specs, _, _ = _full('latte_s2_class101')
  for name, shape in changes.items():
    if shape is None:
      del specs[name]
    else:
      specs[name] = readers.Spec(shape, FLOAT32)
  with pytest.raises(rules.PortError, match=says):
    rows.look(specs, {}, CLIP)


def test_a_text_projection_is_ported_with_its_width():
  """The public `extras = 78` path: SiLU, then Linear(77 * 768 -> width)."""
  specs, found, _ = _full('latte_s2_class101')
  del specs['y_embedder.embedding_table.weight']
  shape = (384, 77 * 768)
  specs['text_embedding_projection.1.weight'] = readers.Spec(shape, FLOAT32)
  specs['text_embedding_projection.1.bias'] = readers.Spec((384,), FLOAT32)
  found = rows.look(specs, {}, CLIP)
  assert found.options['text_width'] == 59136
  assert found.options['classes'] == 0
  network = latte.MODELS['latte_s2'](**found.options)
  table = rows.rows(network, 'latte', **CLIP)
  rules.judge(specs, table, _shapes(network))
