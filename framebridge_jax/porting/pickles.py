"""Runs the pickle of a PyTorch checkpoint without running code.

A pickle is a program; this one is run with a list of the few names that a
state dict needs, each replaced by an inert stand-in of ours.  Any other name is
refused before it is looked up.
"""

import collections
import io
import pathlib
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np


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


class Scripted(dict):
  """Stands for a module of TorchScript: its attributes by name."""

  def __setstate__(self, state):
    dict.update(self, dict(state))


def load(raw: bytes, path: pathlib.Path) -> Any:
  """The object of a pickle, with a TorchTensor for each tensor.

  Args:
    raw: the pickle.
    path: the file that it comes from, for messages.

  Raises:
    UnsafeFileError: it asks for names besides those of a state dict.
    ValueError: it is broken.
  """
  try:
    judge_memo(raw)
    return _Unpickler(io.BytesIO(raw), path).load()
  except UnsafeFileError:
    raise
  # A broken pickle raises whatever its instructions raise on what they find.
  except Exception as error:  # noqa: BLE001
    raise ValueError(f'the index of {path} cannot be read: {error}') from None


def judge_memo(raw: bytes) -> None:
  """Refuses a pickle that asks for much memory by a few bytes.

  Python makes room for all memo numbers up to the largest that is named.

  Raises:
    ValueError: it names a number that it cannot need.
  """
  for code, number, _ in pickletools.genops(raw):
    if 'PUT' in code.name and (number or 0) > len(raw):
      raise ValueError(f'memo {number} in {len(raw)} bytes')


class _Unpickler(pickle.Unpickler):
  """Looks names up in a list of ours, never in a module."""

  def __init__(self, file, path):
    super().__init__(file)
    self._path = path

  def find_class(self, module, name):
    stand_in = _STAND_INS.get(f'{module}.{name}')
    if stand_in is None and module.partition('.')[0] == 'omegaconf':
      stand_in = Inert
    if stand_in is None and module.partition('.')[0] == '__torch__':
      stand_in = Scripted
    if stand_in is None:
      raise UnsafeFileError(
        f'{self._path} asks for {module}.{name}, which no weight file needs; '
        f'nothing of it was run.  Save the bare state dict with '
        f'torch.save(model.state_dict(), ...) where you trust the file'
      )
    return stand_in

  def persistent_load(self, pid):
    kind, numbers, key, *_ = pid
    if kind != 'storage' or not isinstance(numbers, _Numbers):
      raise UnsafeFileError(f'{self._path} holds an unknown object {kind!r}')
    return _Storage(str(key), np.dtype(_STORAGES[numbers.name]))


# A pickle may set attributes of what it is given, and the state of a dtype is
# that of the whole process: tuples have neither.
class _Numbers(NamedTuple):
  name: str


class Call(NamedTuple):
  """A function that a pickle may call and cannot change."""

  function: Callable[..., Any]

  def __call__(self, *args: Any) -> Any:
    """Calls it."""
    return self.function(*args)


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


def _first(data, *rest):
  del rest
  return data


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
  'torch._utils._rebuild_tensor_v2': Call(_rebuild),
  'torch._utils._rebuild_parameter': Call(_first),
  'torch.Size': tuple,
}
_STAND_INS |= {f'torch.{name}': _Numbers(name) for name in _STORAGES}
# Lists of numbers, and what is said to be of a type, in TorchScript.
_STAND_INS |= {
  f'torch.jit._pickle.{name}': Call(_first)
  for name in (
    'build_boollist',
    'build_doublelist',
    'build_intlist',
    'build_tensorlist',
    'restore_type_tag',
  )
}
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
