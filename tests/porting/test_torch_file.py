"""PyTorch's zip files, read without PyTorch: layouts, states, damage."""

import pathlib
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch_zip
from torch_zip import Raw, Stored, called, named, opcodes

from framebridge_jax.porting import readers

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / 'tests' / 'golden'
RNG = np.random.default_rng(0)


def _read(path, state=''):
  """All arrays of a file, by name."""
  with readers.open_weights(path, state) as reader:
    arrays = {name: reader.read(name) for name in reader.specs}
    for name, x in arrays.items():
      assert reader.specs[name] == (x.shape, x.dtype), name
  return arrays


@pytest.mark.parametrize(
  'path', sorted(GOLDEN.glob('*.pt')), ids=lambda path: path.stem
)
def test_files_that_torch_wrote_are_read_byte_for_byte(path):
  """Bare state dicts: storage n of the zip is tensor n, all of it."""
  arrays = _read(path)
  with zipfile.ZipFile(path) as archive:
    folder = archive.namelist()[0].partition('/')[0]
    raw = {
      n: archive.read(n)
      for n in archive.namelist()
      if n.startswith(f'{folder}/data/')
    }
  assert len(raw) == len(arrays)
  for i, (name, x) in enumerate(arrays.items()):
    assert x.tobytes() == raw[f'{folder}/data/{i}'], name
    assert x.dtype == np.float32


DTYPES = [np.dtype(getattr(ml_dtypes, n, n)) for n in torch_zip.STORAGES]


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_storages_of_every_dtype_are_read_to_the_bit(tmp_path, dtype):
  x = RNG.integers(0, 2 if dtype.name == 'bool' else 100, (3, 4)).astype(dtype)
  empty, scalar = np.zeros((0, 3), dtype), x[1, 1]
  path = torch_zip.save(
    tmp_path / 'x.pt', {'x': x, 'empty': empty, 'scalar': np.asarray(scalar)}
  )
  got = _read(path)
  assert got['x'].dtype == dtype
  assert got['x'].tobytes() == x.tobytes()
  assert got['scalar'].shape == ()
  assert got['scalar'] == scalar
  assert got['empty'].shape == (0, 3)


def test_strides_and_offsets_are_followed(tmp_path):
  """Transposes, slices and tied tensors are views of one storage."""
  x = np.arange(24, dtype=np.float32)
  root = {
    'transposed': Stored('0', 'float32', (6, 4), (1, 6)),
    'slice': Stored('0', 'float32', (2, 3), (6, 1), 7),
    'steps': Stored('0', 'float32', (4,), (5,), 3),
    'tied': Stored('0', 'float32', (24,), (1,)),
  }
  got = _read(torch_zip.write(tmp_path / 'x.pt', root, {'0': x.tobytes()}))
  grid = x.reshape(4, 6)
  np.testing.assert_array_equal(got['transposed'], grid.T)
  np.testing.assert_array_equal(got['slice'], grid[1:3, 1:4])
  np.testing.assert_array_equal(got['steps'], x[3::5][:4])
  np.testing.assert_array_equal(got['tied'], x)
  assert all(array.flags.c_contiguous for array in got.values())


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
  raw = {'0': np.zeros(6, np.float32).tobytes()}
  for tensor in (
    Stored('0', 'float32', (2, 4), (4, 1)),
    Stored('0', 'float32', (6,), (1,), 1),
    Stored('0', 'float32', (2, 2), (5, 1)),
    Stored('0', 'float32', (1 << 40,), (0,)),
    Stored('1', 'float32', (6,), (1,)),
  ):
    path = torch_zip.write(tmp_path / 'x.pt', {'x': tensor}, raw)
    with pytest.raises(ValueError, match='wants more|lacks the storage'):
      _read(path)
  for tensor in (
    Stored('0', 'float32', (2, 3), (1,)),
    Stored('0', 'float32', (-2,), (1,)),
    Stored('0', 'float32', (2,), (-1,), 5),
    Stored('0', 'float32', (2,), (1,), -1),
  ):
    path = torch_zip.write(tmp_path / 'x.pt', {'x': tensor}, raw)
    with pytest.raises(ValueError, match='index of .* cannot be read'):
      _read(path)


