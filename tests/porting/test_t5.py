"""The T5 encoder against transformers, through the real port path."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import tiny
from flax import traverse_util

from framebridge_jax.models import t5
from framebridge_jax.porting import readers, rules
from framebridge_jax.porting import t5 as rows

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
CHECKPOINT = GOLDEN / 't5_encoder_tiny.safetensors'
FLOAT32 = np.dtype(np.float32)
SHARED, EMBED = rows.LAYOUTS['both']
SIZE = {'max_distance': 128}
OPTIONS = {
  'vocab': 100,
  'width': 32,
  'heads': 4,
  'head_width': 8,
  'mlp': 64,
  'depth': 2,
  'buckets': 32,
  'max_distance': 128,
}
TOLERANCE = 1e-4  # of the largest number; the noise floor is 2.7e-5


def _port(path):
  with readers.open_weights(path) as reader:
    found = rows.look(reader.specs, SIZE, {})
    network = t5.T5Encoder(**found.options)
    table = rows.rows(network, found.layout)
    kept = {k: v for k, v in reader.specs.items() if k not in found.skipped}
    reader = reader._replace(specs=kept)
    ported = rules.port(reader, table, rows.shapes(network), FLOAT32)
  return network, found, table, ported


@functools.cache
def _ported():
  return _port(CHECKPOINT)


@functools.cache
def _golden():
  return dict(np.load(GOLDEN / 't5_encoder_tiny.npz'))


@functools.partial(tiny.quick_jit, static_argnums=0)
def _apply(network, params, ids, mask):
  return network.apply({'params': params}, ids, mask)


def _run(params, mask=None):
  network, *_ = _ported()
  tree = traverse_util.unflatten_dict(params, sep='/')
  ids = jnp.asarray(_golden()['input_ids'], jnp.int32)
  with jax.default_matmul_precision('highest'):
    return np.asarray(_apply(network, tree, ids, mask))


def _close(got, want):
  assert got.shape == want.shape
  assert np.abs(got - want).max() <= TOLERANCE * np.abs(want).max()


def test_the_encoder_says_what_transformers_says():
  """Over 226 tokens, so that every bucket of distances is met."""
  _, _, _, ported = _ported()
  g = _golden()
  _close(_run(ported.params), g['out_nomask'])
  mask = jnp.asarray(g['attention_mask'], bool)
  _close(_run(ported.params, mask), g['out_masked'])
  assert np.abs(g['out_masked'] - g['out_nomask']).max() > 0.1


def test_norms_add_the_authors_epsilon():
  """Small embeddings: an epsilon 10 times off is 0.7 and more off."""
  _, _, _, ported = _ported()
  probe = np.load(GOLDEN / 'eps_sensitivity.npz')
  params = {**ported.params, 'tokens': ported.params['tokens'] * 1e-3}
  _close(_run(params), probe['t5_encoder_tiny__out_nomask'])


def test_options_and_layout_are_read_off_the_shapes():
  _, found, _, _ = _ported()
  assert found.options == OPTIONS
  assert (found.layout, found.skipped) == ('both', ())


def _write(path, changes):
  """The golden's checkpoint with tensors changed, or gone where None."""
  arrays = safetensors.numpy.load_file(CHECKPOINT) | changes
  kept = {name: x for name, x in arrays.items() if x is not None}
  safetensors.numpy.save_file(kept, path)
  return kept


@pytest.mark.parametrize('layout', rows.LAYOUTS)
def test_there_and_back_is_the_checkpoint_to_the_bit(tmp_path, layout):
  gone = {SHARED, EMBED} - set(rows.LAYOUTS[layout])
  path = tmp_path / 'x.safetensors'
  want = _write(path, dict.fromkeys(gone))
  _, found, table, ported = _port(path)
  assert found.layout == layout
  back = rules.export(ported.params, ported.kept, table)
  assert back.keys() == want.keys()
  for name, x in want.items():
    assert (back[name].dtype, back[name].shape) == (x.dtype, x.shape), name
    assert back[name].tobytes() == x.tobytes(), name
  assert {line.source for line in ported.lines} == want.keys()


def test_an_embedding_that_stands_twice_must_be_one(tmp_path):
  other = safetensors.numpy.load_file(CHECKPOINT)[EMBED].copy()
  other[3, 3] += 1
  path = tmp_path / 'x.safetensors'
  _write(path, {EMBED: other})
  with pytest.raises(rules.PortError, match='different numbers') as caught:
    _port(path)
  assert SHARED in str(caught.value)
  assert EMBED in str(caught.value)


def test_the_decoder_of_a_whole_model_is_passed_over(tmp_path):
  """Names of T5ForConditionalGeneration, transformers 5.23.0."""
  rng = np.random.default_rng(0)
  attention = 'decoder.block.0.layer.0.SelfAttention'
  decoder = {
    'lm_head.weight': rng.normal(size=(100, 32)),
    'decoder.embed_tokens.weight': rng.normal(size=(100, 32)),
    f'{attention}.q.weight': rng.normal(size=(32, 32)),
    f'{attention}.relative_attention_bias.weight': rng.normal(size=(32, 4)),
    'decoder.block.0.layer.1.EncDecAttention.q.weight': rng.normal(
      size=(32, 32)
    ),
    'decoder.block.0.layer.2.DenseReluDense.wo.weight': rng.normal(
      size=(32, 64)
    ),
    'decoder.final_layer_norm.weight': rng.normal(size=32),
  }
  path = tmp_path / 'x.safetensors'
  _write(path, {k: v.astype(np.float32) for k, v in decoder.items()})
  _, found, _, ported = _port(path)
  assert set(found.skipped) == decoder.keys()
  want = _ported()[3].params
  assert ported.params.keys() == want.keys()
  for name, x in want.items():
    np.testing.assert_array_equal(ported.params[name], x)


