"""Encoders behind their tokenizers: what is read, refused, and left behind."""

import functools
import itertools

import caption_readers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import token_kits

from framebridge_jax.data import text_encoders
from framebridge_jax.models import bert
from framebridge_jax.porting import weights

CAPTIONS = ['a cat', 'two dogs run on the beach', '', 'the car', 'a red sea']
KITS = {'t5': 't5', 'clip_text': 'clip', 'bert': 'bert'}
LENGTH = 12
CASES = [
  (family, layer)
  for family, row in text_encoders.READINGS.items()
  for layer in row.layers
]


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """Of each family: its weight file, its tokenizer's folder, parameters."""
  folder = tmp_path_factory.mktemp('readers')
  found = {}
  for family, kit in KITS.items():
    place = folder / kit
    place.mkdir()
    path = folder / f'{family}.safetensors'
    params = caption_readers.save(path, family)
    found[family] = path, getattr(token_kits, kit)(place), params
  return found


def _open(made, family, **changes):
  path, folder, _ = made[family]
  return text_encoders.open_encoder(path, folder, **changes)


def _vectors(encoder, rows):
  tokens = encoder.tokenizer(CAPTIONS)
  return dict(text_encoders.vectors(encoder, tokens, rows, batch_size=2))


@functools.partial(tiny.quick_jit, static_argnums=(0, 1))
def _direct(family, layer, params, ids, mask):
  """The network alone, as its own tests run it."""
  network = caption_readers.NETWORKS[family]
  if family == 't5':
    return network.apply(params, ids)
  if family == 'clip_text':
    return getattr(network.apply(params, ids), layer)
  hidden = network.apply(params, ids, mask)
  return bert.pool(hidden, mask)[:, None] if layer == 'mean' else hidden


@pytest.mark.parametrize(('family', 'layer'), CASES)
def test_vectors_are_the_networks_whatever_the_batches(made, family, layer):
  """Five captions at once, or three of them by twos, one row filled up."""
  encoder = _open(made, family, layer=layer, length=LENGTH)
  ids, mask, _ = encoder.tokenizer(CAPTIONS)
  want = np.asarray(_direct(family, layer, made[family][2], ids, mask))
  assert want.shape[1:] == encoder.shape
  rows = [4, 0, 2]
  found = _vectors(encoder, rows)
  assert list(found) == rows
  for row, (values, seen) in found.items():
    assert values.shape == encoder.shape
    np.testing.assert_allclose(values, want[row], atol=1e-5)
    assert seen.all() if layer == 'mean' else (seen == mask[row]).all()


@pytest.mark.parametrize('family', KITS)
def test_all_batches_have_one_shape_and_compile_once(
  made, family, compilations
):
  """Five captions by twos: the last batch is filled up."""
  encoder = _open(made, family, length=LENGTH + 1)  # as no other test has it
  _vectors(encoder, [0, 1])
  compilations.clear()
  _vectors(encoder, [0, 1, 2, 3, 4])
  assert not compilations


@pytest.mark.parametrize('family', KITS)
def test_no_array_is_left_on_a_device(made, family):
  encoder = _open(made, family, length=LENGTH)
  _vectors(encoder, [0, 1])
  before = {id(x) for x in jax.live_arrays()}
  found = _vectors(encoder, [0, 1, 2])
  assert len(found) == 3
  assert {id(x) for x in jax.live_arrays()} <= before


def test_no_array_is_left_when_the_caller_stops_in_between(made):
  encoder = _open(made, 't5', length=LENGTH)
  _vectors(encoder, [0, 1])
  before = {id(x) for x in jax.live_arrays()}
  tokens = encoder.tokenizer(CAPTIONS)
  work = text_encoders.vectors(encoder, tokens, [0, 1, 2], batch_size=2)
  first = next(work)
  during = {id(x) for x in jax.live_arrays()} - before
  assert len(during) >= len(jax.tree.leaves(made['t5'][2]))
  work.close()
  assert {id(x) for x in jax.live_arrays()} <= before
  assert np.isfinite(first[1].values).all()