def test_a_damaged_storage_is_found(tmp_path):
  """The zip's own checksum; PyTorch itself does not look at it."""
  x = RNG.normal(size=500).astype(np.float32)
  path = torch_zip.save(tmp_path / 'x.pt', {'x': x})
  raw = bytearray(path.read_bytes())
  raw[raw.index(x.tobytes()) + 1000] ^= 4
  path.write_bytes(raw)
  with pytest.raises(ValueError, match='damaged at archive/data/0'):
    _read(path)


@pytest.mark.parametrize('kept', [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_is_cut_off_says_so(tmp_path, kept):
  raw = (GOLDEN / 'latte_tiny_uncond.pt').read_bytes()
  path = tmp_path / 'x.pt'
  path.write_bytes(raw[: int(kept * len(raw))])
  with pytest.raises(ValueError, match='is cut off'):
    _read(path)


# Training checkpoints.


def _training(path, **extra):
  """Latte's: `model`, `ema`, `opt`, `args`, names with DDP's prefix."""
  one, two = (RNG.normal(size=(2, 3)).astype(np.float32) for _ in 'ab')
  root, storages = torch_zip.states(
    {'model': {'module.x': one}, 'ema': {'x': two}}
  )
  settings = torch_zip.built(
    'argparse.Namespace',
    {'lr': 1e-4, 'dir': called('pathlib.PosixPath', 'runs', 'a'), 'n': None},
  )
  state = {0: {'step': 3, 'exp_avg': torch_zip.dense('0', 'float32', (2, 3))}}
  root |= {'opt': {'state': state, 'param_groups': [{'params': [0, 1]}]}}
  root |= {'args': settings, 'step': 300_000_000_000, 'loss': 0.25, **extra}
  torch_zip.write(path, root, storages)
  return one, two


def test_training_checkpoints_give_the_average_unless_asked(tmp_path):
  path = tmp_path / 'x.pt'
  model, ema = _training(path)
  np.testing.assert_array_equal(_read(path)['x'], ema)
  np.testing.assert_array_equal(_read(path, 'ema')['x'], ema)
  np.testing.assert_array_equal(_read(path, 'model')['x'], model)
  with pytest.raises(ValueError, match="no state 'teacher'.*model, ema, opt"):
    _read(path, 'teacher')


@pytest.mark.parametrize(
  'root',
  [
    {'a': {'b': torch_zip.dense('0', 'float32', (1,))}, 'a.b': None},
    {1: torch_zip.dense('0', 'float32', (1,)), '1': None},
  ],
  ids=['nested and dotted', 'number and text'],
)
def test_two_tensors_that_come_to_one_name_are_refused(tmp_path, root):
  root = {
    k: v or torch_zip.dense('1', 'float32', (1,)) for k, v in root.items()
  }
  path = torch_zip.write(
    tmp_path / 'x.pt', root, {'0': bytes(4), '1': bytes(4)}
  )
  with pytest.raises(ValueError, match=r'holds (a\.b|1) twice'):
    _read(path)


def test_settings_of_omegaconf_are_passed_over(tmp_path):
  """As pickled by omegaconf 2.3, names of Python 2 included."""
  node = torch_zip.built('omegaconf.nodes.AnyNode', {'_val': 16})
  about = torch_zip.built(
    'omegaconf.base.ContainerMetadata',
    {
      'ref_type': Raw(named('typing.Any')),
      'object_type': Raw(named('__builtin__.dict')),
    },
  )
  config = torch_zip.built(
    'omegaconf.dictconfig.DictConfig',
    {'_metadata': about, '_content': {'num_frames': node}},
  )
  counts = Raw(
    named('collections.defaultdict')
    + opcodes((Raw(named('__builtin__.int')),))
    + b'R'
    + opcodes('a')
    + opcodes(3)
    + b's'
  )
  _, ema = _training(tmp_path / 'x.pt', config=config, counts=counts)
  np.testing.assert_array_equal(_read(tmp_path / 'x.pt')['x'], ema)


def test_a_parameter_and_an_ordered_dict_are_read(tmp_path):
  """`torch.save(module.state_dict(keep_vars=True))`."""
  x = RNG.normal(size=(2, 3)).astype(np.float32)
  tensor = torch_zip.dense('0', 'float32', (2, 3))
  hooks = called('collections.OrderedDict')
  parameter = called('torch._utils._rebuild_parameter', tensor, True, hooks)
  state = Raw(
    called('collections.OrderedDict').code
    + b'('
    + opcodes('x')
    + opcodes(parameter)
    + b'u'
    + opcodes({'_metadata': {'': {'version': 1}}})
    + b'b'
  )
  path = torch_zip.write(tmp_path / 'x.pt', state, {'0': x.tobytes()})
  np.testing.assert_array_equal(_read(path)['x'], x)
  hidden = Raw(state.code + opcodes({'items': 1}) + b'b')
  torch_zip.write(tmp_path / 'x.pt', hidden, {'0': x.tobytes()})
  np.testing.assert_array_equal(_read(tmp_path / 'x.pt')['x'], x)


def test_what_holds_no_state_dict_says_so(tmp_path):
  path = tmp_path / 'x.pt'
  for root, says in (
    ([1, 2], 'holds a list, want a state dict'),
    ({'epoch': 3}, 'holds no tensors'),
    ({'model': {}, 'ema': {}}, "no tensors in its state 'ema'; it has model"),
  ):
    torch_zip.write(path, root, {})
    with pytest.raises(ValueError, match=says):
      _read(path)


@pytest.mark.parametrize(
  'code',
  [
    b'',
    b'\x80\x02',
    b'\x80\x02}',
    b'\x80\x02.',
    b'\x80\x020.',
    b'\x80\x02}R.',
    b'\x80\x02)\x81.',
    b'\x80\x02h\x07.',
    b'\x80\x02X\xff\xff\xff\x7f.',
    b'\x80\x02\x82\x01.',
    b'\x80\xff}.',
    b'\x80\x02Nr\xff\xff\xff\x7f.',
    b'\x80\x02NQ.',
    b'\x80\x02X\x01\x00\x00\x00aQ.',
    b'I' + b'9' * 5000 + b'\n.',
    b'\xff' * 50,
  ],
)
def test_broken_pickles_end_in_one_sentence(tmp_path, code):
  """The memo number 2^31 would make Python ask for 32 GB."""
  path = tmp_path / 'x.pt'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('archive/data.pkl', code)
  with pytest.raises(ValueError, match='index of .*x.pt cannot be read'):
    _read(path)


def test_dicts_within_dicts_do_not_blow_up(tmp_path):
  """40 levels that each hold the next twice spell 2 ** 40 names."""
  code = b'}q\x00'
  for level in range(1, 40):
    inner = b'h' + bytes([level - 1])
    code += b'}q' + bytes([level]) + b'(' + opcodes('a') + inner
    code += opcodes('b') + inner + b'u'
  torch_zip.write(tmp_path / 'x.pt', Raw(code), {})
  with pytest.raises(ValueError, match='no tensors'):
    _read(tmp_path / 'x.pt')
  itself = Raw(b'}q\x00' + opcodes('a') + b'h\x00s')
  torch_zip.write(tmp_path / 'x.pt', itself, {})
  with pytest.raises(ValueError, match='no tensors'):
    _read(tmp_path / 'x.pt')


def test_torchscript_is_read_as_the_state_dict_of_its_module():
  """Modules in lists, norms with counters, settings that are no tensors."""
  arrays = _read(GOLDEN / 'torchscript_tiny.pth')
  rng = np.random.default_rng(803)
  want = {}
  for name, (i, o) in {
    'first': (3, 4),
    'branches.0': (4, 2),
    'branches.1': (4, 3),
  }.items():
    want[f'{name}.conv.weight'] = rng.normal(size=(o, i, 1, 1, 1))
    for kind in ('weight', 'bias', 'running_mean', 'running_var'):
      want[f'{name}.bn.{kind}'] = rng.normal(size=o)
  counters = [x for x in arrays if x.endswith('num_batches_tracked')]
  assert list(arrays) == [
    name
    for layer in ('first', 'branches.0', 'branches.1')
    for name in [*(x for x in want if x.startswith(f'{layer}.'))]
    + [x for x in counters if x.startswith(f'{layer}.')]
  ]
  for name, x in want.items():
    np.testing.assert_array_equal(arrays[name], x.astype(np.float32))
