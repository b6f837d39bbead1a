"""Batches by number: batch `k` is a function of `(seed, k)` alone.

All steps are random access up to the batch, so neither workers nor hosts nor
a restart change what batch `k` holds; the iterator's whole state is `k`.
"""

import collections
import dataclasses
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator

import grain
import numpy as np
from absl import logging

from framebridge_jax.data import sources, video_io, visits

# More than any training sees; grain's own endless repetition overflows where a
# batch holds one clip.
EPOCHS = 2**32

_ADVICE = 'prepare the data set anew, or raise data.max_bad_fraction'


class Batches(collections.abc.Iterator):
  """Endless `{'video': uint8 [b, f, h, w, 3], 'label': int32 [b], ...}`.

  `clip` is the clip's number in its source, and `replaced` is 1 where another
  is shown, because it cannot be decoded.  Each such clip is named in the log
  once.

  Use it in a `with` block, or call `close`: workers outlive the iterator else.
  """

  def __init__(
    self, iterator: Iterator[dict], records: sources.Records, allowed: int
  ):
    self._iterator: Iterator[dict] | None = iterator
    self._records = records
    self._allowed = allowed
    self._bad: set[int] = set()

  def __next__(self) -> dict[str, np.ndarray]:
    if self._iterator is None:
      raise ValueError('these batches were closed; open them anew')
    try:
      found = next(self._iterator)
    except video_io.VideoError as error:
      # Raised anew: a worker's error comes without the place of its own.
      raise video_io.VideoError(f'{error}; {_ADVICE}') from error
    # Workers answer in shared memory, which must not outlive them.
    batch = {name: np.array(x) for name, x in found.items()}
    for number in batch['clip'][batch['replaced'] > 0].tolist():
      self._note(number)
    return batch

  def _note(self, number):
    if number in self._bad:
      return
    self._bad.add(number)
    logging.warning('Another clip is shown for %s', self._reason(number))
    if len(self._bad) > self._allowed:
      raise video_io.VideoError(
        f'{len(self._bad)} of {len(self._records)} clips cannot be decoded, '
        f'allowed are {self._allowed}; {_ADVICE}'
      )

  def _reason(self, number):
    """What a worker saw is not told; the whole clip is looked at again."""
    record = self._records[number]
    try:
      record['video'].read(range(len(record['video'])), 1)
    except video_io.VideoError as error:
      return str(error)
    return f'{record["name"]}, which could not be decoded for a moment'

  def __enter__(self) -> 'Batches':
    return self

  def __exit__(self, *exception) -> None:
    self.close()

  def close(self) -> None:
    """Ends the worker processes; harmless a second time."""
    iterator, self._iterator = self._iterator, None
    if iterator is not None:
      iterator.close()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
  """How batches are read; it changes nothing in them.

  Attributes:
    num_workers: processes that read; 0 reads in threads of this one.
    prefetch: batches that each process holds ready.
    num_threads: of each process, that read.
    shard: which part of every batch this host reads: each `num_shards`-th clip
      from the `shard`-th.
    num_shards: hosts that share a batch.
  """

  num_workers: int = 0
  prefetch: int = 8
  num_threads: int = 4
  shard: int = 0
  num_shards: int = 1


def batches(
  source: sources.Source,
  look: visits.Look,
  *,
  seed: int,
  batch_size: int,
  start: int = 0,
  max_bad_fraction: float = 0.0,
  reading: Reading = Reading(),  # noqa: B008, it is frozen
) -> Batches:
  """Opens the endless sequence of batches at batch number `start`.

  Each epoch has its own order, and each visit of a clip its own window.

  Args:
    source: Clips; fewer than a batch are repeated within it.
    look: What is taken of a clip.
    seed: Decides order and windows.
    batch_size: Clips a batch, over all hosts.
    start: Number of the first batch.
    max_bad_fraction: Of the clips, that may be found damaged.
    reading: By whom.

  Raises:
    ValueError: The source is empty, or the batch cannot be shared equally.
  """
  if not len(source.records):
    raise ValueError('source holds no clip; choose another data set or split')
  if batch_size % reading.num_shards:
    raise ValueError(
      f'batch_size {batch_size} cannot be shared by {reading.num_shards} '
      'hosts; make it a multiple'
    )
  allowed = int(max_bad_fraction * len(source.records))
  # The window is drawn before the shards part, so that its random numbers
  # belong to the clip's place in the whole sequence.
  dataset = (
    _order(source, seed)
    .random_map(_Visit(visits.Visits(source.records, look, allowed)))[
      reading.shard :: reading.num_shards
    ]
    .batch(batch_size // reading.num_shards)
  )
  stream = dataset[start:].to_iter_dataset(
    grain.ReadOptions(
      num_threads=min(reading.num_threads, reading.prefetch),
      prefetch_buffer_size=reading.prefetch,
    )
  )
  if reading.num_workers:
    stream = stream.mp_prefetch(
      grain.MultiprocessingOptions(reading.num_workers), _end_with_parent
    )
  return Batches(iter(stream), source.records, allowed)


def _order(source, seed):
  """Numbers of clips without an end."""
  parts = source.parts or (sources.Part(len(source.records), 1.0),)
  ends = list(itertools.accumulate(part.count for part in parts))
  seeds = [seed, *range(seed + 1, seed + len(parts))]
  orders = [
    grain.MapDataset.range(end - part.count, end)
    .seed(own)
    .shuffle()
    .repeat(EPOCHS)
    for part, end, own in zip(parts, ends, seeds, strict=True)
  ]
  if len(orders) == 1:
    return orders[0]
  return grain.MapDataset.mix(orders, [part.weight for part in parts])


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


class _Visit(grain.transforms.RandomMap):
  """Grain knows how to draw for one of these."""

  def __init__(self, visit):
    self._visit = visit

  def random_map(self, element, rng):
    return self._visit(int(element), rng)