def test_no_array_is_left_with_an_error_that_somebody_keeps(made, monkeypatch):
  """Its traceback holds the frame that had loaded them."""
  encoder = _open(made, 't5', length=LENGTH)

  def fail(network, variables, ids, mask):
    raise RuntimeError('out of memory')

  row = text_encoders.READINGS['t5']
  broken = row._replace(layers={'last': text_encoders.Layer(fail)})
  monkeypatch.setitem(text_encoders.READINGS, 't5', broken)
  sizes = {x.size for x in jax.tree.leaves(made['t5'][2])}
  before = {id(x) for x in jax.live_arrays()}
  with pytest.raises(RuntimeError) as caught:
    _vectors(encoder, [0])
  left = [x for x in jax.live_arrays() if id(x) not in before]
  assert not [x.shape for x in left if x.size in sizes]
  assert caught.tb is not None


def test_without_rows_nothing_is_loaded(made, tmp_path):
  encoder = _open(made, 't5')
  gone = text_encoders.Encoder(**{**vars(encoder), 'path': tmp_path / 'none'})
  assert _vectors(gone, []) == {}


@pytest.mark.parametrize(
  ('family', 'kind', 'length', 'layer'),
  [
    ('t5', 't5', 226, 'last'),
    ('clip_text', 'clip', 77, 'last'),
    ('bert', 'bert', 256, 'mean'),
  ],
)
def test_a_family_brings_its_own_kind_length_and_layer(
  made, family, kind, length, layer
):
  encoder = _open(made, family)
  found = encoder.tokenizer.kind, encoder.tokenizer.length, encoder.layer
  assert found == (kind, length, layer)


def test_parameters_in_bfloat16_are_used_as_they_are_stored(made, tmp_path):
  path = tmp_path / 'half.safetensors'
  caption_readers.save(path, 't5', dtype='bfloat16')
  encoder = text_encoders.open_encoder(path, made['t5'][1], length=LENGTH)
  values, _ = _vectors(encoder, [0, 1])[1]
  assert values.dtype == np.float32
  full = _vectors(_open(made, 't5', length=LENGTH), [0, 1])[1].values
  assert 1e-5 < np.abs(values - full).max() < 0.1 * np.abs(full).max()


def test_products_in_bfloat16_are_asked_for(made):
  tokens = {}
  for dtype in (jnp.float32, jnp.bfloat16):
    encoder = _open(made, 'bert', length=LENGTH, dtype=dtype)
    tokens[dtype] = _vectors(encoder, [0, 1])[1].values
  apart = np.abs(tokens[jnp.float32] - tokens[jnp.bfloat16]).max()
  assert 1e-6 < apart < 0.05


@pytest.mark.parametrize(
  ('given', 'other'), list(itertools.permutations(sorted(KITS), 2))
)
def test_a_tokenizer_of_another_family_is_refused(made, given, other):
  path, folder = made[given][0], made[other][1]
  with pytest.raises(ValueError, match=f'want for {KITS[given]} one of'):
    text_encoders.open_encoder(path, folder)


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    (
      {'layer': 'penultimate'},
      "'penultimate', want for bert one of mean, last",
    ),
    (
      {'length': 257},
      'length is 257, but .*bert.safetensors reads at most 256',
    ),
    ({'kind': 'gpt'}, "kind is 'gpt', want one of"),
  ],
)
def test_settings_that_an_encoder_lacks_are_refused(made, changes, says):
  with pytest.raises(ValueError, match=says):
    _open(made, 'bert', **changes)


def test_a_tokenizer_with_more_tokens_than_the_encoder_is_refused(
  made, tmp_path
):
  small = caption_readers.NETWORKS['t5'].copy(vocab=479)
  model = {'name': 't5', **caption_readers.options(small)}
  config = {'model': model, 'layout': 'shared'}
  path = tmp_path / 'small.safetensors'
  weights.save(path, {'params': {}}, config, dtype='float32', facts={})
  says = 'has 480 tokens, .*small.safetensors knows 479'
  with pytest.raises(ValueError, match=says):
    text_encoders.open_encoder(path, made['t5'][1])


def test_another_network_is_refused_as_an_encoder(made, tmp_path):
  path = tmp_path / 'x.safetensors'
  config = {'model': {'name': 'vae_kl'}}
  weights.save(path, {'params': {}}, config, dtype='float32', facts={})
  with pytest.raises(ValueError, match='vae_kl, want t5 or clip_text or bert'):
    text_encoders.open_encoder(path, made['t5'][1])
