"""SHA-256 of every array of a tree, by which damage on disk is noticed.

Orbax verifies nothing: most single-bit flips in its data files come back as
wrong numbers.  Digests are of logical blocks (an array's name, type, shape
and the index of the part), so they hold on any layout of devices.
"""

import concurrent.futures
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree


class Block(NamedTuple):
  """Part of an array in this host's memory."""

  name: str
  shape: tuple[int, ...]  # of the whole array
  index: str  # of the part, as '0:4,0:8'
  data: np.ndarray


def fetch(tree: PyTree) -> list[Block]:
  """Fetches every part of a tree once, however many devices hold it."""
  parts = [
    (name, x.shape, shard)
    for name, x in flatten(tree)
    for shard in x.addressable_shards
    if shard.replica_id == 0
  ]
  for _, _, shard in parts:
    shard.data.copy_to_host_async()
  # On a CPU these are views; a buffer that is viewed is not donated.
  return [
    Block(name, shape, _text(shard.index, shape), np.asarray(shard.data))
    for name, shape, shard in parts
  ]


def seal(
  blocks: Sequence[Block], record: Mapping[str, Any], *, processes: int = 1
) -> dict[str, Any]:
  """The manifest of a tree and of what is written beside it, as JSON.

  Args:
    blocks: what this host holds of the tree.
    record: what is written beside it.
    processes: that each write such a manifest.
  """
  with concurrent.futures.ThreadPoolExecutor() as pool:
    hashes = list(pool.map(lambda block: _sha256(block.data), blocks))
  arrays: dict[str, Any] = {}
  for block, digest in zip(blocks, hashes, strict=True):
    entry = arrays.setdefault(
      block.name,
      {
        'shape': list(block.shape),
        'dtype': str(block.data.dtype),
        'sha256': {},
      },
    )
    entry['sha256'][block.index] = digest
  content: dict[str, Any] = {'arrays': arrays, 'record': of_json(record)}
  if processes > 1:
    content['processes'] = processes
  return {**content, 'sha256': of_json(content)}


def damage(manifest: Mapping[str, Any], tree: PyTree, prefix: str = '') -> str:
  """What of a tree is not as the manifest says; '' when all of it is.

  Args:
    manifest: what `seal` gave.
    tree: the arrays as they were read, on any layout.  Of several hosts each
      looks at what it holds, and all must call.
    prefix: of the names, when the tree is a branch of what was sealed.
  """

  def broken(item):
    name, x = item
    entry = manifest['arrays'].get(prefix + name)
    if entry is None:
      return [f'{prefix}{name} has no digest']
    x = x if _apart(x) else np.asarray(x)
    if str(x.dtype) != entry['dtype']:
      return [f'{prefix}{name} is {x.dtype}, was {entry["dtype"]}']
    return [
      f'{prefix}{name}[{index}] has not the digest {digest[:12]}...'
      for index, digest in entry['sha256'].items()
      if (data := _part(x, _slices(index))) is not None
      and _sha256(data) != digest
    ]

  items = [
    (name, _gathered(x, manifest['arrays'].get(prefix + name)))
    for name, x in flatten(tree)
  ]
  with concurrent.futures.ThreadPoolExecutor() as pool:
    found = [text for some in pool.map(broken, items) for text in some]
  return '; '.join(found[:_SHOWN])


def flatten(tree: PyTree) -> list[tuple[str, Any]]:
  """Leaves of a tree with their `/`-joined names."""
  return [
    (jax.tree_util.keystr(path, simple=True, separator='/'), leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  ]


def of_json(content: Any) -> str:
  """SHA-256 of JSON, whatever the order of its keys."""
  return hashlib.sha256(
    json.dumps(content, sort_keys=True).encode()
  ).hexdigest()


def _sha256(data):
  flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
  return hashlib.sha256(flat).hexdigest()


def _gathered(x, entry):
  """The array, whole where a block of it lies on several hosts' devices.

  All hosts come to the same answer: it hangs on the layout alone.
  """
  if not _apart(x) or entry is None:
    return x
  places = x.sharding.devices_indices_map(x.shape).values()
  blocks = map(_slices, entry['sha256'])
  if all(any(_holds(y, block, x.shape) for y in places) for block in blocks):
    return x
  return multihost_utils.process_allgather(x, tiled=True)


def _apart(x):
  return isinstance(x, jax.Array) and not x.is_fully_addressable


def _part(x, block):
  """A block of an array; None where it is another host's."""
  if isinstance(x, np.ndarray):
    return x[block]
  for shard in x.addressable_shards:
    if _holds(shard.index, block, x.shape):
      starts = [
        y.indices(n)[0] for y, n in zip(shard.index, x.shape, strict=True)
      ]
      own = [
        slice(y.start - start, y.stop - start)
        for y, start in zip(block, starts, strict=True)
      ]
      return np.asarray(shard.data)[tuple(own)]
  return None


def _holds(index, block, shape):
  """Whether a device's part of an array holds a block of it."""
  bounds = [y.indices(n) for y, n in zip(index, shape, strict=True)]
  return all(
    start <= y.start and y.stop <= stop
    for (start, stop, _), y in zip(bounds, block, strict=True)
  )


def _text(index, shape):
  bounds = [
    part.indices(size)[:2] for part, size in zip(index, shape, strict=True)
  ]
  return ','.join(f'{start}:{stop}' for start, stop in bounds)


def _slices(text):
  if not text:
    return ()
  return tuple(slice(*map(int, part.split(':'))) for part in text.split(','))


_SHOWN = 5
