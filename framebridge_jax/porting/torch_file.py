"""Reads PyTorch's zip checkpoints without PyTorch, and without running code.

A `.pt` file is a zip of one pickle and raw storages.  A pickle is a program;
this reader runs it with a list of the few names that a state dict needs, each
replaced by an inert stand-in of ours.  Any other name is refused before it is
looked up.  Tensors are read when they are asked for, one at a time.
"""

import collections
import io
import math
import pathlib
import pickle
import pickletools
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

_MOST_MEMBERS = 100_000
_MOST_DEPTH = 8  # of dicts within dicts
_MOST_PICKLE = 64 << 20  # bytes of the index alone
_MOST_RATIO = 20  # bytes unpacked for each byte packed
# What a damaged zip raises; RuntimeError where it asks for a password.
_DAMAGE = (
  zipfile.BadZipFile,
  zlib.error,
  EOFError,
  NotImplementedError,
  OSError,
  RuntimeError,
)


class UnsafeFileError(ValueError):
  """A file asks for something that no weight file needs."""


class TorchTensor(NamedTuple):
  """Where a tensor's numbers stand in the file."""

  storage: str
  dtype: np.dtype
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


class Inert:
  """Stands for settings that a checkpoint carries; holds no behaviour."""

  def __init__(self, *args, **kwargs):
    del args, kwargs

  def __setstate__(self, state):
    del state

  def __setitem__(self, key, value):
    del key, value

  def append(self, item: Any) -> None:
    """Forgets an item of a list."""
    del item


class TorchFile:
  """An open checkpoint: its structure, and its tensors on demand.

  Attributes:
    root: the pickled object, with a TorchTensor for each tensor.

  Raises:
    UnsafeFileError: the file asks for names besides those of a state dict, or
      unpacks to far more than it holds.
    ValueError: it is no zip checkpoint, or is cut off.
  """

  def __init__(self, path: pathlib.Path):
    self._path = path
    try:
      self._zip = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
      _refuse_bare_pickle(path)
      raise ValueError(
        f'{path} is no PyTorch checkpoint in zip form, or is cut off; save it '
        f'again with PyTorch 1.6 or newer, or copy it whole'
      ) from None
    try:
      self._open()
    except BaseException:
      self._zip.close()
      raise

  def _open(self):
    path = self._path
    self._members = _checked_members(path, self._zip)
    index = [name for name in self._members if name.endswith('/data.pkl')]
    if len(index) != 1:
      raise ValueError(f'{path} holds {len(index)} data.pkl files, want one')
    self._folder = index[0].removesuffix('data.pkl')
    if self._members[index[0]].file_size > _MOST_PICKLE:
      raise UnsafeFileError(f'the index of {path} is larger than any model has')
    try:
      raw = self._zip.read(index[0])
    except _DAMAGE as error:
      raise ValueError(f'{path} is damaged at its index: {error}') from None
    self.root = _unpickle(raw, path)

  def read(self, tensor: TorchTensor) -> np.ndarray:
    """The numbers of one tensor, in a fresh array.

    Raises:
      ValueError: the storage is missing, short or damaged.
    """
    name = f'{self._folder}data/{tensor.storage}'
    if name not in self._members:
      raise ValueError(f'{self._path} lacks the storage {name}')
    last = tensor.offset + 1 + _reach(tensor)
    try:
      raw = self._zip.read(name)
    except _DAMAGE as error:
      raise ValueError(f'{self._path} is damaged at {name}: {error}') from None
    count = len(raw) // tensor.dtype.itemsize
    empty = 0 in tensor.shape
    # Strides of 0 could ask for any number of copies of one number.
    if not empty and max(last, math.prod(tensor.shape)) > count:
      raise ValueError(
        f'{self._path} has {count} numbers in {name}, where a tensor of shape '
        f'{tensor.shape} and strides {tensor.strides} wants more'
      )
    flat = np.frombuffer(raw, tensor.dtype)[0 if empty else tensor.offset :]
    strides = [step * tensor.dtype.itemsize for step in tensor.strides]
    view = np.lib.stride_tricks.as_strided(flat, tensor.shape, strides)
    return np.asarray(view, order='C')

  def close(self) -> None:
    """Closes the file."""
    self._zip.close()


def tensors(root: Mapping[str, Any]) -> Iterator[tuple[str, TorchTensor]]:
  """Names and tensors of a nested dict, names joined by dots.

  A dict that stands in several places counts once: a few of them inside each
  other could spell more names than there are atoms.
  """
  seen = set()

  def walk(inner, prefix, depth):
    if id(inner) in seen or depth > _MOST_DEPTH:
      return
    seen.add(id(inner))
    for name, value in inner.items():
      if isinstance(value, TorchTensor):
        yield f'{prefix}{name}', value
      elif isinstance(value, Mapping):
        yield from walk(value, f'{prefix}{name}.', depth + 1)

  return walk(root, '', 0)


