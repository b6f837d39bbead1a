"""Files from strangers: programs are named and not run, bombs not unpacked.

Each payload is a live one: a test beside these runs it and sees its mark.
"""

import ast
import pathlib
import pickle
import tarfile
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch_zip
from torch_zip import Raw, called, named, opcodes

from framebridge_jax.cli import port as mode
from framebridge_jax.porting import pickles, readers, torch_file, weights
from framebridge_jax.recipes import port as recipe

ROOT = pathlib.Path(__file__).parents[2]


def _read(path):
  with readers.open_weights(path) as reader:
    return {name: reader.read(name) for name in reader.specs}


def _touch(canary):
  return f'touch {canary}'


def _python(canary):
  return f'__import__("pathlib").Path({str(canary)!r}).touch()'


def _line(text):
  return b'V' + text.encode() + b'\n'


# What each asks for first, and the program; all leave a file behind.
PAYLOADS = {
  'system': ('os.system', lambda c: called('os.system', _touch(c))),
  'posix': ('posix.system', lambda c: called('posix.system', _touch(c))),
  'subprocess': (
    'subprocess.check_call',
    lambda c: called('subprocess.check_call', ['touch', str(c)]),
  ),
  'eval': ('builtins.eval', lambda c: called('builtins.eval', _python(c))),
  'exec': ('builtins.exec', lambda c: called('builtins.exec', _python(c))),
  'python2': (
    '__builtin__.eval',
    lambda c: called('__builtin__.eval', _python(c)),
  ),
  'import': (
    'builtins.getattr',
    lambda c: Raw(
      called(
        'builtins.getattr', called('builtins.__import__', 'os'), 'system'
      ).code
      + opcodes((_touch(c),))
      + b'R'
    ),
  ),
  'nested': (
    'builtins.eval',
    lambda c: called(
      'collections.OrderedDict',
      [('a', called('builtins.eval', _python(c)))],
    ),
  ),
  'stack global': (
    'os.system',
    lambda c: Raw(
      opcodes('os') + opcodes('system') + b'\x93' + opcodes((_touch(c),)) + b'R'
    ),
  ),
  'memo': (
    'os.system',
    lambda c: Raw(
      named('os.system') + b'q\x070h\x07' + opcodes((_touch(c),)) + b'R'
    ),
  ),
  'inst': (
    'os.system',
    lambda c: Raw(b'(' + _line(_touch(c)) + b'ios\nsystem\n'),
  ),
  'obj': (
    'subprocess.Popen',
    lambda c: Raw(
      b'(' + named('subprocess.Popen') + opcodes(['touch', str(c)]) + b'o'
    ),
  ),
  'partial': (
    'functools.partial',
    lambda c: Raw(
      called('functools.partial', Raw(named('os.system')), _touch(c)).code
      + b')R'
    ),
  ),
  'pickle': (
    '_pickle.loads',
    lambda c: called(
      '_pickle.loads',
      Raw(_bytes(torch_zip.pickled(called('os.system', _touch(c))))),
    ),
  ),
  'operator': (
    'operator.methodcaller',
    lambda c: Raw(
      called('operator.methodcaller', 'touch').code
      + opcodes((called('pathlib.PosixPath', str(c)),))
      + b'R'
    ),
  ),
}
# Near to names that are allowed; they need modules that are not there.
LOOKALIKES = (
  'torch.load',
  'torch.FloatStorage.__init__',
  'torch._utils._rebuild_tensor_v2.__globals__',
  'torch._utils._rebuild_tensor',
  'torch.storage._load_from_bytes',
  'torch.utils.cpp_extension.load',
  'torch.hub.load',
  'omegaconf_evil.run',
  'collections.OrderedDict.fromkeys',
  'collections.abc.os.system',
  'argparse.Namespace.__init_subclass__',
  'argparse._sys.modules',
  'builtins.int.from_bytes',
  'numpy.core.multiarray._reconstruct',
)


def _bytes(raw):
  return b'\x8e' + len(raw).to_bytes(8, 'little') + raw


@pytest.fixture
def canary(tmp_path):
  return tmp_path / 'canary'


@pytest.mark.parametrize('name', PAYLOADS)
def test_the_payloads_are_live(canary, name):
  """Without this the tests below could pass on broken pickles."""
  _, make = PAYLOADS[name]
  process = pickle.loads(torch_zip.pickled(make(canary)))
  if hasattr(process, 'wait'):
    process.wait()
  assert canary.exists()


def _in_zip(path, payload):
  torch_zip.write(path, payload, {})


def _beside_tensors(path, payload):
  tensor = torch_zip.dense('0', 'float32', (2,))
  torch_zip.write(path, {'x': tensor, 'args': payload}, {'0': bytes(8)})


