"""Latents of clips, encoded once and read while a run trains.

A cache is a folder: `plan.json` says what every latent in it was made of,
`SPLIT-00007-of-00064.array_record` are shards, each with a small JSON beside it
that says what it holds and its digest, and `SPLIT.json` is there when all
shards of a split are.  A record is a piece of a video, every frame of it, so
that windows of any stride can be cut from it as from the video.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from array_record.python import array_record_data_source
from etils import epath
from jaxtyping import Float

VERSION = 1  # raised whenever the same plan gives other bytes
PLAN = 'plan.json'
NULL = 'null_text.safetensors'  # the null caption's embedding


class LatentsError(ValueError):
  """A cache of latents is damaged, unfinished, or of something else."""


class Piece(NamedTuple):
  """A record of a cache.

  Attributes:
    arrays: `mean [n, h, w, c]`, perhaps `logvar` of the same shape, and perhaps
      `text [m, d]` with `text_mask [m]`.
    facts: label, caption, name of the source, fps, and `start`, the first
      frame's number in the source.
  """

  arrays: dict[str, np.ndarray]
  facts: dict[str, Any]


def pack(piece: Piece) -> bytes:
  """A record as bytes: safetensors whose metadata are the facts."""
  said = {'facts': json.dumps(piece.facts)}
  arrays = {name: np.ascontiguousarray(x) for name, x in piece.arrays.items()}
  return safetensors.numpy.save(arrays, said)


def unpack(record: bytes) -> Piece:
  """The inverse of `pack`.

  Raises:
    LatentsError: it is no such record.
  """
  try:
    size = int.from_bytes(record[:8], 'little')
    said = json.loads(record[8 : 8 + size])['__metadata__']['facts']
    return Piece(safetensors.numpy.load(record), json.loads(said))
  except (ValueError, KeyError, TypeError, safetensors.SafetensorError):
    raise LatentsError(
      f'a record of {len(record)} bytes holds no latents'
    ) from None


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
  """Latent frames of a piece, scaled; see `clips.Frames`."""

  mean: Float[np.ndarray, 'n h w c']
  logvar: Float[np.ndarray, 'n h w c'] | None
  scale: float
  factor: int

  def __len__(self) -> int:
    return len(self.mean)

  def read(
    self, indices: Sequence[int], size: int
  ) -> Float[np.ndarray, 'f h w c']:
    """The modes of those frames, float32.

    Raises:
      LatentsError: they are of clips of another size.
    """
    self._judge(size)
    return self.scale * self.mean[list(indices)].astype(np.float32)

  def draw(
    self, indices: Sequence[int], size: int, rng: np.random.Generator
  ) -> Float[np.ndarray, 'f h w c']:
    """A sample of what the encoder says of those frames, float32.

    Raises:
      LatentsError: as `read`, or the cache holds modes alone.
    """
    if self.logvar is None:
      raise LatentsError(
        'the cache holds modes, no variances; encode it with keep=moments to '
        'draw latents'
      )
    std = np.exp(0.5 * self.logvar[list(indices)].astype(np.float32))
    noise = rng.standard_normal(std.shape, np.float32)
    return self.read(indices, size) + self.scale * std * noise

  def _judge(self, size):
    if self.mean.shape[1] * self.factor != size:
      raise LatentsError(
        f'latents of clips of {self.mean.shape[1] * self.factor} pixels were '
        f'cached, data.size is {size}'
      )


class Records:
  """Pieces by number, as records of videos.

  Attributes:
    class_names: in the order of the labels.
    plan: what the latents were made of.
    manifest: of the split.
    lengths: frames of each piece.
  """

  def __init__(self, folder: epath.PathLike, split: str):
    """Opens a finished split.

    Raises:
      LatentsError: there is none, or files of it are missing or of another
        size.
    """
    self._folder = epath.Path(folder)
    self.plan = read_plan(self._folder)
    self.manifest = read_manifest(self._folder, split)
    self.class_names = tuple(self.manifest['class_names'])
    self.lengths = np.array(self.manifest['lengths'], np.int64)
    _judge_files(self._folder, self.manifest)
    self._null = self._null_text()
    self._rows: array_record_data_source.ArrayRecordDataSource | None = None

  def __len__(self) -> int:
    return self.manifest['records']

  def __getitem__(self, index: int) -> dict:
    """`video` (Frames), label, caption, name and fps.

    Where captions were embedded also `text`, `text_mask`, and `null_text`.
    """
    piece = unpack(self._opened()[index])
    frames = Frames(
      piece.arrays['mean'],
      piece.arrays.get('logvar'),
      self.plan['scale'],
      self.plan['factor'],
    )
    record = {'video': frames, **piece.facts}
    if 'text' in piece.arrays:
      names = piece.arrays.keys() & {'text', 'text_mask'}
      record |= {name: piece.arrays[name] for name in names}
      record['null_text'] = self._null
    return record

  def _null_text(self):
    if 'text' not in self.plan:
      return None
    path = self._folder / NULL
    if not path.is_file():
      raise LatentsError(
        f'{path} is missing; run --mode=encode again, which makes it'
      )
    with path.open('rb') as file:
      return safetensors.numpy.load(file.read())['values']

  def __getstate__(self):
    """Without the open files: worker processes open their own."""
    return {**self.__dict__, '_rows': None}

  def _opened(self):
    if self._rows is None:
      files = [
        str(self._folder / shard['file']) for shard in self.manifest['shards']
      ]
      self._rows = array_record_data_source.ArrayRecordDataSource(files)
    return self._rows


def read_plan(folder: epath.Path) -> dict[str, Any]:
  """What the latents of a cache are made of.

  Raises:
    LatentsError: the folder is no cache, or of another version.
  """
  plan = _read_json(folder / PLAN, f'{folder} is no cache of latents')
  if plan.get('version') != VERSION:
    raise LatentsError(
      f'{folder} is a cache of version {plan.get("version")}, this program '
      f'reads {VERSION}; encode anew'
    )
  return plan


def read_manifest(folder: epath.Path, split: str) -> dict[str, Any]:
  """What a finished split holds.

  Raises:
    LatentsError: it is not finished.
  """
  return _read_json(
    folder / f'{split}.json',
    f'the split {split} of {folder} is not encoded to its end',
  )


def _read_json(path, complaint):
  try:
    return dict(json.loads(path.read_text()))
  except FileNotFoundError:
    raise LatentsError(
      f'{complaint}: there is no {path.name}; run --mode=encode'
    ) from None
  except (ValueError, TypeError):
    raise LatentsError(f'{path} is damaged; run --mode=encode anew') from None


def _judge_files(folder, manifest):
  for shard in manifest['shards']:
    path = folder / shard['file']
    held = path.stat().length if path.exists() else None
    if held != shard['bytes']:
      what = 'is missing' if held is None else f'has {held} bytes'
      raise LatentsError(
        f'{path} {what}, the manifest says {shard["bytes"]}; remove it and run '
        f'--mode=encode again'
      )


def differences(
  old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
  """Keys in which two plans differ, with both values."""
  return [
    (key, old.get(key), new.get(key))
    for key in sorted(old.keys() | new.keys())
    if old.get(key) != new.get(key)
  ]
