"""Rows of all hosts, brought together."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.experimental import multihost_utils

Row = tuple[str, np.ndarray, int]


def union(rows: Mapping[str, Row]) -> dict[str, Row]:
  """Every host's rows by name, the same on all.

  Args:
    rows: key, numbers and label of this host's clips.

  Raises:
    ValueError: two hosts have a clip of one name and different numbers.
  """
  found: dict[str, Row] = {}
  for part in _all_bytes(packed(rows)):
    for name, row in unpacked(part).items():
      if name in found and found[name][0] != row[0]:
        raise ValueError(f'two hosts have different clips named {name}')
      found[name] = row
  return found


def _all_bytes(own: bytes) -> list[bytes]:
  """What each host gave; they may give different amounts."""
  sizes = multihost_utils.process_allgather(np.array([len(own)], np.int32))
  sizes = np.asarray(sizes).reshape(-1)
  filled = np.zeros(int(sizes.max()), np.uint8)
  filled[: len(own)] = np.frombuffer(own, np.uint8)
  every = np.asarray(multihost_utils.process_allgather(filled))
  every = every.reshape(len(sizes), -1)
  return [row[:size].tobytes() for row, size in zip(every, sizes, strict=True)]


def packed(rows: Mapping[str, Row]) -> bytes:
  """Rows as bytes: lengths and names as JSON, then the numbers."""
  head: list[Any] = [
    [name, key, label, len(values)]
    for name, (key, values, label) in rows.items()
  ]
  text = json.dumps(head).encode()
  numbers = [np.asarray(x, np.float32).tobytes() for _, x, _ in rows.values()]
  return b''.join([len(text).to_bytes(8, 'little'), text, *numbers])


def unpacked(raw: bytes) -> dict[str, Row]:
  """Rows of what `packed` gave."""
  size = int.from_bytes(raw[:8], 'little')
  found, start = {}, 8 + size
  for name, key, label, count in json.loads(raw[8:start]):
    stop = start + 4 * count
    found[name] = key, np.frombuffer(raw[start:stop], np.float32), label
    start = stop
  return found
