"""Pickles of NumPy arrays: read as pickle reads them, and nothing run."""

import pickle

import numpy as np
import pytest

from framebridge_jax.porting import numpy_pickle, pickles, readers

RNG = np.random.default_rng(0)
TREE = {
  'params': {
    'a/b': {'kernel': RNG.normal(size=(2, 3, 4)).astype(np.float32)},
    'turned': np.asfortranarray(RNG.normal(size=(5, 6))),
    'scalar': np.full((), 3.5, np.float32),
    'empty': np.zeros((0, 3), np.float16),
  },
  'counts': np.arange(7),
  'big_endian': np.arange(3, dtype='>i4'),
}
FLAT = {
  'params/a/b/kernel': TREE['params']['a/b']['kernel'],
  'params/turned': TREE['params']['turned'],
  'params/scalar': TREE['params']['scalar'],
  'params/empty': TREE['params']['empty'],
  'counts': TREE['counts'],
  'big_endian': TREE['big_endian'],
}


def _write(tmp_path, tree, protocol=4):
  path = tmp_path / 'weights.ckpt'
  path.write_bytes(pickle.dumps(tree, protocol=protocol))
  return path


@pytest.mark.parametrize('protocol', [3, 4, 5])
def test_arrays_come_back_by_their_names(tmp_path, protocol):
  found = numpy_pickle.load(_write(tmp_path, TREE, protocol))
  assert found.keys() == FLAT.keys()
  for name, x in FLAT.items():
    assert found[name].shape == x.shape, name
    assert found[name].dtype == x.dtype, name
    np.testing.assert_array_equal(found[name], x)


def test_checkpoints_may_be_such_pickles(tmp_path):
  with readers.open_weights(_write(tmp_path, TREE)) as reader:
    assert reader.specs['params/turned'] == ((5, 6), np.dtype(np.float64))
    np.testing.assert_array_equal(reader.read('counts'), np.arange(7))


class Harm:
  """Leaves a file behind when it is unpickled."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return (open, (str(self.path), 'w'))


def test_nothing_but_arrays_is_looked_up(tmp_path):
  trace = tmp_path / 'trace'
  path = _write(tmp_path, {'a': np.ones(2), 'b': Harm(trace)})
  with pytest.raises(pickles.UnsafeFileError, match='asks for .*open'):
    numpy_pickle.load(path)
  assert not trace.exists()


@pytest.mark.parametrize(
  'name',
  ['numpy.core.multiarray.scalar', 'numpy.load', 'builtins.dict', 'os.system'],
)
def test_other_names_are_refused(tmp_path, name):
  module, _, attribute = name.rpartition('.')
  raw = f'\x80\x02c{module}\n{attribute}\n.'.encode('latin1')
  path = tmp_path / 'weights.ckpt'
  path.write_bytes(raw)
  with pytest.raises(pickles.UnsafeFileError, match=name):
    numpy_pickle.load(path)


def test_stand_ins_cannot_be_changed(tmp_path):
  """BUILD on a name sets attributes of whatever the name stands for."""
  for name in (
    'numpy ndarray',
    'numpy dtype',
    'numpy.core.multiarray _reconstruct',
  ):
    module, attribute = name.split()
    raw = f'\x80\x02c{module}\n{attribute}\n}}(U\x04evilK\x01ub.'
    path = tmp_path / 'weights.ckpt'
    path.write_bytes(raw.encode('latin1'))
    with pytest.raises(ValueError, match='cannot be read|asks for'):
      numpy_pickle.load(path)
  for stand_in in numpy_pickle._STAND_INS.values():
    assert not hasattr(stand_in, 'evil')


@pytest.mark.parametrize(
  ('tree', 'words'),
  [
    ([1, 2], 'it is a list'),
    ({'a': {'b': 3}}, 'a/b/ is a int'),
    ({'a': np.array(['x', 'y'])}, 'cannot be read'),
    ({'a': np.array([object()])}, 'cannot be read|asks for'),
    ({'a': {'b': np.ones(1)}, 'a/b': np.ones(1)}, 'holds a/b twice'),
  ],
)
def test_what_is_no_tree_of_arrays_is_refused(tmp_path, tree, words):
  with pytest.raises(ValueError, match=words):
    numpy_pickle.load(_write(tmp_path, tree))


def test_a_tree_that_holds_itself_ends(tmp_path):
  tree = {'a': np.ones(1)}
  tree['again'] = tree
  with pytest.raises(ValueError, match='no nested dict of arrays'):
    numpy_pickle.load(_write(tmp_path, tree))


def test_a_pickle_that_is_cut_off_is_refused(tmp_path):
  path = _write(tmp_path, TREE)
  path.write_bytes(path.read_bytes()[:-40])
  with pytest.raises(ValueError, match='cannot be read'):
    numpy_pickle.load(path)


def test_a_pickle_that_asks_for_much_memory_is_refused(tmp_path):
  path = tmp_path / 'weights.ckpt'
  path.write_bytes(b'\x80\x02}r\xff\xff\xff\x7f.')
  with pytest.raises(ValueError, match='memo 2147483647'):
    numpy_pickle.load(path)
