"""Reads PyTorch's zip checkpoints without PyTorch, and without running code.

A `.pt` file is a zip of one pickle, which `pickles` runs, and raw storages.
Tensors are read when they are asked for, one at a time.
"""

import math
import pathlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from framebridge_jax.porting import pickles

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


class TorchFile:
  """An open checkpoint: its structure, and its tensors on demand.

  Attributes:
    root: the pickled object, with a `pickles.TorchTensor` for each tensor.

  Raises:
    pickles.UnsafeFileError: the file asks for names besides those of a state
      dict, or unpacks to far more than it holds.
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
      raise pickles.UnsafeFileError(
        f'the index of {path} is larger than any model has'
      )
    try:
      raw = self._zip.read(index[0])
    except _DAMAGE as error:
      raise ValueError(f'{path} is damaged at its index: {error}') from None
    self.root = pickles.load(raw, path)

  def read(self, tensor: pickles.TorchTensor) -> np.ndarray:
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


def tensors(
  root: Mapping[Any, Any],
) -> Iterator[tuple[str, pickles.TorchTensor]]:
  """Names and tensors of a nested dict, names joined by dots.

  A dict that stands in several places counts once: a few of them inside each
  other could spell more names than there are atoms.
  """
  seen = set()

  def walk(inner, prefix, depth):
    if id(inner) in seen or depth > _MOST_DEPTH:
      return
    seen.add(id(inner))
    # An ordered dict of a pickle may have an `items` of its own.
    for name, value in dict.items(inner):
      if isinstance(value, pickles.TorchTensor):
        yield f'{prefix}{name}', value
      elif isinstance(value, Mapping):
        yield from walk(value, f'{prefix}{name}.', depth + 1)

  return walk(root, '', 0)


def _refuse_bare_pickle(path):
  """Says what a pickle asks for that is no zip; it is not used in any case."""
  with path.open('rb') as file:
    raw = file.read(_MOST_PICKLE)
  try:
    pickles.load(raw, path)
  except pickles.UnsafeFileError:
    raise
  except ValueError:
    return


def _reach(tensor):
  """Distance from a tensor's first number to its last, in numbers."""
  return sum(
    (n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True)
  )


def _checked_members(path, archive):
  """Members by name, judged by the directory alone, before any is read."""
  infos = archive.infolist()
  if len(infos) > _MOST_MEMBERS:
    raise pickles.UnsafeFileError(
      f'{path} has {len(infos)} members; no model has'
    )
  packed = path.stat().st_size
  unpacked = sum(info.file_size for info in infos)
  if unpacked > _MOST_RATIO * packed:
    raise pickles.UnsafeFileError(
      f'{path} of {packed} bytes would unpack to {unpacked}; refused'
    )
  for info in infos:
    parts = info.filename.replace('\\', '/').split('/')
    if not parts[0] or '..' in parts:
      raise pickles.UnsafeFileError(
        f'{path} has a member named {info.filename!r}'
      )
  members = {info.filename: info for info in infos}
  if len(members) < len(infos):
    raise pickles.UnsafeFileError(f'{path} has two members of one name')
  return members
