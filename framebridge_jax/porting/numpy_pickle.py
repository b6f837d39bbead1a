"""Reads pickles of nested dicts of NumPy arrays without running code.

That is how small JAX projects ship their weights.  The few names that such a
pickle needs are answered by stand-ins of ours; any other is refused before it
is looked up.
"""

import collections
import io
import pathlib
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from framebridge_jax.porting import pickles

_MOST_BYTES = 2 << 30
_MOST_DEPTH = 16
_KINDS = 'fiub'


def is_pickle(path: pathlib.Path) -> bool:
  """Whether a file begins as pickles of protocol 2 and later do.

  Arrays in protocol 2, which Python 2 knew, are refused as they are read.
  """
  with path.open('rb') as file:
    return file.read(1) == b'\x80'


def load(path: pathlib.Path) -> dict[str, np.ndarray]:
  """The arrays of a file by their names, joined by `/`.

  Raises:
    pickles.UnsafeFileError: it asks for anything besides arrays.
    ValueError: it is broken, too large, or no nested dict of arrays.
  """
  if path.stat().st_size > _MOST_BYTES:
    raise ValueError(f'{path} is larger than any pickle of weights')
  raw = path.read_bytes()
  try:
    pickles.judge_memo(raw)
    root = _Unpickler(io.BytesIO(raw), path).load()
  except pickles.UnsafeFileError:
    raise
  # A broken pickle raises whatever its instructions raise on what they find.
  except Exception as error:  # noqa: BLE001
    raise ValueError(f'{path} cannot be read: {error}') from None
  found = {}
  for name, array in _walk(root, '', 0, path):
    if name in found:
      raise ValueError(f'{path} holds {name} twice')
    found[name] = array
  return found


class _Unpickler(pickle.Unpickler):
  """Looks names up in a list of ours, never in a module."""

  def __init__(self, file, path):
    super().__init__(file)
    self._path = path

  def find_class(self, module, name):
    stand_in = _STAND_INS.get(f'{module}.{name}')
    if stand_in is None:
      raise pickles.UnsafeFileError(
        f'{self._path} asks for {module}.{name}, which no array needs; nothing '
        f'of it was run'
      )
    return stand_in


class _Dtype:
  """What a dtype is pickled as: its code, then its byte order."""

  def __init__(self, code, *rest):
    del rest
    self.value = np.dtype(str(code))
    if self.value.kind not in _KINDS:
      raise TypeError(f'arrays of {code}')

  def __setstate__(self, state):
    order = state[1]
    if order in ('<', '>'):
      self.value = self.value.newbyteorder(order)


class _Array:
  """What an array is pickled as: an empty one, then its shape and bytes."""

  value: np.ndarray

  def __setstate__(self, state):
    _, shape, dtype, columns_first, raw = state
    order = 'F' if columns_first else 'C'
    flat = np.frombuffer(bytes(raw), dtype.value)
    self.value = flat.reshape(tuple(shape), order=order)


def _reconstruct(*args):
  del args
  return _Array()


def _of_buffer(raw, dtype, shape, order):
  """As protocol 5 writes an array."""
  array = _Array()
  array.__setstate__((1, shape, dtype, order == 'F', raw))
  return array


def _walk(
  tree: Any, prefix: str, depth: int, path: pathlib.Path
) -> Iterator[tuple[str, np.ndarray]]:
  if not isinstance(tree, Mapping) or depth > _MOST_DEPTH:
    raise ValueError(
      f'{path} is no nested dict of arrays: {prefix or "it"} is a '
      f'{type(tree).__name__}'
    )
  for name, value in tree.items():
    if isinstance(value, _Array):
      yield f'{prefix}{name}', value.value
    else:
      yield from _walk(value, f'{prefix}{name}/', depth + 1, path)


_STAND_INS = {
  **{
    f'numpy.{core}.{name}': pickles.Call(function)
    for core in ('core', '_core')
    for name, function in (
      ('multiarray._reconstruct', _reconstruct),
      ('numeric._frombuffer', _of_buffer),
    )
  },
  'collections.OrderedDict': collections.OrderedDict,
  'numpy.ndarray': pickles.Inert,
  'numpy.dtype': _Dtype,
}
