"""Batches by number: batch `k` is a function of `(seed, k)` alone.

All steps are random access up to the batch, so neither workers nor hosts nor
a restart change what batch `k` holds; the iterator's whole state is `k`.
"""

import collections
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator

import grain
import numpy as np

from framebridge_jax.data import clips, sources

# Threads of each process, and batches that they hold ready.  Grain's defaults
# would keep 500 batches in memory.
READING = grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)

# More than any training sees; grain's own endless repetition overflows where a
# batch holds one clip.
EPOCHS = 2**32


class Batches(collections.abc.Iterator):
  """Endless `{'video': uint8 [b, f, h, w, 3], 'label', 'clip': int32 [b]}`.

  `clip` is the clip's number in its source.

  Use it in a `with` block, or call `close`: workers outlive the iterator else.
  """

  def __init__(self, iterator: Iterator[dict]):
    self._iterator: Iterator[dict] | None = iterator

  def __next__(self) -> dict[str, np.ndarray]:
    if self._iterator is None:
      raise ValueError('these batches were closed; open them anew')
    # Workers answer in shared memory, which must not outlive them.
    return {name: np.array(x) for name, x in next(self._iterator).items()}

  def __enter__(self) -> 'Batches':
    return self

  def __exit__(self, *exception) -> None:
    self.close()

  def close(self) -> None:
    """Ends the worker processes; harmless a second time."""
    iterator, self._iterator = self._iterator, None
    if iterator is not None:
      iterator.close()


def batches(
  source: sources.Source,
  *,
  frames: int,
  stride: int,
  seed: int,
  batch_size: int,
  start: int = 0,
  num_workers: int = 0,
  shard: int = 0,
  num_shards: int = 1,
) -> Batches:
  """Opens the endless sequence of batches at batch number `start`.

  Each epoch has its own order, and each visit of a clip its own window.

  Args:
    source: Clips; fewer than a batch are repeated within it.
    frames: Frames a window.
    stride: Frames of the clip from one frame of the window to the next.
    seed: Decides order and windows.
    batch_size: Clips a batch, over all shards.
    start: Number of the first batch.
    num_workers: Processes that read; 0 reads in threads of this one.
    shard: Which part of every batch this host reads: each `num_shards`-th clip
      from the `shard`-th.
    num_shards: Hosts that share a batch.

  Raises:
    ValueError: The source is empty, or the batch cannot be shared equally.
  """
  if not len(source.records):
    raise ValueError('source holds no clip; choose another data set or split')
  if batch_size % num_shards:
    raise ValueError(
      f'batch_size {batch_size} cannot be shared by {num_shards} hosts; '
      'make it a multiple'
    )
  # The window is drawn before the shards part, so that its random numbers
  # belong to the clip's place in the whole sequence.
  dataset = (
    grain.MapDataset.source(source.records)
    .map_with_index(_numbered)
    .seed(seed)
    .shuffle()
    .repeat(EPOCHS)
    .random_map(_Window(frames, stride))[shard::num_shards]
    .batch(batch_size // num_shards)
  )
  stream = dataset[start:].to_iter_dataset(READING)
  if num_workers:
    stream = stream.mp_prefetch(
      grain.MultiprocessingOptions(num_workers), _end_with_parent
    )
  return Batches(iter(stream))


def _end_with_parent(index, count):
  """A worker ends when its parent does, and at no other time.

  If the parent was killed it would wait for its reader forever.  Ctrl-C and
  many schedulers signal the whole group: the parent, which saves first, still
  needs its batches then.
  """
  del index, count
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
  parent = multiprocessing.parent_process()

  def watch():
    if parent:
      parent.join()
      os._exit(1)

  threading.Thread(target=watch, daemon=True).start()


def _numbered(index, element):
  return {**element, 'clip': np.int32(index)}


class _Window(grain.transforms.RandomMap):
  """Reduces a record to a random window and its class."""

  def __init__(self, frames, stride):
    self._frames = frames
    self._stride = stride

  def random_map(self, element, rng):
    video = clips.window(
      element['video'], frames=self._frames, stride=self._stride, rng=rng
    )
    label = np.int32(element['label'])
    return {'video': video, 'label': label, 'clip': element['clip']}
