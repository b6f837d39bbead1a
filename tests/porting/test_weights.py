"""Weight files: what goes in comes out, and what does not fit is named."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from framebridge_jax.porting import weights

CONFIG = {'model': {'width': 8, 'name': 'latte'}, 'task_mix': {'first': 0.8}}


def _params(seed=0):
  rng = np.random.default_rng(seed)

  def draw(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  return {
    'params': {
      'patches': {'kernel': draw(6, 4), 'bias': draw(4)},
      'labels': {'embedding': draw(11, 4)},
      'gain': draw(),
    }
  }


def _save(path, dtype=jnp.float32, facts=None):
  weights.save(path, _params(), CONFIG, dtype=dtype, facts=facts or {})
  return path


def test_float32_comes_back_to_the_bit_with_its_config(tmp_path):
  loaded = weights.load(_save(tmp_path / 'deep' / 'w.safetensors'))
  jax.tree.map(np.testing.assert_array_equal, loaded.params, _params())
  assert loaded.config == CONFIG
  assert [x.name for x in (tmp_path / 'deep').iterdir()] == ['w.safetensors']


def test_bfloat16_halves_the_file_and_rounds_to_8_bits(tmp_path):
  """Half a unit in the last of 8 bits is at most 2 ** -8 of the number."""
  half = _save(tmp_path / 'half.safetensors', jnp.bfloat16)
  loaded = weights.load(half).params
  for got, want in zip(
    jax.tree.leaves(loaded), jax.tree.leaves(_params()), strict=True
  ):
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=2**-8, atol=0)
  kernel = loaded['params']['patches']['kernel']
  assert (np.asarray(kernel) != _params()['params']['patches']['kernel']).any()
  with safetensors.safe_open(half, 'numpy') as file:
    sizes = {n: file.get_slice(n).get_dtype() for n in file.keys()}  # noqa: SIM118
  assert set(sizes.values()) == {'BF16'}


def test_names_are_paths_and_facts_travel_beside_the_config(tmp_path):
  path = _save(tmp_path / 'w.safetensors', facts={'device': 'CPU', 'seed': '0'})
  with safetensors.safe_open(path, 'numpy') as file:
    metadata, names = file.metadata(), set(file.keys())
  assert names == {
    'params/patches/kernel',
    'params/patches/bias',
    'params/labels/embedding',
    'params/gain',
  }
  assert json.loads(metadata['config']) == CONFIG
  assert metadata['device'] == 'CPU'
  assert metadata['seed'] == '0'


def test_saving_over_a_file_replaces_it_whole(tmp_path):
  path = tmp_path / 'w.safetensors'
  path.write_bytes(b'old' * 10_000)
  assert weights.load(_save(path)).config == CONFIG


def _missing(path):
  path.unlink()


def _directory(path):
  path.unlink()
  path.mkdir()


def _cut(path):
  path.write_bytes(path.read_bytes()[:-7])


def _cut_header(path):
  path.write_bytes(path.read_bytes()[:30])


def _empty(path):
  path.write_bytes(b'')


def _noise(path):
  path.write_bytes(np.random.default_rng(0).bytes(500))


def _foreign(path):
  safetensors.numpy.save_file({'w': np.zeros(3, np.float32)}, path)


def _no_json(path):
  x = np.zeros(3, np.float32)
  safetensors.numpy.save_file({'w': x}, path, {'config': '{'})


def _no_dict(path):
  x = np.zeros(3, np.float32)
  safetensors.numpy.save_file({'w': x}, path, {'config': '[1]'})


@pytest.mark.parametrize(
  ('harm', 'says'),
  [
    (_missing, 'no weight file'),
    (_directory, 'no weight file'),
    (_cut, 'not a whole safetensors file'),
    (_cut_header, 'not a whole safetensors file'),
    (_empty, 'not a whole safetensors file'),
    (_noise, 'not a whole safetensors file'),
    (_foreign, 'no config'),
    (_no_json, 'cannot be read'),
    (_no_dict, 'cannot be read'),
  ],
)
def test_a_file_that_cannot_be_used_ends_in_one_sentence(tmp_path, harm, says):
  path = _save(tmp_path / 'w.safetensors')
  harm(path)
  with pytest.raises(weights.WeightsError) as error:
    weights.load(path)
  message = str(error.value)
  assert says in message
  assert str(path) in message
  assert '\n' not in message


def test_fit_takes_all_of_the_source_and_nothing_of_the_target():
  source, target = _params(0), _params(1)
  fitted = weights.fit(source, target, fresh='')
  jax.tree.map(np.testing.assert_array_equal, fitted.params, source)
  assert fitted.kept == []


def test_fit_lists_every_difference_of_both_sides():
  source, target = _params(0), _params(1)
  del source['params']['patches']['bias']
  source['params']['labels']['embedding'] = jnp.zeros((7, 4))
  source['params']['stem'] = {'kernel': jnp.zeros((2, 2))}
  with pytest.raises(weights.WeightsError) as error:
    weights.fit(source, target, fresh='')
  message = str(error.value)
  assert '3 parameters' in message
  for name, facts in {
    'params/patches/bias': ['(4,)', 'none'],
    'params/labels/embedding': ['(11, 4)', '(7, 4)'],
    'params/stem/kernel': ['not in the model'],
  }.items():
    (part,) = (x for x in message.split('; ') if name in x)
    assert all(fact in part for fact in facts)
  assert 'params/patches/kernel' not in message


def test_fresh_parameters_keep_the_target_s_values_and_are_named():
  source, target = _params(0), _params(1)
  source['params']['labels']['embedding'] = jnp.zeros((7, 4))
  del source['params']['gain']
  source['params']['old'] = {'gain': jnp.ones(2)}
  fitted = weights.fit(source, target, fresh='^params/labels/|gain$')
  assert sorted(fitted.kept) == ['params/gain', 'params/labels/embedding']
  for name in ('labels', 'gain'):
    jax.tree.map(
      np.testing.assert_array_equal,
      fitted.params['params'][name],
      target['params'][name],
    )
  jax.tree.map(
    np.testing.assert_array_equal,
    fitted.params['params']['patches'],
    source['params']['patches'],
  )
  assert 'old' not in fitted.params['params']


def test_fresh_parameters_that_fit_are_taken_all_the_same():
  source, target = _params(0), _params(1)
  fitted = weights.fit(source, target, fresh='labels')
  jax.tree.map(np.testing.assert_array_equal, fitted.params, source)
  assert fitted.kept == []


def test_fresh_pardons_only_what_it_names():
  source, target = _params(0), _params(1)
  source['params']['labels']['embedding'] = jnp.zeros((7, 4))
  with pytest.raises(weights.WeightsError, match='1 parameters'):
    weights.fit(source, target, fresh='patches')


def test_count_is_the_number_of_numbers():
  assert weights.count(_params()) == 6 * 4 + 4 + 11 * 4 + 1
