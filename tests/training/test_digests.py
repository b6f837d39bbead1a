"""Digests hold on any layout, and any changed bit is found and named."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framebridge_jax.training import digests, manifests, sharding

RECORD = {'step': 3, 'config': {'b': 1, 'a': [2.5, 'x']}}


def _mesh(**sizes):
  sizes = {'data': 1, 'fsdp': 1, 'tensor': 1, 'frames': 1, **sizes}
  count = int(np.prod(list(sizes.values())))
  return sharding.make_mesh(sizes, jax.devices()[:count])


def _arrays():
  rng = np.random.default_rng(0)
  return {
    'kernel': rng.normal(size=(8, 12)).astype(np.float32),
    'half': rng.normal(size=4).astype(jnp.bfloat16),
    'count': np.int32(7),
    'none': np.zeros((0, 3), np.float32),
  }


WHOLE = jax.P()


def _placed(mesh, spec=WHOLE):
  def place(name, x):
    target = spec if name == 'kernel' else WHOLE
    return jax.device_put(x, jax.sharding.NamedSharding(mesh, target))

  return {name: place(name, x) for name, x in _arrays().items()}


def _manifest(tree):
  return digests.seal(digests.fetch(tree), RECORD)


def test_a_whole_array_has_the_sha256_of_its_bytes():
  arrays = _manifest(_placed(_mesh()))['arrays']
  for name, x in _arrays().items():
    (digest,) = arrays[name]['sha256'].values()
    assert digest == hashlib.sha256(x.tobytes()).hexdigest(), name
    assert arrays[name]['shape'] == list(x.shape)
    assert arrays[name]['dtype'] == str(x.dtype)


def test_a_sharded_array_is_sealed_part_by_part_and_each_part_once():
  mesh = _mesh(data=2, fsdp=2)
  entry = _manifest(_placed(mesh, jax.P('fsdp')))['arrays']['kernel']
  kernel = _arrays()['kernel']
  assert entry['sha256'] == {
    '0:4,0:12': hashlib.sha256(kernel[:4].tobytes()).hexdigest(),
    '4:8,0:12': hashlib.sha256(kernel[4:].tobytes()).hexdigest(),
  }


@pytest.mark.parametrize('sealed', [{}, {'fsdp': 2}, {'fsdp': 4}], ids=str)
@pytest.mark.parametrize('read', [{}, {'data': 2}, {'fsdp': 4}], ids=str)
def test_what_was_sealed_on_one_layout_is_whole_on_another(sealed, read):
  manifest = _manifest(_placed(_mesh(**sealed), jax.P('fsdp')))
  tree = _placed(_mesh(**read), jax.P('fsdp'))
  assert digests.damage(json.loads(json.dumps(manifest)), tree) == ''


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(['kernel', 'half', 'count']), st.data())
def test_any_flipped_bit_is_found_and_its_array_named(name, data):
  manifest = _manifest(_placed(_mesh()))
  tree = _arrays()
  raw = bytearray(tree[name].tobytes())
  bit = data.draw(st.integers(0, 8 * len(raw) - 1))
  raw[bit // 8] ^= 1 << bit % 8
  x = tree[name]
  tree[name] = np.frombuffer(bytes(raw), x.dtype).reshape(x.shape)
  found = digests.damage(manifest, tree)
  assert found.startswith(f'{name}[')
  assert '; ' not in found


def test_another_type_and_an_unknown_name_are_damage():
  manifest = _manifest(_placed(_mesh()))
  other = {**_arrays(), 'count': np.int64(7)}
  assert digests.damage(manifest, other) == 'count is int64, was int32'
  more = {**_arrays(), 'new': np.zeros(2)}
  assert digests.damage(manifest, more) == 'new has no digest'


def test_a_branch_is_held_against_the_whole_tree_s_manifest():
  manifest = _manifest({'ema': _placed(_mesh())})
  assert digests.damage(manifest, _arrays(), prefix='ema/') == ''
  spoiled = {**_arrays(), 'count': np.int32(8)}
  found = digests.damage(manifest, spoiled, prefix='ema/')
  assert found.startswith('ema/count[')


def test_json_has_one_digest_whatever_the_order_of_its_keys():
  turned = dict(reversed(RECORD.items()))
  assert digests.of_json(turned) == digests.of_json(RECORD)
  assert digests.of_json({**RECORD, 'step': 4}) != digests.of_json(RECORD)


@pytest.mark.parametrize('spec', [jax.P('fsdp'), jax.P(None, 'data'), WHOLE])
def test_each_host_looks_at_what_it_holds_and_gathers_what_none_does(
  spec, monkeypatch
):
  """Of several hosts; here all devices are one's, and looked at one by one."""
  monkeypatch.setattr(digests, '_apart', lambda x: isinstance(x, jax.Array))
  mesh = _mesh(data=2, fsdp=2)
  manifest = _manifest(_placed(mesh, jax.P('fsdp')))
  good = _placed(mesh, spec)
  assert not digests.damage(manifest, good)
  wrong = np.array(good['kernel'])
  wrong[7, 11] += 1
  bad = {**good, 'kernel': jax.device_put(wrong, good['kernel'].sharding)}
  assert 'kernel[4:8,0:12] has not' in digests.damage(manifest, bad)


def test_manifests_of_two_processes_are_read_as_one(tmp_path):
  mesh = _mesh(fsdp=2)
  blocks = digests.fetch(_placed(mesh, jax.P('fsdp')))
  parts = [x for x in blocks if x.index != '4:8,0:12']
  others = [x for x in blocks if x.index == '4:8,0:12']
  assert len(others) == 1
  folder = tmp_path / 'digests'
  folder.mkdir()
  for name, some in (('digests.json', parts), ('digests.1.json', others)):
    sealed = digests.seal(some, RECORD, processes=2)
    (folder / name).write_text(json.dumps(sealed))
  read = manifests.read(tmp_path)
  assert read['arrays'] == digests.seal(blocks, RECORD)['arrays']
  (folder / 'digests.1.json').unlink()
  with pytest.raises(manifests.DamagedError, match=r'digests\.1\.json cannot'):
    manifests.read(tmp_path)