MANIFEST = {
  name: readers.Spec(tuple(shape), FLOAT32)
  for name, shape in json.loads(
    (GOLDEN / 'manifests' / 't5_v1_1_xxl_encoder.json').read_text()
  ).items()
}


@functools.cache
def _full():
  found = rows.look(MANIFEST, rows.PORTS['t5_v1_1_xxl'], {})
  network = t5.T5Encoder(**found.options)
  return rows.rows(network, found.layout), rows.shapes(network)


def test_the_full_size_state_dict_maps_completely_both_ways():
  """From shapes alone: nothing is missing, nothing is left over."""
  table, shapes = _full()
  rules.judge(MANIFEST, table, shapes)
  back = rules.source_shapes(table, shapes)
  assert back == {name: spec.shape for name, spec in MANIFEST.items()}
  assert sum(np.prod(x) for x in shapes.values()) == 4_762_310_656


FEED = 'encoder.block.3.layer.1.DenseReluDense.wo.weight'
QUERY = 'encoder.block.0.layer.0.SelfAttention.q.weight'


def _refusals():
  """What is wrong with names and shapes, or with the table of rules."""
  table, shapes = _full()
  spec = MANIFEST[FEED]
  first = table[-1]
  return {
    'two rules read one tensor': (
      MANIFEST,
      [*table, first._replace(target='other')],
      {**shapes, 'other': (4096,)},
      'encoder.final_layer_norm.weight is read by two rules',
    ),
    'no rule reads a tensor': (
      {**MANIFEST, 'encoder.block.24.layer.0.layer_norm.weight': spec},
      table,
      shapes,
      r'block.24.layer.0.layer_norm.weight \(4096, 10240\) .*no part',
    ),
    'a target is none of the model': (
      MANIFEST,
      table,
      {k: v for k, v in shapes.items() if k != 'block_3/down/kernel'},
      'block_3/down/kernel is none of the model',
    ),
    'two rules fill one target': (
      {**MANIFEST, 'again': MANIFEST['encoder.final_layer_norm.weight']},
      [*table, first._replace(source='again')],
      shapes,
      'norm/scale is filled by two rules',
    ),
    'another shape': (
      {**MANIFEST, FEED: spec._replace(shape=(10240, 4096))},
      table,
      shapes,
      rf'{FEED} of the checkpoint is \(10240, 4096\).*\(4096, 10240\)',
    ),
    'another kind of number': (
      {**MANIFEST, FEED: spec._replace(dtype=np.dtype(np.int8))},
      table,
      shapes,
      f'{FEED} .* holds int8',
    ),
    'a tensor is missing': (
      {k: v for k, v in MANIFEST.items() if k != FEED},
      table,
      shapes,
      rf'{FEED} \(4096, 10240\) is missing',
    ),
  }


REFUSALS = [
  'two rules read one tensor',
  'no rule reads a tensor',
  'a target is none of the model',
  'two rules fill one target',
  'another shape',
  'another kind of number',
  'a tensor is missing',
]


@pytest.mark.parametrize('case', REFUSALS)
def test_what_does_not_fit_is_refused_by_name(case):
  assert _refusals().keys() == set(REFUSALS)
  specs, table, shapes, says = _refusals()[case]
  with pytest.raises(rules.PortError, match=says):
    rules.judge(specs, table, shapes)


UNGATED = 'encoder.block.0.layer.1.DenseReluDense.wi.weight'


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    ({rows._BIAS: None}, 'relative_attention_bias.*so it is no T5 encoder'),
    ({UNGATED: (10240, 4096)}, 'version 1.0'),
    ({SHARED: None, EMBED: None}, f'neither {SHARED} nor {EMBED}'),
    ({QUERY: None}, f'{QUERY} is missing'),
    ({QUERY: (4096,)}, r'q.weight has the shape \(4096,\)'),
  ],
)
def test_a_checkpoint_of_something_else_is_named(changes, says):
  specs = dict(MANIFEST)
  for name, shape in changes.items():
    specs[name] = readers.Spec(shape or (), FLOAT32)
    if shape is None:
      del specs[name]
  with pytest.raises(rules.PortError, match=says):
    rows.look(specs, SIZE, {})


def test_a_file_of_clip_is_named_by_its_first_tensor():
  with (
    readers.open_weights(GOLDEN / 'clip_text_tiny.safetensors') as reader,
    pytest.raises(rules.PortError, match='its first tensor is embeddings'),
  ):
    rows.look(reader.specs, SIZE, {})


@pytest.mark.parametrize('name', rows.PORTS)
def test_a_row_takes_the_checkpoint_of_its_own_size_alone(name):
  if name == 't5_v1_1_xxl':
    rows.look(MANIFEST, rows.PORTS[name], {})
    return
  with pytest.raises(rules.PortError, match='the checkpoint has'):
    rows.look(MANIFEST, rows.PORTS[name], {})


def test_head_counts_need_not_fill_the_width():
  """As in the small one: 6 heads of 64 over 512 numbers."""
  size = rows.PORTS['t5_v1_1_small']
  network = t5.T5Encoder(**size)
  table, shapes = rows.rows(network, 'shared'), rows.shapes(network)
  specs = {
    name: readers.Spec(shape, FLOAT32)
    for name, shape in rules.source_shapes(table, shapes).items()
  }
  assert specs[QUERY].shape == (384, 512)
  found = rows.look(specs, size, {})
  assert found.options == {**size, 'buckets': 32}