def _unpickle(raw, path):
  try:
    _judge_memo(raw)
    return _Unpickler(io.BytesIO(raw), path).load()
  except UnsafeFileError:
    raise
  # A broken pickle raises whatever its instructions raise on what they find.
  except Exception as error:  # noqa: BLE001
    raise ValueError(f'the index of {path} cannot be read: {error}') from None


def _judge_memo(raw):
  """Python makes room for all memo numbers up to the largest that is named."""
  for code, number, _ in pickletools.genops(raw):
    if 'PUT' in code.name and (number or 0) > len(raw):
      raise ValueError(f'memo {number} in {len(raw)} bytes')


def _refuse_bare_pickle(path):
  """Says what a pickle asks for that is no zip; it is not used in any case."""
  with path.open('rb') as file:
    raw = file.read(_MOST_PICKLE)
  try:
    _unpickle(raw, path)
  except UnsafeFileError:
    raise
  except ValueError:
    return


class _Unpickler(pickle.Unpickler):
  """Looks names up in a list of ours, never in a module."""

  def __init__(self, file, path):
    super().__init__(file)
    self._path = path

  def find_class(self, module, name):
    stand_in = _STAND_INS.get(f'{module}.{name}')
    if stand_in is None and module.partition('.')[0] == 'omegaconf':
      stand_in = Inert
    if stand_in is None:
      raise UnsafeFileError(
        f'{self._path} asks for {module}.{name}, which no weight file needs; '
        f'nothing of it was run.  Save the bare state dict with '
        f'torch.save(model.state_dict(), ...) where you trust the file'
      )
    return stand_in

  def persistent_load(self, pid):
    kind, dtype, key, *_ = pid
    if kind != 'storage' or not isinstance(dtype, np.dtype):
      raise UnsafeFileError(f'{self._path} holds an unknown object {kind!r}')
    return _Storage(str(key), dtype)


class _Storage(NamedTuple):
  key: str
  dtype: np.dtype


def _rebuild(storage, offset, shape, strides, *rest):
  del rest
  if not isinstance(storage, _Storage) or len(shape) != len(strides):
    raise TypeError('a tensor without a storage, or with too few strides')
  numbers = (offset, *shape, *strides)
  if not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers):
    raise TypeError(f'a tensor of shape {shape} and strides {strides}')
  return TorchTensor(*storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data, *rest):
  del rest
  return data


def _reach(tensor):
  """Distance from a tensor's first number to its last, in numbers."""
  return sum(
    (n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True)
  )


def _checked_members(path, archive):
  """Members by name, judged by the directory alone, before any is read."""
  infos = archive.infolist()
  if len(infos) > _MOST_MEMBERS:
    raise UnsafeFileError(f'{path} has {len(infos)} members; no model has')
  packed = path.stat().st_size
  unpacked = sum(info.file_size for info in infos)
  if unpacked > _MOST_RATIO * packed:
    raise UnsafeFileError(
      f'{path} of {packed} bytes would unpack to {unpacked}; refused'
    )
  for info in infos:
    parts = info.filename.replace('\\', '/').split('/')
    if not parts[0] or '..' in parts:
      raise UnsafeFileError(f'{path} has a member named {info.filename!r}')
  return {info.filename: info for info in infos}


_STORAGES = {
  'DoubleStorage': np.float64,
  'FloatStorage': np.float32,
  'HalfStorage': np.float16,
  'BFloat16Storage': ml_dtypes.bfloat16,
  'LongStorage': np.int64,
  'IntStorage': np.int32,
  'ShortStorage': np.int16,
  'CharStorage': np.int8,
  'ByteStorage': np.uint8,
  'BoolStorage': np.bool_,
}
_STAND_INS = {
  'collections.OrderedDict': collections.OrderedDict,
  'torch._utils._rebuild_tensor_v2': _rebuild,
  'torch._utils._rebuild_parameter': _rebuild_parameter,
  'torch.Size': tuple,
}
_STAND_INS |= {f'torch.{n}': np.dtype(dtype) for n, dtype in _STORAGES.items()}
# What settings are made of that training checkpoints carry (argparse and
# omegaconf); Python 2 names, which torch.save still writes, among them.
_STAND_INS |= dict.fromkeys(
  (
    'argparse.Namespace',
    'collections.defaultdict',
    'pathlib.PosixPath',
    'typing.Any',
    *(
      f'{module}.{name}'
      for module in ('builtins', '__builtin__')
      for name in ('bool', 'dict', 'float', 'int', 'list', 'str', 'tuple')
    ),
  ),
  Inert,
)
