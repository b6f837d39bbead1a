"""Readers: safetensors whole, sharded and hostile (row S2); prefixes."""

import json
import pathlib
import resource
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import torch_zip

from framebridge_jax.porting import readers, weights

RNG = np.random.default_rng(0)
ARRAYS = {
  'a.weight': RNG.normal(size=(3, 4)).astype(np.float32),
  'a.bias': RNG.normal(size=4).astype(ml_dtypes.bfloat16),
  'b.weight': RNG.normal(size=(2, 2, 2)).astype(np.float16),
  'b.count': np.array(7, np.int64),
  'b.none': np.zeros((0, 3), np.float32),
}


def _read(path, state=''):
  with readers.open_weights(pathlib.Path(path), state) as reader:
    return {name: reader.read(name) for name in reader.specs}


def _same(got, want):
  assert got.keys() == want.keys()
  for name, x in want.items():
    assert (got[name].dtype, got[name].shape) == (x.dtype, x.shape), name
    assert got[name].tobytes() == x.tobytes(), name


def test_safetensors_are_read_to_the_bit(tmp_path):
  path = tmp_path / 'x.safetensors'
  safetensors.numpy.save_file(ARRAYS, path, {'format': 'pt'})
  _same(_read(path), ARRAYS)
  with readers.open_weights(path) as reader:
    assert reader.specs['a.bias'].dtype.name == 'bfloat16'
    assert reader.specs['b.weight'].shape == (2, 2, 2)
  assert readers.files(path) == [path]


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', None])
def test_prefixes_of_wrappers_are_taken_off(tmp_path, prefix):
  prefix = 'module._orig_mod.' if prefix is None else prefix
  arrays = {prefix + name: x for name, x in ARRAYS.items()}
  safetensors.numpy.save_file(arrays, tmp_path / 'x.safetensors')
  _same(_read(tmp_path / 'x.safetensors'), ARRAYS)
  torch_zip.save(tmp_path / 'x.pt', arrays)
  _same(_read(tmp_path / 'x.pt'), ARRAYS)


def test_a_name_with_and_without_prefix_is_refused(tmp_path):
  x = np.zeros(2, np.float32)
  path = tmp_path / 'x.safetensors'
  safetensors.numpy.save_file({'a': x, 'module.a': x}, path)
  with pytest.raises(ValueError, match='holds a twice, as '):
    _read(path)


@pytest.mark.parametrize(
  ('name', 'says'),
  [
    ('none.pt', 'no checkpoint at'),
    ('x.npz', "ends in '.npz', want one of .safetensors"),
    ('empty', r'of safetensors, or none \(none\); name the file'),
  ],
)
def test_a_path_that_cannot_be_a_checkpoint_says_so(tmp_path, name, says):
  (tmp_path / 'x.npz').write_bytes(b'PK')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match=says):
    _read(tmp_path / name)


# Shards.

INDEX = 'model.safetensors.index.json'


def _shards(folder):
  """Two shards and their index, as the hub has them; the map by name."""
  names = sorted(ARRAYS)
  places = {
    name: f'model-{i % 2 + 1}.safetensors' for i, name in enumerate(names)
  }
  for shard in set(places.values()):
    part = {n: x for n, x in ARRAYS.items() if places[n] == shard}
    safetensors.numpy.save_file(part, folder / shard)
  _index(folder, places)
  return places


def _index(folder, places):
  text = json.dumps({'metadata': {'total_size': 1}, 'weight_map': places})
  (folder / INDEX).write_text(text)


def test_shards_are_read_as_one(tmp_path):
  _shards(tmp_path)
  _same(_read(tmp_path / INDEX), ARRAYS)
  _same(_read(tmp_path), ARRAYS)
  assert [path.name for path in readers.files(tmp_path)] == [
    INDEX,
    'model-1.safetensors',
    'model-2.safetensors',
  ]


def test_a_missing_shard_is_named(tmp_path):
  _shards(tmp_path)
  (tmp_path / 'model-2.safetensors').unlink()
  with pytest.raises(ValueError, match='model-2.safetensors, which is missing'):
    _read(tmp_path)


@pytest.mark.parametrize(
  'shard',
  [
    '../out.safetensors',
    '/etc/passwd',
    'sub/x.safetensors',
    '..',
    '',
    7,
    'a\0',
  ],
)
def test_a_shard_outside_the_folder_is_refused(tmp_path, shard):
  inside = tmp_path / 'in'
  (inside / 'sub').mkdir(parents=True)
  for path in (tmp_path / 'out.safetensors', inside / 'sub/x.safetensors'):
    safetensors.numpy.save_file({'a.weight': ARRAYS['a.weight']}, path)
  _index(inside, {'a.weight': shard})
  with pytest.raises(ValueError, match='outside its folder|which is missing'):
    _read(inside)


def _left_out(places):
  del places['a.weight']


def _invented(places):
  places['c.weight'] = 'model-1.safetensors'


def _swapped(places):
  places['a.bias'] = 'model-2.safetensors'


