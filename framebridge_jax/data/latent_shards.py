"""Writing a cache of latents, shard by shard, so that it can be gone on with.

A shard holds the pieces of a fixed run of a source's records.  It is written
under another name and moved to its own when whole, and counts when its JSON is
there, which comes last.  So a kill costs the shard in work and nothing is there
twice; hosts share shards by number and never meet.
"""

import collections
import concurrent.futures
import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from array_record.python import array_record_module
from etils import epath

from framebridge_jax import files
from framebridge_jax.data import latents, video_io

# Frames [n, s, s, 3] of a piece and its caption, to the arrays of a record.
Make = Callable[[np.ndarray, str], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
  """What is to be encoded, and where to.

  Attributes:
    folder: of the cache.
    split: its name there.
    records: of the source.
    class_names: in the order of the labels.
    size: side of a frame in pixels.
    piece: frames of a piece, about.
    per_shard: records of the source in a shard.
  """

  folder: epath.Path
  split: str
  records: Any
  class_names: Sequence[str]
  size: int
  piece: int
  per_shard: int

  @property
  def shards(self) -> int:
    """How many there are."""
    return -(-len(self.records) // self.per_shard)

  def path(self, shard: int) -> epath.Path:
    """Of a shard's records."""
    name = f'{self.split}-{shard:05d}-of-{self.shards:05d}.array_record'
    return self.folder / name


def settle(folder: epath.Path, plan: Mapping[str, Any]) -> None:
  """Writes the plan, or compares it with the one that is there.

  Raises:
    latents.LatentsError: as `judge_plan`.
  """
  if (folder / latents.PLAN).exists():
    judge_plan(folder, plan)
    return
  folder.mkdir(parents=True, exist_ok=True)
  _write_json(folder / latents.PLAN, {**plan, 'version': latents.VERSION})


def judge_plan(folder: epath.Path, plan: Mapping[str, Any]) -> None:
  """Compares a plan with that of a cache.

  Raises:
    latents.LatentsError: there is no cache, or it was made of something else;
      all differences are named.
  """
  wanted = json.loads(json.dumps({**plan, 'version': latents.VERSION}))
  apart = latents.differences(latents.read_plan(folder), wanted)
  if apart:
    listed = '; '.join(
      f'{key}: {old!r}, now {new!r}' for key, old, new in apart
    )
    raise latents.LatentsError(
      f'{folder} holds latents made otherwise ({listed}); choose another '
      f'workdir, or remove it'
    )


def missing(job: Job, shards: Iterable[int]) -> list[int]:
  """Those of the shards that are not whole yet."""
  return [shard for shard in shards if said_of(job, shard) is None]


def write(job: Job, shard: int, make: Make) -> dict[str, Any]:
  """Encodes a shard; gives what its JSON says.

  A video that cannot be read is left out, named once, and counted.
  """
  path = job.path(shard)
  skipped: dict[str, str] = {}
  counts = {'records': 0, 'frames': 0, 'videos': 0}
  lengths: list[int] = []
  _clear(path)
  with files.replacing(path) as part:
    writer = array_record_module.ArrayRecordWriter(str(part), 'group_size:1')
    for index, frames in _ahead(job, range_of(job, shard)):
      if isinstance(frames, str):
        logging.warning('skipped: %s', frames)
        skipped[name_of(job.records[index], index)] = frames
        continue
      for piece in _pieces(job, index, frames, make):
        writer.write(latents.pack(piece))
        counts['records'] += 1
        counts['frames'] += len(piece.arrays['mean'])
        lengths.append(len(piece.arrays['mean']))
      counts['videos'] += 1
    writer.close()
    said = {
      'file': path.name,
      'bytes': part.stat().st_size,
      'sha256': files.sha256(part),
      **counts,
      'lengths': lengths,
      'skipped': skipped,
    }
  _write_json(_beside(path), said)
  return said


def said_of(job: Job, shard: int) -> dict[str, Any] | None:
  """What a shard's JSON says, if it and the shard are whole."""
  path = job.path(shard)
  try:
    said = dict(json.loads(_beside(path).read_text()))
    return said if path.stat().length == said['bytes'] else None
  except (FileNotFoundError, ValueError, TypeError, KeyError):
    return None


def captions_of(job: Job, shard: int) -> list[str]:
  """Of the records of a shard."""
  return [
    job.records[index].get('caption', '') for index in range_of(job, shard)
  ]


def finish(job: Job, facts: Mapping[str, Any]) -> dict[str, Any] | None:
  """Writes the manifest when all shards are there; else None."""
  found = [said_of(job, shard) for shard in range(job.shards)]
  shards = [said for said in found if said is not None]
  if len(shards) < job.shards:
    return None
  manifest = {
    'split': job.split,
    'class_names': list(job.class_names),
    **{
      key: sum(said[key] for said in shards)
      for key in ('records', 'frames', 'videos', 'bytes')
    },
    'lengths': [x for said in shards for x in said['lengths']],
    'skipped': {k: v for said in shards for k, v in said['skipped'].items()},
    'shards': [
      {key: said[key] for key in ('file', 'bytes', 'sha256', 'records')}
      for said in shards
    ],
    **facts,
  }
  _write_json(job.folder / f'{job.split}.json', manifest)
  return manifest


def pieces_of(length: int, piece: int) -> list[tuple[int, int]]:
  """Cuts frames into parts of equal length, about, none shorter than `piece`.

  A video shorter than that is one part.
  """
  count = max(1, length // piece)
  ends = [round(i * length / count) for i in range(count + 1)]
  return list(zip(ends[:-1], ends[1:], strict=True))


def _pieces(job, index, frames, make) -> Iterator[latents.Piece]:
  """Of a record whose frames were read."""
  record = job.records[index]
  caption = record.get('caption', '')
  facts = {
    'label': int(record['label']),
    'caption': caption,
    'name': name_of(record, index),
    'fps': float(record.get('fps', 0.0)),
  }
  start = 0
  for part in frames:
    yield latents.Piece(dict(make(part, caption)), {**facts, 'start': start})
    start += len(part)


def _read(job, index) -> list[np.ndarray] | str:
  """The frames of a record, piece by piece, or why they cannot be had."""
  video = job.records[index]['video']
  try:
    return [
      video.read(range(start, stop), job.size)
      for start, stop in pieces_of(len(video), job.piece)
    ]
  except video_io.VideoError as error:
    return str(error)


def _ahead(job, indices) -> Iterator[tuple[int, list[np.ndarray] | str]]:
  """Reads in threads, so that the devices need not wait for frames."""
  threads = os.cpu_count() or 1
  with concurrent.futures.ThreadPoolExecutor(threads) as pool:
    waiting: collections.deque = collections.deque()
    try:
      for index in indices:
        waiting.append((index, pool.submit(_read, job, index)))
        if len(waiting) > threads:
          index, future = waiting.popleft()
          yield index, future.result()
      for index, future in waiting:
        yield index, future.result()
    finally:
      for _, future in waiting:
        future.cancel()


def name_of(record: Mapping[str, Any], index: int) -> str:
  """Of a record of the source, by which its pieces are found again."""
  return str(record.get('name', index))


def range_of(job: Job, shard: int) -> range:
  """Records of the source that a shard holds."""
  start = shard * job.per_shard
  return range(start, min(start + job.per_shard, len(job.records)))


def _beside(path):
  return path.with_suffix('.json')


def _clear(path):
  """Removes what kills have left of a shard."""
  if files.is_local(path):
    for left in path.parent.iterdir():
      if left.name.startswith(f'.{path.name}.'):
        left.unlink()


def _write_json(path, content):
  with files.replacing(path) as part:
    part.write_text(json.dumps(content, indent=1) + '\n')