def _deflated(path, payload):
  torch_zip.write(path, payload, {}, method=zipfile.ZIP_DEFLATED)


def _bare(path, payload):
  path.write_bytes(torch_zip.pickled(payload))


def _old(path, payload):
  """PyTorch before 1.6: a magic number and a version come first."""
  magic = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'
  path.write_bytes(magic + torch_zip.pickled(payload))


@pytest.mark.parametrize('wrap', [_in_zip, _beside_tensors, _deflated, _bare])
@pytest.mark.parametrize('name', PAYLOADS)
def test_programs_are_refused_by_name_and_not_run(tmp_path, canary, name, wrap):
  asks, make = PAYLOADS[name]
  for suffix in ('.pt', '.pth', '.ckpt', '.bin'):
    path = tmp_path / f'x{suffix}'
    wrap(path, make(canary))
    with pytest.raises(pickles.UnsafeFileError) as error:
      _read(path)
    assert f'asks for {asks},' in str(error.value)
    assert str(path) in str(error.value)
    assert '\n' not in str(error.value)
  assert not canary.exists()


@pytest.mark.parametrize('name', LOOKALIKES)
def test_names_near_to_those_allowed_are_refused(tmp_path, name):
  module, _, attribute = name.partition('.')
  for split in (
    called(name, 1),
    Raw(opcodes(module) + opcodes(attribute) + b'\x93)R'),
  ):
    path = torch_zip.write(tmp_path / 'x.pt', split, {})
    with pytest.raises(pickles.UnsafeFileError, match=f'asks for {name},'):
      _read(path)


@pytest.mark.parametrize('name', PAYLOADS)
def test_programs_under_other_names_are_not_run(tmp_path, canary, name):
  """As a weight file, an index, an old checkpoint, an array, in a tar."""
  _, make = PAYLOADS[name]
  for file in ('x.safetensors', 'x.safetensors.index.json', 'x.npy', 'x.pkl'):
    path = tmp_path / file
    _bare(path, make(canary))
    with pytest.raises(ValueError, match='x'):
      _read(path)
    with pytest.raises(weights.WeightsError):
      weights.load(path)
  _old(tmp_path / 'old.pt', make(canary))
  _bare(tmp_path / 'data.pkl', make(canary))
  with tarfile.open(tmp_path / 'tar.pt', 'w') as archive:
    archive.add(tmp_path / 'data.pkl', 'archive/data.pkl')
  for file in ('old.pt', 'tar.pt'):
    with pytest.raises(ValueError, match='no PyTorch checkpoint in zip form'):
      _read(tmp_path / file)
  assert not canary.exists()


def test_the_command_refuses_a_program_and_writes_nothing(tmp_path, canary):
  config = recipe.get_config()
  config.checkpoint, config.model = str(tmp_path / 'x.pt'), 'latte_s2'
  _beside_tensors(tmp_path / 'x.pt', PAYLOADS['system'][1](canary))
  with pytest.raises(pickles.UnsafeFileError, match='os.system'):
    mode.run(config, tmp_path / 'out')
  assert not canary.exists()
  assert not (tmp_path / 'out').exists()


def test_stand_ins_cannot_be_changed_from_a_file(tmp_path):
  """BUILD on a class, a function or a dtype of ours; numpy's dtypes obey it.

  Each state is one that changed something when stand-ins were the things
  themselves; the 1000 bytes of a bfloat16 stayed until the process ended.
  """
  path = tmp_path / 'x.pt'
  states = {
    'argparse.Namespace': [{'__init__': 1}, (None, {'__init__': 1})],
    'collections.OrderedDict': [{'__init__': 1}, (None, {'__init__': 1})],
    'torch.Size': [{'__len__': 1}, (None, {'__len__': 1})],
  }
  for name in ('_rebuild_tensor_v2', '_rebuild_parameter'):
    defaults = (None, {'__defaults__': (1, 2, 3, 4)})
    states[f'torch._utils.{name}'] = [{'a': 1}, defaults]
  for name in torch_zip.STORAGES.values():
    states[f'torch.{name}'] = [(3, '<', None, None, None, 1000, 1, 0)]
  for name, several in states.items():
    for state in several:
      code = Raw(named(name) + opcodes(state) + b'b')
      tensor = torch_zip.dense('0', 'float32', (2,))
      torch_zip.write(path, {'a': code, 'x': tensor}, {'0': bytes(8)})
      with pytest.raises(ValueError, match='index of .* cannot be read'):
        _read(path)
  for name in torch_zip.STORAGES:
    x = np.arange(3).astype(getattr(ml_dtypes, name, name))
    got = _read(torch_zip.save(path, {'x': x}))
    np.testing.assert_array_equal(got['x'], x)