@pytest.mark.parametrize(
  ('harm', 'name'),
  [(_left_out, 'a.weight'), (_invented, 'c.weight'), (_swapped, 'a.bias')],
)
def test_an_index_that_disagrees_with_its_shards_is_refused(
  tmp_path, harm, name
):
  places = _shards(tmp_path)
  harm(places)
  _index(tmp_path, places)
  with pytest.raises(ValueError, match=f'do not agree on {name}'):
    _read(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
  places = _shards(tmp_path)
  for shard in set(places.values()):
    safetensors.numpy.save_file(ARRAYS, tmp_path / shard)
  with pytest.raises(ValueError, match='do not agree on'):
    _read(tmp_path)


@pytest.mark.parametrize(
  'text',
  [
    '',
    '[]',
    '{}',
    '{"weight_map": 3}',
    '{"weight_map": [1]}',
    '\x80',
    '[' * 9999,
  ],
)
def test_what_is_no_index_says_so(tmp_path, text):
  (tmp_path / INDEX).write_text(text, 'latin-1')
  with pytest.raises(ValueError, match='is no index of safetensors shards'):
    _read(tmp_path)


# Hostile headers.


def _file(header, data=b'', size=None):
  """A file with a header as given, of the size that it has or claims."""
  raw = header if isinstance(header, bytes) else json.dumps(header).encode()
  size = len(raw) if size is None else size
  return struct.pack('<Q', size) + raw + data


def _tensor(begin, end, shape, dtype='F32'):
  return {'dtype': dtype, 'shape': shape, 'data_offsets': [begin, end]}


def _twice(name):
  entry = json.dumps(_tensor(0, 4, [1]))
  return f'{{"{name}": {entry}, "b": {entry}, "{name}": {entry}}}'.encode()


HOSTILE = {
  'empty': b'',
  'half a length': b'\x10\0\0',
  'length of 2^63': _file(b'{}', size=1 << 63),
  'length of 200 MB': _file(b'{}', size=200 << 20),
  'past the end': _file({'a': _tensor(0, 400, [100])}, bytes(8)),
  'overlap': _file(
    {'a': _tensor(0, 8, [2]), 'b': _tensor(4, 12, [2])}, bytes(12)
  ),
  'hole': _file({'a': _tensor(0, 4, [1]), 'b': _tensor(8, 12, [1])}, bytes(12)),
  'overflow': _file({'a': _tensor(0, 4, [1 << 62, 1 << 62])}, bytes(4)),
  'backwards': _file({'a': _tensor(4, 0, [1])}, bytes(4)),
  'negative': _file({'a': _tensor(-4, 0, [1])}, bytes(4)),
  'size and shape differ': _file({'a': _tensor(0, 4, [2])}, bytes(4)),
  'a dtype that is none': _file({'a': _tensor(0, 4, [1], 'F33')}, bytes(4)),
  'a dtype we do not know': _file(
    {'a': _tensor(0, 4, [4], 'F8_E5M2')}, bytes(4)
  ),
  'a name twice': _file(_twice('a'), bytes(4)),
  'a key twice': _file(
    b'{"a": {"dtype": "F32", "dtype": "I32", "shape": [1], '
    b'"data_offsets": [0, 4]}}',
    bytes(4),
  ),
  'a list': _file([1, 2]),
  'a number': _file(b'17'),
  'deep': _file(b'[' * 100_000 + b']' * 100_000),
  'deep dicts': _file(b'{"a":' * 100_000),
  'a long number': _file(b'{"a": ' + b'9' * 9999 + b'}'),
  'not text': _file(b'\xff\xfe{}'),
  'a pickle': torch_zip.pickled(torch_zip.called('os.system', 'true')) * 20,
  'more than data': _file({'a': _tensor(0, 4, [1])}, bytes(9)),
}


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_headers_end_in_one_sentence(tmp_path, name):
  path = tmp_path / 'x.safetensors'
  path.write_bytes(HOSTILE[name])
  for read in (_read, weights.load):
    with pytest.raises(ValueError, match='x.safetensors') as error:
      read(path)
    assert '\n' not in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_long_header_costs_little(tmp_path):
  """Sparse files: 300 MB that claim a 99 MB header, and 3 MB of brackets."""
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  path = tmp_path / 'x.safetensors'
  brackets = b'[' + b'[],' * 1_000_000 + b'0]'
  for raw in (_file(b'{}', size=99 << 20), _file(brackets)):
    with path.open('wb') as file:
      file.write(raw)
      file.truncate(300 << 20)
    for read in (_read, weights.load):
      with pytest.raises(ValueError, match='x.safetensors'):
        read(path)
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  assert after - before < 100 << 10  # in KB


def test_a_name_that_stands_twice_is_told(tmp_path):
  """The library takes the last of the two without a word."""
  path = tmp_path / 'x.safetensors'
  path.write_bytes(_file(_twice('layer.weight')))
  with pytest.raises(ValueError, match='holds layer.weight twice'):
    _read(path)


@pytest.mark.parametrize('kept', [0.2, 0.9, 0.999])
def test_a_file_that_is_cut_off_says_so(tmp_path, kept):
  path = tmp_path / 'x.safetensors'
  safetensors.numpy.save_file(ARRAYS, path)
  raw = path.read_bytes()
  path.write_bytes(raw[: int(kept * len(raw))])
  with pytest.raises(ValueError, match='cut off|cannot be read'):
    _read(path)
