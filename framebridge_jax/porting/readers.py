"""Weight files of other projects, tensor by tensor.

A reader knows the names and shapes of all tensors before it reads any, and
holds one tensor at a time.  Wrappers' prefixes (`module.`, `_orig_mod.`) are
taken off; training checkpoints are asked for one of their state dicts.
"""

import collections
import contextlib
import json
import pathlib
import types
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import ml_dtypes
import numpy as np
import safetensors

from framebridge_jax.porting import numpy_pickle, pickles, torch_file

_PREFIXES = ('module.', '_orig_mod.')
# What training checkpoints call their state dicts, the best one first.
STATES = ('ema', 'model', 'state_dict', 'module')


class Spec(NamedTuple):
  """Shape and dtype of a tensor that was not read yet."""

  shape: tuple[int, ...]
  dtype: np.dtype


class Reader(NamedTuple):
  """An open file: what it holds, and how to read one tensor.

  Attributes:
    specs: shapes and dtypes by name.
    read: reads a tensor.
    metadata: what a safetensors file says besides its tensors.
    state: which state dict of a training checkpoint this is; '' of none.
    skipped: what else that checkpoint holds, by name.
  """

  specs: Mapping[str, Spec]
  read: Callable[[str], np.ndarray]
  metadata: Mapping[str, str] = types.MappingProxyType({})
  state: str = ''
  skipped: tuple[str, ...] = ()


@contextlib.contextmanager
def open_weights(path: pathlib.Path, state: str = '') -> Iterator[Reader]:
  """Opens a `.safetensors`, its index of shards, or a PyTorch zip file.

  Args:
    path: the file; a folder stands for the index of shards in it.
    state: which state dict of a training checkpoint, such as ema; '' takes the
      first of STATES that is there.

  Raises:
    ValueError: the file is missing, damaged, unsafe, or holds no such state.
  """
  path = _located(path)
  with contextlib.ExitStack() as stack:
    if path.suffix == '.json':
      reader = _sharded(path, stack)
    elif path.suffix == '.safetensors':
      reader = _safetensors(path, stack)
    elif path.suffix == '.ckpt' and numpy_pickle.is_pickle(path):
      reader = _pickled(path)
    else:
      reader = _torch(path, state, stack)
    yield _without_prefixes(reader, path)


@contextlib.contextmanager
def open_safetensors(path: pathlib.Path) -> Iterator[Reader]:
  """Opens one safetensors file; its names stay as they are.

  Raises:
    ValueError: it is damaged, or hostile.
  """
  with contextlib.ExitStack() as stack:
    yield _safetensors(path, stack)


def files(path: pathlib.Path) -> list[pathlib.Path]:
  """The files that `open_weights` reads: one, or an index and its shards."""
  path = _located(path)
  if path.suffix != '.json':
    return [path]
  shards = set(json.loads(path.read_bytes())['weight_map'].values())
  return [path, *(path.parent / shard for shard in sorted(shards))]


def _located(path):
  if path.is_dir():
    found = sorted(path.glob('*.safetensors.index.json')) or sorted(
      path.glob('*.safetensors')
    )
    if len(found) != 1:
      names = ', '.join(x.name for x in found) or 'none'
      raise ValueError(
        f'{path} holds several indices or files of safetensors, or none '
        f'({names}); name the file'
      )
    return found[0]
  if not path.is_file():
    raise ValueError(f'no checkpoint at {path}')
  if path.suffix not in _SUFFIXES:
    raise ValueError(
      f'{path} ends in {path.suffix!r}, want one of {", ".join(_SUFFIXES)}'
    )
  return path


def _safetensors(path, stack):
  header, start = _header(path)
  try:
    with safetensors.safe_open(path, 'numpy') as file:
      names = list(file.keys())
  except (safetensors.SafetensorError, OSError) as error:
    raise ValueError(f'{path} cannot be read: {error}') from None
  specs = {
    name: Spec(tuple(header[name]['shape']), _dtype(header[name], path))
    for name in names
  }
  file = stack.enter_context(path.open('rb'))

  # The library maps the file into memory, where it would count twice.
  def read(name):
    shape, dtype = specs[name]
    begin, end = header[name]['data_offsets']
    file.seek(start + begin)
    return np.frombuffer(file.read(end - begin), dtype).reshape(shape)

  return Reader(specs, read, header.get('__metadata__', {}))