# Archives.


def test_archives_are_refused_from_their_directory(tmp_path, monkeypatch):
  def never(*args, **kwargs):
    raise AssertionError('a member was read')

  monkeypatch.setattr(torch_file, '_MOST_MEMBERS', 500)
  bomb, many = tmp_path / 'bomb.pt', tmp_path / 'many.pt'
  storages = {'0': bytes(50_000_000)}
  torch_zip.write(bomb, {}, storages, method=zipfile.ZIP_DEFLATED)
  assert bomb.stat().st_size < 100_000
  with zipfile.ZipFile(many, 'w') as archive:
    archive.writestr('archive/data.pkl', torch_zip.pickled({}))
    for i in range(500):
      archive.writestr(f'archive/data/{i}', b'')
  names = ('../evil', '/etc/evil', 'archive/../../evil', 'archive\\..\\evil')
  for i, name in enumerate(names):
    with zipfile.ZipFile(tmp_path / f'up{i}.pt', 'w') as archive:
      archive.writestr('archive/data.pkl', torch_zip.pickled({}))
      archive.writestr(zipfile.ZipInfo(name), b'evil')
  twice = torch_zip.write(tmp_path / 'twice.pt', {}, {'0': b'a'})
  with (
    zipfile.ZipFile(twice, 'a') as archive,
    pytest.warns(UserWarning, match='Duplicate'),
  ):
    archive.writestr('archive/data/0', b'b')
  monkeypatch.setattr(zipfile.ZipFile, 'open', never)
  monkeypatch.setattr(zipfile.ZipFile, 'read', never)
  for file, says in (
    (bomb, 'would unpack to 50'),
    (many, '501 members'),
    (twice, 'two members of one name'),
    *((tmp_path / f'up{i}.pt', 'a member named') for i in range(len(names))),
  ):
    with pytest.raises(pickles.UnsafeFileError, match=says):
      _read(file)


def test_an_index_too_large_is_refused_unread(tmp_path, monkeypatch):
  monkeypatch.setattr(torch_file, '_MOST_PICKLE', 10)
  path = torch_zip.save(tmp_path / 'x.pt', {'x': np.zeros(2, np.float32)})
  with pytest.raises(pickles.UnsafeFileError, match='larger than any'):
    _read(path)


# The whole tree.


def _unsafe_calls(source):
  """Calls that may run code out of a file, as (line, what)."""
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import | ast.ImportFrom):
      names = [getattr(node, 'module', None) or '']
      names += [alias.name for alias in node.names]
      for name in names:
        if name.partition('.')[0] in _LOADERS:
          yield node.lineno, name
    if isinstance(node, ast.ImportFrom) and node.module == 'pickle':
      yield node.lineno, 'from pickle'
    if not isinstance(node, ast.Call) or not isinstance(
      node.func, ast.Attribute
    ):
      continue
    name = ast.unparse(node.func)
    options = {k.arg: ast.unparse(k.value) for k in node.keywords}
    if name in ('pickle.load', 'pickle.loads', 'pickle.Unpickler'):
      yield node.lineno, name
    if name == 'torch.load' and options.get('weights_only') != 'True':
      yield node.lineno, name
    if options.get('allow_pickle', 'False') != 'False':
      yield node.lineno, f'{name} with pickle'


_LOADERS = {'dill', 'cloudpickle', 'joblib', 'shelve', 'marshal'}


def test_nothing_in_the_tree_loads_pickles():
  """Tests may unpickle what they pickled; nobody may allow it elsewhere."""
  for folder in ('framebridge_jax', 'benchmarks', 'configs', 'launch', 'docs'):
    for path in (ROOT / folder).rglob('*.py'):
      assert not list(_unsafe_calls(path.read_text())), path
  for path in (ROOT / 'tests').rglob('*.py'):
    found = {what for _, what in _unsafe_calls(path.read_text())}
    assert found <= {'pickle.loads'}, path


@pytest.mark.parametrize(
  'source',
  [
    'pickle.load(f)',
    'pickle.loads(f)',
    'pickle.Unpickler(f).load()',
    'from pickle import loads',
    'import dill',
    'torch.load(f)',
    'torch.load(f, weights_only=False)',
    'np.load(f, allow_pickle=True)',
    'np.load(f, allow_pickle=flag)',
  ],
)
def test_the_search_would_find_one(source):
  assert list(_unsafe_calls(source))
  assert not list(_unsafe_calls('torch.load(f, weights_only=True)'))
  assert not list(_unsafe_calls('np.load(f, allow_pickle=False)'))
