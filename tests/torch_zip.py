"""PyTorch zip checkpoints written by hand, opcode by opcode, without PyTorch.

The layout is that of `torch.save` since PyTorch 1.6: a stored zip of
`<folder>/data.pkl`, a pickle of protocol 2, and `<folder>/data/<key>`, the raw
numbers of a storage.
"""

import pathlib
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

STORAGES = {
  'float64': 'DoubleStorage',
  'float32': 'FloatStorage',
  'float16': 'HalfStorage',
  'bfloat16': 'BFloat16Storage',
  'int64': 'LongStorage',
  'int32': 'IntStorage',
  'int16': 'ShortStorage',
  'int8': 'CharStorage',
  'uint8': 'ByteStorage',
  'bool': 'BoolStorage',
}


class Stored(NamedTuple):
  """A tensor, as a pickle describes it."""

  key: str
  dtype: str
  shape: tuple[int, ...]
  strides: tuple[int, ...]
  offset: int = 0


class Raw(NamedTuple):
  """Opcodes that leave one object on the stack."""

  code: bytes


def dense(key: str, dtype: str, shape: tuple[int, ...]) -> Stored:
  """A tensor that has a storage to itself, rows first."""
  strides = np.cumprod((1, *shape[:0:-1]))[::-1] if shape else ()
  return Stored(key, dtype, shape, tuple(int(n) for n in strides))


def named(name: str) -> bytes:
  """GLOBAL: asks for `module.name`, as protocol 2 writes it."""
  module, _, attribute = name.rpartition('.')
  return f'c{module}\n{attribute}\n'.encode()


def called(name: str, *args: Any) -> Raw:
  """REDUCE: the named thing, called."""
  return Raw(named(name) + opcodes(args) + b'R')


def built(name: str, state: Any) -> Raw:
  """NEWOBJ and BUILD: an object of the named class with a state."""
  return Raw(named(name) + b')\x81' + opcodes(state) + b'b')


def opcodes(value: Any) -> bytes:
  """A value as the opcodes that push it."""
  return _WRITERS[type(value)](value)


def pickled(root: Any) -> bytes:
  """A whole pickle of protocol 2."""
  return b'\x80\x02' + opcodes(root) + b'.'


def write(
  path: pathlib.Path,
  root: Any,
  storages: Mapping[str, bytes | Callable[[], bytes]],
  *,
  folder: str = 'archive',
  method: int = zipfile.ZIP_STORED,
) -> pathlib.Path:
  """Writes a checkpoint, one storage at a time."""
  with zipfile.ZipFile(path, 'w', method) as archive:
    archive.writestr(f'{folder}/data.pkl', pickled(root))
    archive.writestr(f'{folder}/version', '3\n')
    for key, raw in storages.items():
      data = raw() if callable(raw) else raw
      archive.writestr(f'{folder}/data/{key}', data)
  return path


def save(
  path: pathlib.Path, arrays: Mapping[str, np.ndarray], **options: Any
) -> pathlib.Path:
  """Writes arrays as a bare state dict."""
  root, storages = states({'': arrays})
  return write(path, root[''], storages, **options)


def states(
  dicts: Mapping[str, Mapping[str, np.ndarray]],
) -> tuple[dict[str, dict[str, Stored]], dict[str, bytes]]:
  """Several state dicts as a root and its storages."""
  root, storages = {}, {}
  for state, arrays in dicts.items():
    root[state] = {}
    for name, x in arrays.items():
      key = str(len(storages))
      root[state][name] = dense(key, x.dtype.name, x.shape)
      storages[key] = np.asarray(x, order='C').tobytes()
  return root, storages


def _text(value):
  raw = value.encode()
  return b'X' + struct.pack('<I', len(raw)) + raw


def _number(value):
  if 0 <= value < 1 << 31:
    return b'J' + struct.pack('<i', value)
  raw = value.to_bytes(value.bit_length() // 8 + 1, 'little', signed=True)
  return b'\x8a' + bytes([len(raw)]) + raw


def _tuple(value: Iterable[Any]):
  return b'(' + b''.join(map(opcodes, value)) + b't'


def _list(value):
  return b'](' + b''.join(map(opcodes, value)) + b'e'


def _dict(value):
  pairs = (opcodes(x) for pair in value.items() for x in pair)
  return b'}(' + b''.join(pairs) + b'u'


def _tensor(value):
  kind = Raw(named(f'torch.{STORAGES.get(value.dtype, value.dtype)}'))
  numel = int(np.prod(value.shape, dtype=object))
  storage = _tuple(('storage', kind, value.key, 'cpu', numel)) + b'Q'
  hooks = called('collections.OrderedDict')
  return called(
    'torch._utils._rebuild_tensor_v2',
    Raw(storage),
    value.offset,
    value.shape,
    value.strides,
    False,
    hooks,
  ).code


_WRITERS = {
  str: _text,
  int: _number,
  bool: lambda value: b'\x88' if value else b'\x89',
  float: lambda value: b'G' + struct.pack('>d', value),
  type(None): lambda value: b'N',
  tuple: _tuple,
  list: _list,
  dict: _dict,
  Raw: lambda value: value.code,
  Stored: _tensor,
}