def _header(path):
  """The header, and where numbers begin; no tensor may be named twice.

  The library judges all else, but keeps the last of two tensors of one name.
  """

  def once(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
      names = collections.Counter(name for name, _ in pairs)
      raise _TwiceError(f'{path} holds {names.most_common(1)[0][0]} twice')
    return found

  with path.open('rb') as file:
    size = int.from_bytes(file.read(8), 'little')
    if not 2 <= size <= min(_MOST_HEADER, path.stat().st_size - 8):
      raise ValueError(
        f'{path} is cut off, or is no safetensors file: it begins with a '
        f'header of {size} bytes'
      )
    raw = file.read(size)
  try:
    return json.loads(raw.decode(), object_pairs_hook=once), 8 + size
  except _TwiceError:
    raise
  except (ValueError, RecursionError):
    raise ValueError(f'the header of {path} is not JSON') from None


class _TwiceError(ValueError):
  """Told apart from what JSON refuses."""


def _sharded(path, stack):
  try:
    if path.stat().st_size > _MOST_HEADER:
      raise ValueError
    shards = dict(json.loads(path.read_bytes())['weight_map'])
  except (ValueError, KeyError, TypeError, RecursionError):
    raise ValueError(f'{path} is no index of safetensors shards') from None
  files = {}
  for shard in sorted(set(map(str, shards.values()))):
    if pathlib.PurePath(shard).name != shard:
      raise ValueError(f'{path} names the shard {shard!r} outside its folder')
    if not (path.parent / shard).is_file():
      raise ValueError(f'{path} names the shard {shard}, which is missing')
    files[shard] = _safetensors(path.parent / shard, stack)
  held = {(name, shard) for shard, file in files.items() for name in file.specs}
  wrong = sorted(name for name, _ in held ^ set(shards.items()))
  if wrong:
    raise ValueError(f'{path} and its shards do not agree on {wrong[0]}')
  return Reader(
    {name: files[shard].specs[name] for name, shard in shards.items()},
    lambda name: files[shards[name]].read(name),
  )


def _pickled(path):
  arrays = numpy_pickle.load(path)
  specs = {name: Spec(x.shape, x.dtype) for name, x in arrays.items()}
  return Reader(specs, lambda name: arrays[name])


def _torch(path, state, stack):
  file = torch_file.TorchFile(path)
  stack.callback(file.close)
  root = file.root
  if not isinstance(root, Mapping):
    raise ValueError(f'{path} holds a {type(root).__name__}, want a state dict')
  held = [name for name in root if isinstance(root[name], Mapping)]
  if state and state not in held:
    raise ValueError(
      f'{path} holds no state {state!r}; it holds '
      f'{", ".join(map(str, held)) or "a bare state dict"}'
    )
  chosen = state or next((name for name in STATES if name in held), '')
  found = {}
  for name, tensor in torch_file.tensors(root[chosen] if chosen else root):
    if name in found:
      raise ValueError(f'{path} holds {name} twice')
    found[name] = tensor
  if not found:
    place = f' in its state {chosen!r}; it has {", ".join(map(str, held))}'
    raise ValueError(f'{path} holds no tensors{place if chosen else ""}')
  kinds = pickles.TorchTensor, Mapping
  return Reader(
    {name: Spec(x.shape, x.dtype) for name, x in found.items()},
    lambda name: file.read(found[name]),
    state=chosen,
    skipped=tuple(
      str(name)
      for name in root
      if (name != chosen if chosen else not isinstance(root[name], kinds))
    ),
  )


def _without_prefixes(reader, path):
  names = {}
  for name in reader.specs:
    short = name
    while short.startswith(_PREFIXES):
      short = short.partition('.')[2]
    if short in names:
      raise ValueError(
        f'{path} holds {short} twice, as {name} and {names[short]}'
      )
    names[short] = name
  return reader._replace(
    specs={short: reader.specs[name] for short, name in names.items()},
    read=lambda short: reader.read(names[short]),
  )


def _dtype(entry, path):
  name = entry['dtype']
  if name not in _DTYPES:
    raise ValueError(f'{path} holds numbers of type {name}, which is unknown')
  return np.dtype(_DTYPES[name])


_MOST_HEADER = 4 << 20  # bytes; one of 1000 tensors has 100 KB
_SUFFIXES = ('.safetensors', '.json', '.pt', '.pth', '.ckpt', '.bin')
_DTYPES = {
  'F64': np.float64,
  'F32': np.float32,
  'F16': np.float16,
  'BF16': ml_dtypes.bfloat16,
  'I64': np.int64,
  'I32': np.int32,
  'I16': np.int16,
  'I8': np.int8,
  'U8': np.uint8,
  'BOOL': np.bool_,
}
