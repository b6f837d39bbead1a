"""What a record of an encoded video holds, and how it is written and read."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from framebridge_jax.data import (
  clips,
  encoded,
  overview,
  pictures,
  video_io,
)

MAX_BYTES = 1 << 30  # of a file: a record is written in one piece


class Item(NamedTuple):
  """A video of a data set.

  Attributes:
    name: unique in its split; the path below the data set's folder.
    read: gives the bytes of the file; may raise VideoError or OSError.
    label: number of the class.
    captions: what is said of it, any number of texts.
    extra: numbers of EXTRA.
  """

  name: str
  read: Callable[[], bytes]
  label: int = 0
  captions: tuple[str, ...] = ()
  extra: Mapping[str, Any] = {}


def features() -> dict[str, Any]:
  """Types of what every record holds."""
  text, count = tfds.features.Text(), tfds.features.Scalar(np.int64)
  return {
    'video': text,  # carries any bytes, unchanged
    'label': count,
    'captions': tfds.features.Sequence(text),
    'name': text,
    'fps': tfds.features.Scalar(np.float32),
    'frames': count,
    'width': count,
    'height': count,
    'keys': tfds.features.Tensor(shape=(None, 2), dtype=np.int64),
    'sha256': text,
  }


def make_row(item: Item) -> dict[str, Any] | str:
  """What is stored of a video that was read whole, or why it cannot be."""
  name = shown(item.name)
  try:
    data = item.read()
    if len(data) > MAX_BYTES:
      return f'{name} has {len(data)} bytes; at most {MAX_BYTES} fit a record'
    found = (pictures if pictures.is_pack(data) else encoded).survey(data, name)
  except video_io.VideoError as error:
    return str(error)
  except OSError as error:
    return f'{name} cannot be read: {error.strerror}'
  return {
    'video': data,
    'label': item.label,
    'captions': [text.encode('utf-8', 'replace') for text in item.captions],
    'name': name,
    'fps': found.fps,
    'frames': found.frames,
    'width': found.width,
    'height': found.height,
    'keys': np.array(found.keys, np.int64).reshape(-1, 2),
    'sha256': hashlib.sha256(data).hexdigest(),
    **item.extra,
  }


class Records:
  """Clips by number, see `Records.__getitem__`.

  Attributes:
    class_names: in the order of the labels.
    skipped: reason by name of the files of the split that were left out.
  """

  def __init__(
    self,
    rows: Any,
    *,
    class_names: tuple[str, ...],
    skipped: dict[str, str],
    table: epath.Path,
    extra: tuple[str, ...],
  ):
    self.class_names = class_names
    self.skipped = skipped
    self._rows = rows
    self._table = table
    self._extra = extra

  def __len__(self) -> int:
    return len(self._rows)

  def __getitem__(self, index) -> dict:
    """`video` (see `clips.Frames`), label, caption, name, fps, and more.

    `captions` are all of them and `caption` the first, '' where there is none;
    `sha256` is that of the file, `size` its (width, height).
    """
    row = self._rows[index]
    name = row['name'].decode()
    captions = tuple(text.decode() for text in row['captions'])
    return {
      'video': _frames(row, name),
      'label': int(row['label']),
      'caption': captions[0] if captions else '',
      'captions': captions,
      'name': name,
      'fps': float(row['fps']),
      'size': (int(row['width']), int(row['height'])),
      'sha256': row['sha256'].decode(),
      **{key: row[key] for key in self._extra},
    }

  def table(self) -> overview.Table:
    """Columns over all records."""
    with self._table.open('rb') as file:
      return overview.Table(*np.load(file).T)


def shown(name: str) -> str:
  """A name as UTF-8 can hold it; file systems know others too."""
  return name.encode('utf-8', 'backslashreplace').decode()


def _frames(row, name) -> clips.Frames:
  if pictures.is_pack(row['video']):
    return pictures.Pictures(row['video'], name)
  keys = tuple(encoded.Key(*key) for key in row['keys'].tolist())
  return encoded.Encoded(row['video'], int(row['frames']), keys, name)
